"""Where the components of a simulated city stand: one function per kind of place.

The list ``placement.csv`` says for each class the kind of place, the streets, the spacing or number, the size and
the attributes. Poles stand on the pavement, covers lie in the carriageway, railings run along parks and banks;
nothing but what belongs to water stands in water, and no point stands in a building.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import shapely

from gis.errors import Invalid
from grids.simulate_frame import density
from layers.simulate_site import Floats, Geometries, Site, along, left_of, oblongs, random_in


def place_components(site: Site, line: Mapping[str, Any], rng: np.random.Generator) -> Geometries:
    """The geometries of one class, as its line of ``placement.csv`` wants them.

    line : place, grades, every_m, count, sides, size_m; missing values empty. Raises Invalid for an unknown place.
    """
    kind = str(line["place"])
    if kind not in PLACES:
        raise Invalid(
            f"placement.csv names an unknown place {kind!r}.",
            f"placement.csv 中有未知的位置类型 {kind!r}。",
            mend=f"Use one of {', '.join(PLACES)}.",
            mend_zh=f"请使用：{'、'.join(PLACES)}。",
        )
    return PLACES[kind](site, line, rng)


def _number(line: Mapping[str, Any], name: str) -> float:
    return float(line[name]) if str(line[name]).strip() else 0.0


def _size(line: Mapping[str, Any]) -> tuple[float, float]:
    length, _, width = str(line["size_m"]).partition("x")
    return float(length), float(width or 0)


def _few(found: Any, line: Mapping[str, Any], rng: np.random.Generator) -> Any:
    """At most ``count`` of what was found, drawn at random, in the old order."""
    count = int(_number(line, "count"))
    if not count or len(found) <= count:
        return found
    return found[np.sort(rng.choice(len(found), count, replace=False))]


def _beside(offset: Callable[[Any], Any], *, on_roadway: bool = False) -> Any:
    """A kind of place along the side of streets; ``offset``: metres from the middle, given the streets."""

    def place(site: Site, line: Mapping[str, Any], rng: np.random.Generator) -> Geometries:
        streets = site.of_grades(str(line["grades"]))
        which, at, way, nth = along(np.asarray(streets.geometry.array), _number(line, "every_m") or 60.0, rng)
        away = np.asarray(offset(streets), dtype=np.float64)[which]
        side = np.where((nth + which) % 2 == 0, 1.0, -1.0)
        if line["sides"] == "2":
            at, way, away = np.repeat(at, 2, axis=0), np.repeat(way, 2, axis=0), np.repeat(away, 2)
            side = np.tile([1.0, -1.0], len(which))
        xy = at + left_of(way) * (side * away)[:, None]
        stands = site.dry(xy) if on_roadway else site.beside_roadway(xy)
        return np.asarray(shapely.points(_few(xy[stands], line, rng)), dtype=object)

    return place


def _roadway(site: Site, line: Mapping[str, Any], rng: np.random.Generator) -> Geometries:
    streets = site.of_grades(str(line["grades"]))
    which, at, way, _ = along(np.asarray(streets.geometry.array), _number(line, "every_m"), rng)
    lane_of = rng.choice([-0.33, -0.12, 0.12, 0.33], len(which)) + rng.normal(0, 0.03, len(which))
    xy = at + left_of(way) * (lane_of * streets["roadway_m"].to_numpy()[which])[:, None]
    return np.asarray(shapely.points(xy[site.dry(xy)]), dtype=object)


def _corners(site: Site, line: Mapping[str, Any], rng: np.random.Generator) -> Geometries:
    """On the pavement at the corners of junctions, ``sides`` of the four corners at each."""
    meet = site.junctions
    if line["grades"] == "arterial":
        meet = meet[(meet["a_m"] > 30) | (meet["b_m"] > 30)]
    if line["place"] == "signal":
        both = (meet["a_m"] > 30) & (meet["b_m"] > 30)
        lucky = (meet["x"] + meet["y"]) % 10 < 3  # by place: the same junctions for every class of signal
        meet = meet[both | lucky]
    per = int(line["sides"])
    signs = np.array([[1, 1], [-1, -1], [1, -1], [-1, 1]])[:per]
    turn = rng.integers(0, 2, len(meet)) * 2 - 1
    at = meet[["x", "y"]].to_numpy()
    along_a, along_b = meet[["ax", "ay"]].to_numpy(), meet[["bx", "by"]].to_numpy()
    reach_a = (meet["b_road_m"].to_numpy() / 2 + 1.4)[:, None]
    reach_b = (meet["a_road_m"].to_numpy() / 2 + 1.4)[:, None]
    corners = [at + s * along_a * reach_a + t * turn[:, None] * along_b * reach_b for s, t in signs]
    xy = np.stack(corners, axis=1).reshape(-1, 2) + rng.uniform(-0.4, 0.4, (len(meet) * per, 2))
    return np.asarray(shapely.points(_few(xy[site.beside_roadway(xy)], line, rng)), dtype=object)


def _across_streets(site: Site, line: Mapping[str, Any], rng: np.random.Generator) -> Geometries:
    """Rectangles over or under main streets, across them; long ones (over 60 m) along them."""
    streets = site.of_grades(str(line["grades"]))
    _, at, way, _ = along(np.asarray(streets.geometry.array), 150.0, rng)
    use = site.dry(at) & (density(site.profile, at) > 0.35)
    length, width = _size(line)
    turned = way if length > 60 else left_of(way)
    found = oblongs(at[use], turned[use], length, width)
    return np.asarray(_few(found[shapely.contains_properly(site.city, found)], line, rng))


def _islands(site: Site, line: Mapping[str, Any], rng: np.random.Generator) -> Geometries:
    """Rectangles in the middle of the carriageway, some metres before a junction of main streets."""
    meet = site.junctions[site.junctions["a_m"] > 30]
    way = meet[["ax", "ay"]].to_numpy()
    at = meet[["x", "y"]].to_numpy() + way * 34
    length, width = _size(line)
    use = shapely.contains_xy(site.roadway, at) & site.dry(at)
    found = oblongs(at[use], way[use], length, width)
    return np.asarray(_few(found[shapely.contains_properly(site.city, found)], line, rng))


def _bays(site: Site, line: Mapping[str, Any], rng: np.random.Generator) -> Geometries:
    """Rectangles on the pavement, along the street."""
    streets = site.of_grades(str(line["grades"]))
    which, at, way, nth = along(np.asarray(streets.geometry.array), _number(line, "every_m"), rng)
    side = np.where(nth % 2 == 0, 1.0, -1.0)
    away = streets["width_m"].to_numpy()[which] / 2 - 1.6
    xy = at + left_of(way) * (side * away)[:, None]
    length, width = _size(line)
    found = oblongs(xy, way, length, width)
    return found[site.beside_roadway(xy) & shapely.contains_properly(site.city, found)]


def _lots(site: Site, line: Mapping[str, Any], rng: np.random.Generator) -> Geometries:
    """Rectangles on open ground behind the pavement, clear of buildings, streets and water."""
    streets = site.streets
    which, at, way, _ = along(np.asarray(streets.geometry.array), 9.0, rng)
    length, width = _size(line)
    side = rng.choice([-1.0, 1.0], len(which))
    away = streets["width_m"].to_numpy()[which] / 2 + width / 2 + rng.uniform(1, 6, len(which))
    xy = at + left_of(way) * (side * away)[:, None]
    thick = density(site.profile, xy)
    fit = thick < 0.25 if line["place"] == "lot_edge" else rng.random(len(xy)) < 0.15 + thick
    boxes = oblongs(xy[fit], way[fit], length, width)
    boxes = boxes[rng.permutation(len(boxes))[:12000]]
    boxes = boxes[shapely.contains_properly(site.city, boxes)]
    boxes = boxes[~shapely.intersects(site.water, boxes) & ~shapely.intersects(site.roadway, boxes)]
    clear = np.ones(len(boxes), dtype=bool)
    clear[site.house_tree.query(boxes, predicate="intersects")[0]] = False
    boxes = boxes[clear]
    if site.lots:
        boxes = boxes[~shapely.intersects(shapely.union_all(np.concatenate(site.lots)), boxes)]
    a, b = shapely.STRtree(boxes).query(boxes, predicate="intersects")
    later = np.zeros(len(boxes), dtype=bool)
    later[b[a < b]] = True
    site.lots.append(boxes[~later][: int(_number(line, "count"))])
    return site.lots[-1]


def _house_sides(site: Site, count: int, rng: np.random.Generator, *, dense: float) -> tuple[Floats, Floats, Floats]:
    """Random sides of random houses: middle of the side, direction along it, direction away from the house."""
    middle = shapely.get_coordinates(shapely.centroid(site.houses))
    weight = density(site.profile, middle) ** dense * np.sqrt(shapely.area(site.houses))
    house = rng.choice(len(site.houses), count, p=weight / weight.sum())
    oblong = shapely.get_num_coordinates(site.houses) == 5
    house = house[oblong[house]]
    ring = shapely.get_coordinates(site.houses[house]).reshape(-1, 5, 2)
    side = rng.integers(0, 4, len(house))
    rows = np.arange(len(house))
    a, b = ring[rows, side], ring[rows, side + 1]
    way = (b - a) / np.maximum(np.hypot(*(b - a).T), 1e-9)[:, None]
    out = (a + b) / 2 - ring[:, :4].mean(axis=1)
    share = rng.uniform(0.15, 0.85, len(house))[:, None]
    return a + (b - a) * share, way, out / np.maximum(np.hypot(*out.T), 1e-9)[:, None]


def _house_fronts(site: Site, line: Mapping[str, Any], rng: np.random.Generator) -> Geometries:
    """Just before the walls of houses that stand near a street."""
    at, _, out = _house_sides(site, 9 * int(_number(line, "count")), rng, dense=1.6)
    main = np.asarray(site.of_grades("arterial street").geometry.array)
    near = np.zeros(len(at), dtype=bool)
    near[shapely.STRtree(main).query(shapely.points(at + out * 16), predicate="dwithin", distance=18)[0]] = True
    xy = (at + out * 0.25)[near]
    return np.asarray(shapely.points(_few(xy[site.beside_roadway(xy)], line, rng)), dtype=object)


def _compounds(site: Site, line: Mapping[str, Any], rng: np.random.Generator) -> Geometries:
    """A few metres from houses, inside the blocks."""
    at, _, out = _house_sides(site, 3 * int(_number(line, "count")), rng, dense=0.5)
    xy = at + out * rng.uniform(1.5, 4.5, len(at))[:, None]
    return np.asarray(shapely.points(_few(xy[site.beside_roadway(xy)], line, rng)), dtype=object)


def _house_lines(site: Site, line: Mapping[str, Any], rng: np.random.Generator) -> Geometries:
    """Lines of some metres along the walls of houses, a hand's breadth before them."""
    at, way, out = _house_sides(site, 3 * int(_number(line, "count")), rng, dense=1.0)
    start, end = at + out * 0.2 - way * 2.5, at + out * 0.2 + way * 2.5
    lines = np.asarray(shapely.linestrings(np.stack([start, end], axis=1)), dtype=object)
    return np.asarray(_few(lines[site.dry(start) & site.dry(end)], line, rng))


