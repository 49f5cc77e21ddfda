"""Power diagrams with given areas: the kernel of :mod:`grids.divide`.

A power diagram (Aurenhammer 1987) of k sites, clipped to a block, has for any wished areas one set of weights that
gives exactly these areas; it is found by Newton's method (Kitagawa, Mérigot, Thibert 2019), since the change of a
cell's area with a weight is the length of the common edge over twice the distance of the sites. Moving the sites to
the middles of their cells and solving again (Lloyd's steps, under equal areas) makes the cells compact: it lowers
the sum of the second moments, which hexagons have least.

The block's rings are clipped by half-planes. A ring clipped so may run along a cut there and back; such stretches
cancel in areas, middles and lengths, so that blocks of any shape and with holes are measured exactly.
"""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def _clip(xy, tag, n, out, out_tag, a, b, c, mark):  # type: ignore[no-untyped-def]
    """Keep what has a·x + b·y ≤ c of a ring of n vertices; tag[i] names the line of the edge that begins at i."""
    m = 0
    for i in range(n):
        j = i + 1 if i + 1 < n else 0
        di = a * xy[i, 0] + b * xy[i, 1] - c
        dj = a * xy[j, 0] + b * xy[j, 1] - c
        if di <= 0:
            out[m, 0] = xy[i, 0]
            out[m, 1] = xy[i, 1]
            out_tag[m] = tag[i]
            m += 1
            if dj > 0:
                t = di / (di - dj)
                out[m, 0] = xy[i, 0] + t * (xy[j, 0] - xy[i, 0])
                out[m, 1] = xy[i, 1] + t * (xy[j, 1] - xy[i, 1])
                out_tag[m] = mark
                m += 1
        elif dj <= 0:
            t = di / (di - dj)
            out[m, 0] = xy[i, 0] + t * (xy[j, 0] - xy[i, 0])
            out[m, 1] = xy[i, 1] + t * (xy[j, 1] - xy[i, 1])
            out_tag[m] = tag[i]
            m += 1
    return m


@numba.njit(cache=True, nogil=True)
def _measure(xy, start, sites, weights, area, moment, energy, pair, length, order):  # type: ignore[no-untyped-def]
    """Area, first moment and energy of each cell; for each pair of neighbours the length of the common edge.

    Rings are walked with their sign (shell counter-clockwise, holes clockwise). Returns the number of pairs (both
    directions); pair[:, 0] is the cell, pair[:, 1] its neighbour.
    """
    k = len(sites)
    largest = 0
    for r in range(len(start) - 1):
        largest = max(largest, start[r + 1] - start[r])
    room = 4 * largest + 8 * k + 64
    one = np.empty((room, 2))
    two = np.empty((room, 2))
    one_tag = np.empty(room, dtype=np.int64)
    two_tag = np.empty(room, dtype=np.int64)
    along = np.zeros(k)
    found = 0
    for i in range(k):
        sx, sy = sites[i, 0], sites[i, 1]
        s2 = sx * sx + sy * sy - weights[i]
        area[i] = 0.0
        moment[i, 0] = 0.0
        moment[i, 1] = 0.0
        energy[i] = 0.0
        touched = np.empty(k, dtype=np.int64)
        touches = 0
        for r in range(len(start) - 1):
            n = start[r + 1] - start[r] - 1  # rings are closed
            far = 0.0
            for v in range(n):
                one[v, 0] = xy[start[r] + v, 0]
                one[v, 1] = xy[start[r] + v, 1]
                one_tag[v] = -1
                far = max(far, (one[v, 0] - sx) ** 2 + (one[v, 1] - sy) ** 2)
            for o in range(1, k):
                j = order[i, o]
                dx, dy = sites[j, 0] - sx, sites[j, 1] - sy
                d2 = dx * dx + dy * dy
                reach = d2 + weights[i] - weights[j]
                if reach > 0 and reach * reach >= 4 * d2 * far:
                    continue  # the cut lies beyond the farthest vertex
                a, b = 2 * dx, 2 * dy
                c = sites[j, 0] ** 2 + sites[j, 1] ** 2 - weights[j] - s2
                m = _clip(one, one_tag, n, two, two_tag, a, b, c, j)
                one, two = two, one
                one_tag, two_tag = two_tag, one_tag
                n = m
                if n < 3:
                    n = 0
                    break
                far = 0.0
                for v in range(n):
                    far = max(far, (one[v, 0] - sx) ** 2 + (one[v, 1] - sy) ** 2)
                if 2 * n + 4 > room:
                    break
            for v in range(n):
                u = v + 1 if v + 1 < n else 0
                px, py = one[v, 0] - sx, one[v, 1] - sy
                qx, qy = one[u, 0] - sx, one[u, 1] - sy
                cross = px * qy - qx * py
                area[i] += cross / 2
                moment[i, 0] += cross * (px + qx) / 6
                moment[i, 1] += cross * (py + qy) / 6
                energy[i] += cross * (px * px + px * qx + qx * qx + py * py + py * qy + qy * qy) / 12
                j = one_tag[v]
                if j >= 0:
                    if along[j] == 0.0:
                        touched[touches] = j
                        touches += 1
                    ux, uy = -(sites[j, 1] - sy), sites[j, 0] - sx  # the way round with the cell on the left
                    d = np.sqrt(ux * ux + uy * uy)
                    along[j] += ((qx - px) * ux + (qy - py) * uy) / d
        for t in range(touches):
            j = touched[t]
            if along[j] > 1e-9 and found < len(pair):
                pair[found, 0] = i
                pair[found, 1] = j
                length[found] = along[j]
                found += 1
            along[j] = 0.0
    return found


