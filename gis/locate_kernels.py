"""The kernels of :mod:`gis.locate`: looking up, and making pixels. Its head says why they are right.

Arrays of the index go by position; a grid of tiles is x0, y0 (its corner), per_tile (tiles a metre), columns, rows.
"""

from __future__ import annotations

import numba
import numpy as np

MARGIN = 1e-4  #: of a pixel: how far edges are widened
BLOCK = 1024  #: points that take a step together
_ERROR = 3.3306690738754716e-16  #: (3 + 16ε)ε, of the determinant in doubles (Shewchuk)
_LEAST = 1e-290  #: below, products lose digits
_SCALE = 2.0**300

# ── exact signs ────────────────────────────────────────


@numba.njit(cache=True, nogil=True, inline="always")
def _two_product(a, b):  # type: ignore[no-untyped-def]
    """a·b and its rounding error (Dekker)."""
    p = a * b
    big = 134217729.0 * a
    a1 = big - (big - a)
    a2 = a - a1
    big = 134217729.0 * b
    b1 = big - (big - b)
    b2 = b - b1
    return p, a2 * b2 - (((p - a1 * b1) - a2 * b1) - a1 * b2)


@numba.njit(cache=True, nogil=True)
def _exact_side(ax, ay, bx, by, px, py):  # type: ignore[no-untyped-def]
    """The sign of (b − a) × (p − a), without rounding: expansions of doubles that add up to it exactly."""
    # ax·by − ax·py − px·by + … : every product of coordinates as two doubles, summed without loss.
    # Scaled by 2³⁰⁰, so that what is left of a product is not lost where a coordinate is next to 0.
    left = np.array([ax, -ax, bx, -bx, px, -px]) * _SCALE
    right = np.array([by, py, py, ay, ay, by]) * _SCALE
    expansion = np.zeros(13)
    size = 0
    for i in range(6):
        high, low = _two_product(left[i], right[i])
        for term in (low, high):
            carry = term
            for j in range(size):  # grow the expansion, smallest first
                total = carry + expansion[j]
                part = total - carry
                expansion[j] = (carry - (total - part)) + (expansion[j] - part)
                carry = total
            expansion[size] = carry
            size += 1
    for j in range(size - 1, -1, -1):
        if expansion[j] > 0.0:
            return 1
        if expansion[j] < 0.0:
            return -1
    return 0


@numba.njit(cache=True, nogil=True, inline="always")
def _side(ax, ay, bx, by, px, py):  # type: ignore[no-untyped-def]
    """1: p lies left of the way from a to b; −1: right; 0: on the line."""
    one = (bx - ax) * (py - ay)
    other = (by - ay) * (px - ax)
    sign = one - other
    error = _ERROR * (abs(one) + abs(other)) + _LEAST
    if sign > error:
        return 1
    if sign < -error:
        return -1
    return _exact_side(ax, ay, bx, by, px, py)


# ── looking up ────────────────────────────────────────


@numba.njit(cache=True, nogil=True)
def look_up(x, y, found, x0, y0, per_tile, columns, rows, tiles, pixels, records, xy):  # type: ignore[no-untyped-def]
    """The owner of each point x, y into ``found``: a row, or -1.

    A block of points at a time takes each step before any takes the next one. So there is no branch in the way of the
    reads of a step, and memory answers many of them at once; what a step reads is near when the last one needs it.
    """
    size = min(BLOCK, len(x))
    at = np.empty(size, dtype=np.int64)  # pixel of each point
    mixed = np.empty(size, dtype=np.int64)  # the points in mixed pixels
    begins = np.empty(size, dtype=np.int64)  # and where the records of these begin
    near = np.empty(size, dtype=np.float64)
    outside = len(pixels) - 1
    for start in range(0, len(x), BLOCK):
        many = min(BLOCK, len(x) - start)
        for i in range(many):
            u, v = (x[start + i] - x0) * per_tile, (y[start + i] - y0) * per_tile
            if u >= 0.0 and v >= 0.0 and u < columns and v < rows:  # not so for what is no number
                column, row = np.int64(u), np.int64(v)
                code = tiles[row * columns + column]
                k = code & 7
                scale = np.float64(1 << k)
                at[i] = (code >> 3) + (np.int64((v - row) * scale) << k) + np.int64((u - column) * scale)
            else:
                at[i] = outside
        count = 0
        for i in range(many):
            owner = pixels[at[i]]
            found[start + i] = owner
            mixed[count] = start + i
            begins[count] = -2 - owner
            count += owner < -1
        for n in range(count):
            near[n] = xy[records[begins[n] + 2] >> 2, 1]
        for n in range(count):
            i = mixed[n]
            found[i] = _decide(x[i], y[i], begins[n], records, xy)