def _parks(site: Site, line: Mapping[str, Any], rng: np.random.Generator) -> Geometries:
    large = site.greens[shapely.area(site.greens) > 1500]
    xy = random_in(large, int(_number(line, "count")) * 2, rng)
    return np.asarray(shapely.points(_few(xy[site.beside_roadway(xy)], line, rng)), dtype=object)


def _banks(site: Site, away_m: float) -> Geometries:
    """Lines along the rivers, so far from the water, inside the city, not under bridges."""
    edge = shapely.boundary(shapely.buffer(shapely.union_all(site.rivers), away_m))
    kept = shapely.difference(shapely.intersection(edge, site.city.buffer(-6)), site.roadway.buffer(2))
    parts = shapely.get_parts(shapely.line_merge(kept))
    return np.asarray(parts[shapely.length(parts) > 20], dtype=object)


def _on_banks(site: Site, line: Mapping[str, Any], rng: np.random.Generator) -> Geometries:
    _, at, _, _ = along(_banks(site, 3.5), _number(line, "every_m"), rng)
    return np.asarray(shapely.points(at[site.beside_roadway(at)]), dtype=object)


def _parks_and_banks(site: Site, line: Mapping[str, Any], rng: np.random.Generator) -> Geometries:
    half = dict(line, count=str(int(_number(line, "count")) // 2))
    _, at, _, _ = along(_banks(site, 6.0), 45.0, rng)
    by_water = shapely.points(_few(at[site.beside_roadway(at)], half, rng))
    return np.concatenate([_parks(site, half, rng), np.asarray(by_water, dtype=object)])


def _pieces(lines: Geometries, every_m: float, length_m: float, rng: np.random.Generator) -> Geometries:
    """Pieces of lines of the given length, one about every so many metres, never overlapping."""
    found = []
    for line in lines:
        whole = float(shapely.length(line))
        start = rng.uniform(0, max(every_m - length_m, 0.0))
        while start + length_m * 0.5 < whole:
            stop = min(start + length_m, whole)
            at = np.unique(np.append(np.arange(start, stop, 10.0), stop))
            if len(at) > 1:
                xy = shapely.get_coordinates(shapely.line_interpolate_point(line, at))
                found.append(shapely.linestrings(xy))
            start += max(every_m, length_m)
    return np.asarray(found, dtype=object)


def _lines(source: Callable[[Site, Mapping[str, Any]], Geometries], *, dry: bool = True) -> Any:
    """A kind of place for lines: pieces of the lines that ``source`` gives."""

    def place(site: Site, line: Mapping[str, Any], rng: np.random.Generator) -> Geometries:
        length, _ = _size(line)
        pieces = _pieces(source(site, line), _number(line, "every_m") or length, length, rng)
        if dry:
            pieces = pieces[~shapely.intersects(site.water, pieces) & shapely.contains_properly(site.city, pieces)]
        return np.asarray(_few(pieces, line, rng))

    return place


def _offset_streets(share: float) -> Callable[[Site, Mapping[str, Any]], Geometries]:
    def source(site: Site, line: Mapping[str, Any]) -> Geometries:
        streets = site.of_grades(str(line["grades"]))
        return np.asarray(
            shapely.offset_curve(np.asarray(streets.geometry.array), streets["roadway_m"].to_numpy() * share),
            dtype=object,
        )

    return source


def _park_edges(site: Site, line: Mapping[str, Any]) -> Geometries:
    inner = shapely.get_parts(shapely.buffer(site.greens[shapely.area(site.greens) > 1500], -0.8))
    return np.asarray(shapely.get_exterior_ring(inner), dtype=object)


def _beside_rails(site: Site, line: Mapping[str, Any]) -> Geometries:
    sides = [shapely.offset_curve(site.rails, away) for away in (9.0, -9.0)]
    return np.asarray(shapely.get_parts(np.concatenate(sides)), dtype=object)


def _bridges(site: Site, line: Mapping[str, Any], rng: np.random.Generator) -> Geometries:
    """Main streets where they cross a river."""
    main = site.of_grades("arterial")
    lines = np.asarray(main.geometry.array)
    found = []
    for river in site.rivers:
        over = shapely.intersection(lines, river)
        for part, width in zip(over, main["width_m"], strict=True):
            found += [
                shapely.buffer(p, width * 0.36, cap_style="flat") for p in shapely.get_parts(part) if p.length > 20
            ]
    decks = shapely.get_parts(shapely.intersection(np.asarray(found, dtype=object), site.city))
    return np.asarray(decks[(shapely.get_type_id(decks) == 3) & (shapely.area(decks) > 50)], dtype=object)


def _edges_of_town(site: Site, line: Mapping[str, Any], rng: np.random.Generator) -> Geometries:
    low, high = np.array(site.city.bounds[:2]), np.array(site.city.bounds[2:])
    xy = low + rng.random((4000, 2)) * (high - low)
    xy = xy[site.beside_roadway(xy)]
    return np.asarray(shapely.points(_few(xy[density(site.profile, xy) < 0.25], line, rng)), dtype=object)


PLACES: dict[str, Callable[[Site, Mapping[str, Any], np.random.Generator], Geometries]] = {
    "kerb": _beside(lambda streets: streets["roadway_m"] / 2 + 0.6),
    "verge": _beside(lambda streets: streets["width_m"] / 2 - 0.5),
    "stop": _beside(lambda streets: streets["roadway_m"] / 2 + 1.6),
    "gutter": _beside(lambda streets: streets["roadway_m"] / 2 - 0.3, on_roadway=True),
    "carriageway": _roadway,
    "corner": _corners,
    "signal": _corners,
    "overpass": _across_streets,
    "island": _islands,
    "bay": _bays,
    "lot": _lots,
    "lot_edge": _lots,
    "front": _house_fronts,
    "compound": _compounds,
    "house_line": _house_lines,
    "park": _parks,
    "park_line": _lines(_park_edges),
    "park_bank": _parks_and_banks,
    "bank": _on_banks,
    "bank_line": _lines(lambda site, line: _banks(site, 1.2)),
    "wall_line": _lines(lambda site, line: _banks(site, 0.6)),
    "gutter_line": _lines(_offset_streets(0.48)),
    "median_line": _lines(_offset_streets(0.0)),
    "rail_line": _lines(_beside_rails),
    "bridge": _bridges,
    "edge": _edges_of_town,
}