@numba.njit(cache=True, nogil=True)
def _solved(k, pairs, pair, slope, right):  # type: ignore[no-untyped-def]
    """Conjugate gradients for the Laplacian of the cells' common edges; the mean of the answer is zero."""
    x = np.zeros(k)
    diagonal = np.full(k, 1e-9)
    for p in range(pairs):
        diagonal[pair[p, 0]] += slope[p]
    r = right - right.mean()
    z = r / diagonal
    d = z.copy()
    rz = (r * z).sum()
    first = rz
    for _ in range(4 * k + 20):
        if rz <= 1e-10 * first or rz == 0.0:
            break
        q = diagonal * d
        for p in range(pairs):
            q[pair[p, 0]] -= slope[p] * d[pair[p, 1]]
        step = rz / (d * q).sum()
        x += step * d
        r -= step * q
        z = r / diagonal
        new = (r * z).sum()
        d = z + new / rz * d
        rz = new
    return x - x.mean()


@numba.njit(cache=True, nogil=True)
def _nearest_first(sites):  # type: ignore[no-untyped-def]
    k = len(sites)
    order = np.empty((k, k), dtype=np.int64)
    for i in range(k):
        d = (sites[:, 0] - sites[i, 0]) ** 2 + (sites[:, 1] - sites[i, 1]) ** 2
        d[i] = -1.0
        order[i] = np.argsort(d, kind="mergesort")
    return order


@numba.njit(cache=True, nogil=True)
def _area_below(xy, start, a, b, c, one, two, tag, two_tag):  # type: ignore[no-untyped-def]
    total = 0.0
    for r in range(len(start) - 1):
        n = start[r + 1] - start[r] - 1
        for v in range(n):
            one[v] = xy[start[r] + v]
        m = _clip(one, tag, n, two, two_tag, a, b, c, 0)
        for v in range(m):
            u = v + 1 if v + 1 < m else 0
            total += (two[v, 0] * two[u, 1] - two[u, 0] * two[v, 1]) / 2
    return total


@numba.njit(cache=True, nogil=True)
def halving(xy, start, angle, share):  # type: ignore[no-untyped-def]
    """How far along a direction a straight cut lies that leaves a share of the block's area behind it."""
    largest = 0
    for r in range(len(start) - 1):
        largest = max(largest, start[r + 1] - start[r])
    one = np.empty((2 * largest + 16, 2))
    two = np.empty((2 * largest + 16, 2))
    tag = np.zeros(2 * largest + 16, dtype=np.int64)
    two_tag = np.zeros(2 * largest + 16, dtype=np.int64)
    ux, uy = np.cos(angle), np.sin(angle)
    along = xy[:, 0] * ux + xy[:, 1] * uy
    low, high = along.min(), along.max()
    wish = _area_below(xy, start, ux, uy, high + 1.0, one, two, tag, two_tag) * share
    for _ in range(26):
        middle = (low + high) / 2
        if _area_below(xy, start, ux, uy, middle, one, two, tag, two_tag) < wish:
            low = middle
        else:
            high = middle
    return (low + high) / 2