@numba.njit(cache=True, nogil=True, inline="always")
def _decide(px, py, at, records, xy):  # type: ignore[no-untyped-def]
    """The owner of a point in a mixed pixel: the first candidate of its records, from ``at`` on, that covers it."""
    while True:
        candidate, facts = records[at], records[at + 1]
        at += 2
        end = at + (facts >> 1)
        inside = candidate & 1
        on_border = False
        for n in range(at, end):
            edge = records[n]
            first = edge >> 2
            ax, ay, bx, by = xy[first, 0], xy[first, 1], xy[first + 1, 0], xy[first + 1, 1]
            below_a, below_b = np.int32(ay <= py), np.int32(by <= py)
            if below_a != below_b:
                side = _side(ax, ay, bx, by, px, py)
                if side == 0:
                    on_border = True
                    break
                inside ^= np.int32((side < 0) == (below_a == 1))  # the edge is west of the point
            elif (py == ay and (px == ax or (py == by and min(ax, bx) <= px <= max(ax, bx)))) or (
                py == by and px == bx
            ):
                on_border = True
                break
            inside ^= (below_a & (edge >> 1)) ^ (below_b & edge)
            inside &= 1
        if on_border or inside:
            return candidate >> 1
        if facts & 1:
            return np.int32(-1)
        at = end


# ── building ────────────────────────────────────────


@numba.njit(cache=True, nogil=True, inline="always")
def _span(lo, hi, most):  # type: ignore[no-untyped-def]
    """The cells from ``lo`` to ``hi``, both widened by MARGIN, within 0 … most − 1."""
    return max(0, np.int64(np.floor(lo - MARGIN))), min(most - 1, np.int64(np.floor(hi + MARGIN)))


@numba.njit(cache=True, nogil=True, inline="always")
def _span_of_row(ua, va, ub, vb, row):  # type: ignore[no-untyped-def]
    """From where to where an edge runs, along u, within a row of cells widened by MARGIN."""
    lo, hi = min(ua, ub), max(ua, ub)
    if abs(vb - va) > 1e-12:
        slope = (ub - ua) / (vb - va)
        one = ua + (min(max(row - MARGIN, min(va, vb)), max(va, vb)) - va) * slope
        other = ua + (min(max(row + 1 + MARGIN, min(va, vb)), max(va, vb)) - va) * slope
        lo, hi = max(lo, min(one, other)), min(hi, max(one, other))
    return lo, hi


@numba.njit(cache=True, nogil=True)
def by_tile(xy, edge, x0, y0, per_tile, columns, rows):  # type: ignore[no-untyped-def]
    """For each tile the edges that meet it, in the order of their polygons: first of each tile, edges."""
    firsts = np.zeros(columns * rows + 1, dtype=np.int64)
    listed = np.empty(0, dtype=np.int32)
    for writing in (False, True):
        if writing:
            firsts[1:] = np.cumsum(firsts[1:])
            listed = np.empty(firsts[-1], dtype=np.int32)
            at = firsts[:-1].copy()
        for e in edge:
            ua, va = (xy[e, 0] - x0) * per_tile, (xy[e, 1] - y0) * per_tile
            ub, vb = (xy[e + 1, 0] - x0) * per_tile, (xy[e + 1, 1] - y0) * per_tile
            first_row, last_row = _span(min(va, vb), max(va, vb), rows)
            for row in range(first_row, last_row + 1):
                lo, hi = _span_of_row(ua, va, ub, vb, row)
                first, last = _span(lo, hi, columns)
                for tile in range(row * columns + first, row * columns + last + 1):
                    if writing:
                        listed[at[tile]] = e
                        at[tile] += 1
                    else:
                        firsts[tile + 1] += 1
    return firsts, listed


@numba.njit(cache=True, nogil=True)
def grouped(tile_firsts, tile_edges, row_of):  # type: ignore[no-untyped-def]
    """The polygons that have edges in each tile: first of each tile, row of each, first edge of each."""
    firsts = np.zeros(len(tile_firsts), dtype=np.int64)
    rows = np.empty(len(tile_edges), dtype=np.int32)
    edge_firsts = np.empty(len(tile_edges) + 1, dtype=np.int64)
    many = 0
    for tile in range(len(tile_firsts) - 1):
        for at in range(tile_firsts[tile], tile_firsts[tile + 1]):
            row = row_of[tile_edges[at]]
            if at == tile_firsts[tile] or row != rows[many - 1]:
                rows[many], edge_firsts[many] = row, at
                many += 1
        firsts[tile + 1] = many
    edge_firsts[many] = len(tile_edges)
    return firsts, rows[:many].copy(), edge_firsts[: many + 1].copy()


@numba.njit(cache=True, nogil=True)
def judge_tiles(xy, edge, row_of, count, group_firsts, group_rows, x0, y0, per_tile, columns, rows):  # type: ignore[no-untyped-def]
    """Whether the middle of each tile lies in each polygon that has edges there; and the lowest row that covers a tile
    without having edges there, −1 for none. By lines through the middles of the tiles' rows.
    """
    bits = np.zeros(len(group_rows), dtype=np.int8)
    cover = np.full(columns * rows, count, dtype=np.int32)
    at = 0
    for polygon in range(count):
        first = at
        low, high, west, east = np.inf, -np.inf, np.inf, -np.inf
        while at < len(edge) and row_of[edge[at]] == polygon:
            e = edge[at]
            low, high = min(low, xy[e, 1], xy[e + 1, 1]), max(high, xy[e, 1], xy[e + 1, 1])
            west, east = min(west, xy[e, 0], xy[e + 1, 0]), max(east, xy[e, 0], xy[e + 1, 0])
            at += 1
        first_row, last_row = _span((low - y0) * per_tile, (high - y0) * per_tile, rows)
        first_column, last_column = _span((west - x0) * per_tile, (east - x0) * per_tile, columns)
        # The edges that cross the middle of each row of tiles: counted, then listed.
        starts = np.zeros(last_row - first_row + 2, dtype=np.int64)
        crossing = np.empty(0, dtype=np.int32)
        for listing in (False, True):
            if listing:
                starts = np.cumsum(starts)
                crossing = np.empty(starts[-1], dtype=np.int32)
                place = starts[:-1].copy()
            for n in range(first, at):
                e = edge[n]
                lower, upper = min(xy[e, 1], xy[e + 1, 1]), max(xy[e, 1], xy[e + 1, 1])
                from_row = max(first_row, np.int64((lower - y0) * per_tile) - 1)
                to_row = min(last_row, np.int64((upper - y0) * per_tile) + 1)
                for row in range(from_row, to_row + 1):
                    middle = y0 + (row + 0.5) / per_tile
                    if (xy[e, 1] <= middle) == (xy[e + 1, 1] <= middle):
                        continue
                    if listing:
                        crossing[place[row - first_row]] = e
                        place[row - first_row] += 1
                    else:
                        starts[row - first_row + 1] += 1
        for row in range(first_row, last_row + 1):
            middle = y0 + (row + 0.5) / per_tile
            here = crossing[starts[row - first_row] : starts[row - first_row + 1]]
            xs = np.empty(len(here))
            for n in range(len(here)):
                e = here[n]
                part = (middle - xy[e, 1]) / (xy[e + 1, 1] - xy[e, 1])
                xs[n] = xy[e, 0] + part * (xy[e + 1, 0] - xy[e, 0])
            order = np.argsort(xs)
            passed = 0
            for column in range(first_column, last_column + 1):
                px = x0 + (column + 0.5) / per_tile
                while passed < len(here) and xs[order[passed]] < px:
                    passed += 1
                inside = passed & 1
                tile = row * columns + column
                group = _find(group_rows, group_firsts[tile], group_firsts[tile + 1], polygon)
                if group < 0:
                    if inside and polygon < cover[tile]:
                        cover[tile] = polygon
                    continue
                near = False
                for n in (passed - 1, passed):
                    if 0 <= n < len(here) and abs(xs[order[n]] - px) * per_tile < MARGIN:
                        near = True
                if near:
                    inside = 0
                    for e in here:
                        side = _side(xy[e, 0], xy[e, 1], xy[e + 1, 0], xy[e + 1, 1], px, middle)
                        if side != 0 and (side < 0) == (xy[e, 1] <= middle):
                            inside ^= 1
                bits[group] = inside
    for tile in range(len(cover)):
        if cover[tile] == count:
            cover[tile] = -1
    return bits, cover