@numba.njit(cache=True, nogil=True)
def _first_sites(xy, start, k, turn):  # type: ignore[no-untyped-def]
    """Middles of strips of equal area laid across the block, each cut into cells: a start for Lloyd's steps."""
    total = 0.0
    cx = 0.0
    cy = 0.0
    xx = 0.0
    yy = 0.0
    xyy = 0.0
    ox, oy = xy[:, 0].mean(), xy[:, 1].mean()
    for r in range(len(start) - 1):
        for v in range(start[r], start[r + 1] - 1):
            px, py = xy[v, 0] - ox, xy[v, 1] - oy
            qx, qy = xy[v + 1, 0] - ox, xy[v + 1, 1] - oy
            cross = px * qy - qx * py
            total += cross / 2
            cx += cross * (px + qx) / 6
            cy += cross * (py + qy) / 6
            xx += cross * (px * px + px * qx + qx * qx) / 12
            yy += cross * (py * py + py * qy + qy * qy) / 12
            xyy += cross * (px * qy + 2 * px * py + 2 * qx * qy + qx * py) / 24
    cx /= total
    cy /= total
    xx = xx / total - cx * cx
    yy = yy / total - cy * cy
    xyy = xyy / total - cx * cy
    angle = 0.5 * np.arctan2(2 * xyy, xx - yy) + turn
    mean, half = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xyy**2)
    ratio = np.sqrt(max(mean + half, 1e-9) / max(mean - half, 1e-9))
    if turn != 0.0:
        ratio = 1 / ratio
    strips = int(min(max(np.round(np.sqrt(k * ratio)), 1), k))
    ux, uy = np.cos(angle), np.sin(angle)
    vx, vy = -uy, ux
    sites = np.empty((k, 2))
    done = 0
    for s in range(strips):
        here = (k * (s + 1)) // strips - (k * s) // strips
        t = halving(xy, start, angle, (done + here / 2) / k)  # the middle of the strip halves its area
        # where the strip's middle line runs inside the block: its stretches, laid end to end
        cuts = np.empty(4 * len(xy))
        n = 0
        for r in range(len(start) - 1):
            for v in range(start[r], start[r + 1] - 1):
                da = xy[v, 0] * ux + xy[v, 1] * uy - t
                db = xy[v + 1, 0] * ux + xy[v + 1, 1] * uy - t
                if (da <= 0) != (db <= 0):
                    share = da / (da - db)
                    cuts[n] = (xy[v, 0] + share * (xy[v + 1, 0] - xy[v, 0])) * vx + (
                        xy[v, 1] + share * (xy[v + 1, 1] - xy[v, 1])
                    ) * vy
                    n += 1
        inside = np.sort(cuts[:n])
        run = 0.0
        for w in range(0, n - 1, 2):
            run += inside[w + 1] - inside[w]
        for g in range(here):
            rest = run * (g + 0.5) / here
            at = inside[0] if n else 0.0
            for w in range(0, n - 1, 2):
                stretch = inside[w + 1] - inside[w]
                if rest <= stretch or w + 2 >= n - 1:
                    at = inside[w] + rest
                    break
                rest -= stretch
            sites[done, 0] = t * ux + at * vx + 1e-3 * np.sin(7.0 * done)
            sites[done, 1] = t * uy + at * vy + 1e-3 * np.cos(5.0 * done)
            done += 1
    return sites, total