@numba.njit(cache=True, nogil=True, inline="always")
def _find(ordered, low, high, wanted):  # type: ignore[no-untyped-def]
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] < wanted:
            low = middle + 1
        elif ordered[middle] > wanted:
            high = middle
        else:
            return middle
    return np.int64(-1)


@numba.njit(cache=True, nogil=True)
def _parity(px, py, xy, edges, low, high, west_of):  # type: ignore[no-untyped-def]
    """The sum of the head of this module over some edges, for a tile or pixel that begins at ``west_of``."""
    found = 0
    for n in range(low, high):
        e = edges[n]
        below_a, below_b = xy[e, 1] <= py, xy[e + 1, 1] <= py
        if below_a != below_b:
            side = _side(xy[e, 0], xy[e, 1], xy[e + 1, 0], xy[e + 1, 1], px, py)
            if side != 0 and (side < 0) == below_a:
                found ^= 1
        if below_a and xy[e, 0] < west_of:
            found ^= 1
        if below_b and xy[e + 1, 0] < west_of:
            found ^= 1
    return found


@numba.njit(cache=True, nogil=True)
def fill_tiles(  # type: ignore[no-untyped-def]
    busy, sizes, writing, where, pixels, records,
    xy, tile_edges, group_firsts, group_rows, group_edge_firsts, bits, cover, fineness, x0, y0, per_tile, columns, rows,
):  # fmt: skip
    """The pixels and records of some tiles: the records counted, then both written to where they begin."""
    for n in range(len(busy)):
        tile = busy[n]
        k = fineness[tile]
        many = 1 << k
        scale = per_tile * many
        column, row = tile % columns, tile // columns
        west, south = x0 + column / per_tile, y0 + row / per_tile
        first_group, last_group = group_firsts[tile], group_firsts[tile + 1]
        first_edge, last_edge = group_edge_firsts[first_group], group_edge_firsts[last_group]
        # Which edges meet which pixels, in the order of the edges, which is that of their polygons.
        starts = np.zeros(many * many + 1, dtype=np.int64)
        met = np.empty(0, dtype=np.int64)
        for listing in (False, True):
            if listing:
                starts[1:] = np.cumsum(starts[1:])
                met = np.empty(starts[-1], dtype=np.int64)
                place = starts[:-1].copy()
            for at in range(first_edge, last_edge):
                e = tile_edges[at]
                ua, va = (xy[e, 0] - x0) * scale - column * many, (xy[e, 1] - y0) * scale - row * many
                ub, vb = (xy[e + 1, 0] - x0) * scale - column * many, (xy[e + 1, 1] - y0) * scale - row * many
                if max(va, vb) < -MARGIN or min(va, vb) > many + MARGIN:
                    continue
                low, high = _span(min(va, vb), max(va, vb), many)
                for line in range(low, high + 1):
                    lo, hi = _span_of_row(ua, va, ub, vb, line)
                    if hi < -MARGIN or lo > many + MARGIN:
                        continue
                    first, last = _span(lo, hi, many)
                    for pixel in range(line * many + first, line * many + last + 1):
                        if listing:
                            met[place[pixel]] = at
                            place[pixel] += 1
                        else:
                            starts[pixel + 1] += 1
        groups = last_group - first_group
        inside = np.empty((groups, many * many), dtype=np.uint8)  # of each polygon: has it the middle of the pixel
        crossing = np.empty(last_edge - first_edge, dtype=np.int32)
        for g in range(groups):
            group = first_group + g
            low, high = group_edge_firsts[group], group_edge_firsts[group + 1]
            px, py = x0 + (column + 0.5) / per_tile, y0 + (row + 0.5) / per_tile
            constant = bits[group] ^ _parity(px, py, xy, tile_edges, low, high, west)
            for line in range(many):
                py = south + (line + 0.5) / scale
                odd, across = constant, 0
                for at in range(low, high):
                    e = tile_edges[at]
                    below_a, below_b = xy[e, 1] <= py, xy[e + 1, 1] <= py
                    odd ^= (below_a and xy[e, 0] < west) != (below_b and xy[e + 1, 0] < west)
                    if below_a != below_b:
                        crossing[across] = e
                        across += 1
                for i in range(many):
                    px = west + (i + 0.5) / scale
                    found = odd
                    for c in range(across):
                        e = crossing[c]
                        side = _side(xy[e, 0], xy[e, 1], xy[e + 1, 0], xy[e + 1, 1], px, py)
                        found ^= side != 0 and (side < 0) == (xy[e, 1] <= py)
                    inside[g, line * many + i] = found
        written = where[n, 0] if writing else np.int64(0)
        meant = np.empty(groups, dtype=np.int64)  # the polygons that have edges in a pixel, and where these begin
        begins = np.empty(groups + 1, dtype=np.int64)
        for pixel in range(many * many):
            at, last = starts[pixel], starts[pixel + 1]
            owner, odd, count = np.int32(-1), 0, 0
            for g in range(groups):
                if 0 <= cover[tile] < group_rows[first_group + g]:
                    break
                here, end = at, group_edge_firsts[first_group + g + 1]
                while at < last and met[at] < end:
                    at += 1
                if here < at:
                    odd ^= inside[g, pixel]
                    meant[count], begins[count] = g, here
                    count += 1
                elif inside[g, pixel]:
                    owner = group_rows[first_group + g]
                    break
            begins[count] = at
            if owner < 0:
                owner = cover[tile]
            if count == 0:
                if writing:
                    pixels[where[n, 1] + pixel] = owner
                continue
            if owner < 0 and odd and _all_twice(xy, tile_edges, met, starts[pixel], last):
                count -= 1  # the last one has what the candidates before leave
                owner = group_rows[first_group + meant[count]]
            length = 2 * count + begins[count] - begins[0] + 2 * (owner >= 0)
            if writing:
                pixels[where[n, 1] + pixel] = -2 - written
                px, py = west + (pixel % many + 0.5) / scale, south + (pixel // many + 0.5) / scale
                pixel_west = x0 + (column * many + pixel % many) / scale
                to = written
                for c in range(count):
                    constant = np.int64(inside[meant[c], pixel])
                    is_last = owner < 0 and c == count - 1
                    records[to + 1] = (begins[c + 1] - begins[c]) * 2 + is_last
                    for i in range(begins[c], begins[c + 1]):
                        e = tile_edges[met[i]]
                        below_a, below_b = xy[e, 1] <= py, xy[e + 1, 1] <= py
                        west_a, west_b = xy[e, 0] < pixel_west, xy[e + 1, 0] < pixel_west
                        constant ^= (below_a and west_a) != (below_b and west_b)
                        if below_a != below_b:
                            side = _side(xy[e, 0], xy[e, 1], xy[e + 1, 0], xy[e + 1, 1], px, py)
                            constant ^= side != 0 and (side < 0) == below_a
                        records[to + 2 + i - begins[c]] = e * 4 + west_a * 2 + west_b
                    records[to] = group_rows[first_group + meant[c]] * 2 + constant
                    to += 2 + begins[c + 1] - begins[c]
                if owner >= 0:
                    records[to], records[to + 1] = owner * 2 + 1, 1
            written += length
        if not writing:
            sizes[n] = written


@numba.njit(cache=True, nogil=True)
def _all_twice(xy, tile_edges, met, low, high):  # type: ignore[no-untyped-def]
    """Whether each edge of a pixel is there exactly twice, in whichever direction."""
    if (high - low) % 2:
        return False
    for i in range(low, high):
        e = tile_edges[met[i]]
        same = 0
        for j in range(low, high):
            f = tile_edges[met[j]]
            if (
                xy[e, 0] == xy[f, 0]
                and xy[e, 1] == xy[f, 1]
                and xy[e + 1, 0] == xy[f + 1, 0]
                and xy[e + 1, 1] == xy[f + 1, 1]
            ) or (
                xy[e, 0] == xy[f + 1, 0]
                and xy[e, 1] == xy[f + 1, 1]
                and xy[e + 1, 0] == xy[f, 0]
                and xy[e + 1, 1] == xy[f, 1]
            ):
                same += 1
        if same != 2:
            return False
    return True