@numba.njit(cache=True, nogil=True)
def balanced(xy, start, k, turn, steps):  # type: ignore[no-untyped-def]
    """Sites and weights of k cells of equal area, and the sum of their second moments (m⁴).

    xy, start : rings one after the other, closed, shell counter-clockwise, holes clockwise; start[r] their beginnings
    turn      : angle by which the first strips are turned from the block's short axis
    """
    sites, total = _first_sites(xy, start, k, turn)
    weights = np.zeros(k)
    area = np.empty(k)
    moment = np.empty((k, 2))
    energy = np.empty(k)
    pair = np.empty((40 * k + 40, 2), dtype=np.int64)
    length = np.empty(40 * k + 40)
    slope = np.empty(40 * k + 40)
    wish = total / k
    for step in range(steps):
        order = _nearest_first(sites)
        pairs = _measure(xy, start, sites, weights, area, moment, energy, pair, length, order)
        if area.min() <= 0.02 * wish:  # an empty cell has no slope: begin again from plain nearness
            weights[:] = 0.0
            pairs = _measure(xy, start, sites, weights, area, moment, energy, pair, length, order)
        last = step == steps - 1
        tolerance = 0.001 if last else 0.02
        for _ in range(30 if last else 6):
            worst = np.abs(area - wish).max()
            if worst <= tolerance * wish:
                break
            for p in range(pairs):
                i, j = pair[p, 0], pair[p, 1]
                slope[p] = length[p] / (
                    2 * np.sqrt((sites[i, 0] - sites[j, 0]) ** 2 + (sites[i, 1] - sites[j, 1]) ** 2)
                )
            change = _solved(k, pairs, pair, slope, wish - area)
            old = weights.copy()
            floor = 0.5 * min(area.min(), wish)
            damping = 1.0
            for _ in range(12):
                weights = old + damping * change
                pairs = _measure(xy, start, sites, weights, area, moment, energy, pair, length, order)
                if area.min() > max(floor, 0.0) and np.abs(area - wish).max() < worst:
                    break
                damping /= 2
            if np.abs(area - wish).max() >= worst:
                weights = old
                pairs = _measure(xy, start, sites, weights, area, moment, energy, pair, length, order)
                break
        if last:
            break
        moved = 0.0
        for i in range(k):
            if area[i] > 0.02 * wish:
                sx, sy = moment[i, 0] / area[i], moment[i, 1] / area[i]
                moved = max(moved, sx * sx + sy * sy)
                sites[i, 0] += sx
                sites[i, 1] += sy
        if moved < 1e-4 * wish and step < steps - 2:
            steps_left = step + 2
            if steps_left < steps:
                steps = steps_left
    return sites, weights, energy.sum()


@numba.njit(cache=True, nogil=True)
def diagram(sites, weights, frame):  # type: ignore[no-untyped-def]
    """The edges of the power diagram inside the frame (min x, min y, max x, max y): rows x, y, x, y."""
    k = len(sites)
    room = 4 * k + 64
    one = np.empty((room, 2))
    two = np.empty((room, 2))
    one_tag = np.empty(room, dtype=np.int64)
    two_tag = np.empty(room, dtype=np.int64)
    out = np.empty((20 * k + 20, 4))
    found = 0
    order = _nearest_first(sites)
    for i in range(k):
        s2 = sites[i, 0] ** 2 + sites[i, 1] ** 2 - weights[i]
        n = 4
        one[0, 0], one[0, 1] = frame[0], frame[1]
        one[1, 0], one[1, 1] = frame[2], frame[1]
        one[2, 0], one[2, 1] = frame[2], frame[3]
        one[3, 0], one[3, 1] = frame[0], frame[3]
        for v in range(4):
            one_tag[v] = -1
        for o in range(1, k):
            j = order[i, o]
            a, b = 2 * (sites[j, 0] - sites[i, 0]), 2 * (sites[j, 1] - sites[i, 1])
            c = sites[j, 0] ** 2 + sites[j, 1] ** 2 - weights[j] - s2
            n = _clip(one, one_tag, n, two, two_tag, a, b, c, j)
            one, two = two, one
            one_tag, two_tag = two_tag, one_tag
            if n < 3:
                n = 0
                break
        for v in range(n):
            if one_tag[v] > i:
                u = v + 1 if v + 1 < n else 0
                out[found, 0] = one[v, 0]
                out[found, 1] = one[v, 1]
                out[found, 2] = one[u, 0]
                out[found, 3] = one[u, 1]
                found += 1
    return out[:found]
