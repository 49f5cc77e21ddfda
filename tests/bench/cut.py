"""What cutting makes of real streets, how it compares, and how it grows.

    ./wanmi python tests/bench/cut.py [--pictures docs] [--growth]

Cambridge and Washington are read from ../shared/data (left out where it is absent); the demo city is simulated.
Prints for each city: cells, sizes, compactness, the share of inner border on a barrier, the partition, speed. Then
dividing alone: blocks of 20 000 to 500 000 m² by ours, by recursive exact bisection across the long axis, and by
k-means with Voronoi. With --growth: a made-up city of 1 000 to 100 000 cells.
"""

from __future__ import annotations

import argparse
import resource
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from scipy.cluster.vq import kmeans2

from cases.simulate import read_profile
from grids.coverage import STEP_M, face_of, owners_with_neighbours, united
from grids.cut import cut_all, joined, wished
from grids.divide import balanced_cuts
from grids.enclose import barrier_lines, enclose, faces_of
from grids.opendata import build_areas, read_ground
from grids.simulate import simulate_ground

HOME = Path(__file__).resolve().parents[2]
SHARED = HOME.parent / "shared" / "data"
TARGET_M2 = 10_000.0
Inputs = tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]


def ankang() -> Inputs:
    """The demo city (simulated): 39 communities, streets, lanes, walls, rivers, 15 000 buildings."""
    profile, tables = read_profile(HOME / "data" / "ankang")
    areas = tables["areas"].copy()
    for column in ("lon", "lat"):
        areas[column] = pd.to_numeric(areas[column])
    rng = np.random.default_rng(profile["simulation"]["seed"]).spawn(3)[0]
    return simulate_ground(profile, areas, rng, lambda stage, share: None)


def washington() -> Inputs:
    """Washington: 296 single-member districts, some cut by ward borders, and the streets that are public."""
    profile = tomllib.loads((HOME / "data" / "washington" / "city.toml").read_text(encoding="utf-8"))
    areas, _ = build_areas(profile, SHARED / "washington")
    ground, _ = read_ground(profile, SHARED / "washington", areas.geometry.iloc[0])
    return areas, ground


def cambridge() -> Inputs:
    """Cambridge: 13 neighbourhoods as communities (hairlines between them closed), all streets, water."""
    file = SHARED / "cambridge" / "cambridge.gpkg"
    layers = {
        name: gpd.read_file(file, layer=name).to_crs(26986) for name in ("neighborhoods", "street_centerlines", "water")
    }
    drawn = np.asarray(layers["neighborhoods"].geometry.array, dtype=object)
    faces = shapely.get_parts(shapely.polygonize([shapely.union_all(shapely.boundary(drawn), grid_size=STEP_M)]))
    owner = owners_with_neighbours(faces, face_of(faces, drawn))
    codes = [f"2511010010{number:02d}" for number in range(1, len(drawn) + 1)]
    areas = gpd.GeoDataFrame({"code": codes}, geometry=[*united(faces, owner)], crs=26986)
    streets = layers["street_centerlines"]
    grade = streets["MajorRoad"].map({1.0: "arterial", 2.0: "street"}).fillna("lane")
    ground = pd.concat(
        [
            gpd.GeoDataFrame({"kind": "street", "grade": grade, "geometry": streets.geometry}, crs=26986),
            gpd.GeoDataFrame({"kind": "water", "grade": None, "geometry": layers["water"].geometry}, crs=26986),
        ],
        ignore_index=True,
    )
    return areas, ground


def compactness(shapes: np.ndarray) -> np.ndarray:
    """4πA/P² of each."""
    return 4 * np.pi * shapely.area(shapes) / shapely.length(shapes) ** 2


def show(name: str, areas: gpd.GeoDataFrame, ground: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Cut a city and print its figures."""
    started = time.perf_counter()
    cells = cut_all(areas, ground, target_m2=TARGET_M2)
    seconds = time.perf_counter() - started
    shapes = np.asarray(cells.geometry.array, dtype=object)
    area, shape = shapely.area(shapes), compactness(shapes)
    communities = areas[areas["code"].str.len() == 12].set_index("code").geometry
    summed = pd.Series(area).groupby(cells["code"].str[:12].to_numpy()).sum()
    off = ((summed - communities.area).abs() / communities.area).max()
    holes = shapely.get_num_interior_rings(shapes).sum()
    print(f"{name}: {len(communities)} communities, {communities.area.sum() / 1e6:.1f} km2, {len(cells):,} cells")
    print(f"  speed        {len(cells) / seconds:,.0f} cells a second ({seconds:.1f} s)")
    print(
        f"  sizes        {share(area, 5_000, 20_000)} in 5 000-20 000 m2, {share(area, 7_500, 12_500)} within 25 %, "
        f"smallest {area.min():,.0f}, largest {area.max():,.0f}, CV {area.std() / area.mean():.3f}"
    )
    print(
        f"  compactness  median {np.median(shape):.3f}, 5th percentile {np.quantile(shape, 0.05):.3f}, "
        f"least {shape.min():.3f}"
    )
    print(
        f"  partition    off by {off:.1e} of a community at most; coverage valid: {shapely.coverage_is_valid(shapes)}; "
        f"all one part: {bool((shapely.get_type_id(shapes) == 3).all())}; holes: {holes}"
    )
    on, inner = on_barriers(shapes, communities, ground)
    print(f"  inner border {inner / 1e3:,.0f} km, {on / inner:.1%} of it on a barrier")
    built = ground.geometry.array[(ground["kind"] == "building").to_numpy()]
    if len(built):
        cut = shapely.STRtree(shapely.buffer(built, -0.05)).query(shapely.boundary(shapes), predicate="intersects")
        print(f"  buildings    {len(np.unique(cut[1]))} of {len(built):,} cut")
    return cells


def share(values: np.ndarray, low: float, high: float) -> str:
    """The share of values in a range, as text."""
    return f"{((values >= low) & (values <= high)).mean():.2%}"


def on_barriers(shapes: np.ndarray, communities: gpd.GeoSeries, ground: gpd.GeoDataFrame) -> tuple[float, float]:
    """Length in metres of the border between cells of one community: what runs within 0.5 m of a barrier, and all."""
    lines, _, _ = barrier_lines(ground, target_m2=TARGET_M2)
    inner = shapely.difference(
        shapely.union_all(shapely.boundary(shapes)), shapely.buffer(shapely.union_all(communities.boundary), 0.05)
    )
    pieces = shapely.get_parts(inner)
    ends = [np.stack([xy[:-1], xy[1:]], axis=1) for xy in map(shapely.get_coordinates, pieces)]
    edges = shapely.linestrings(np.concatenate(ends))
    middle = shapely.line_interpolate_point(edges, 0.5, normalized=True)
    near = np.unique(shapely.STRtree(lines).query(middle, predicate="dwithin", distance=0.5)[0])
    return float(shapely.length(edges[near]).sum()), float(shapely.length(edges).sum())


def bisected(block: shapely.Polygon, k: int) -> Iterator[shapely.Polygon]:
    """Recursive exact bisection across the long axis."""
    if k == 1:
        yield block
        return
    rectangle = shapely.get_coordinates(shapely.minimum_rotated_rectangle(block))
    sides = np.diff(rectangle[:3], axis=0)
    way = sides[np.argmax(np.hypot(*sides.T))]
    way /= np.hypot(*way)
    across = np.array([-way[1], way[0]]) * 1e7
    along = shapely.get_coordinates(block) @ way
    low, high = along.min(), along.max()
    first = k // 2
    for _ in range(40):
        middle = (low + high) / 2
        a, b = middle * way - across, middle * way + across
        half = shapely.Polygon([a, b, b - 1e7 * way, a - 1e7 * way])
        if shapely.intersection(block, half).area < block.area * first / k:
            low = middle
        else:
            high = middle
    for part, many in ((shapely.intersection(block, half), first), (shapely.difference(block, half), k - first)):
        parts = [piece for piece in shapely.get_parts(part) if piece.area > 1]
        if parts:
            yield from bisected(max(parts, key=lambda piece: piece.area), many)


def by_k_means(block: shapely.Polygon, k: int) -> Iterator[shapely.Polygon]:
    """K-means of random points, Voronoi cells of their middles."""
    rng = np.random.default_rng(1)
    west, south, east, north = block.bounds
    points = rng.uniform((west, south), (east, north), (400 * k, 2))
    points = points[shapely.contains_xy(block, points)]
    middles, _ = kmeans2(points, k, minit="++", seed=1)
    near = shapely.get_parts(shapely.voronoi_polygons(shapely.multipoints(middles), extend_to=block))
    yield from shapely.get_parts(shapely.intersection(near, block))


def ours(block: shapely.Polygon, k: int) -> Iterator[shapely.Polygon]:
    """Power diagram with Lloyd's steps."""
    yield from joined(faces_of(block, balanced_cuts(block, k)), 0.55 * block.area / k)


def compare(name: str, blocks: list[shapely.Polygon]) -> None:
    """Divide the blocks by each method and print what comes out."""
    print(f"dividing alone, {name}: {len(blocks)} blocks of 20 000-500 000 m2")
    methods: dict[str, Callable[[shapely.Polygon, int], Iterator[shapely.Polygon]]] = {
        "power diagram, Lloyd (ours)": ours,
        "recursive exact bisection": bisected,
        "k-means and Voronoi": by_k_means,
    }
    for method, divide in methods.items():
        started = time.perf_counter()
        made = [[*divide(block, wished(block.area, TARGET_M2))] for block in blocks]
        seconds = time.perf_counter() - started
        shapes = np.array([shape for cells in made for shape in cells], dtype=object)
        area = shapely.area(shapes)
        within = [shapely.area(cells) / np.mean(shapely.area(cells)) - 1 for cells in made]
        print(
            f"  {method:28} CV {area.std() / area.mean():.3f}, inside a block {np.concatenate(within).std():.4f}; "
            f"compactness median {np.median(compactness(shapes)):.3f}, "
            f"p5 {np.quantile(compactness(shapes), 0.05):.3f}; {len(shapes) / seconds:,.0f} cells a second"
        )


def blocks_of(areas: gpd.GeoDataFrame, ground: gpd.GeoDataFrame, most: int) -> list[shapely.Polygon]:
    """Blocks as streets enclose them, 20 000 to 500 000 m², at most so many, in one fixed random order."""
    lines, _, surfaces = barrier_lines(ground, target_m2=TARGET_M2)
    nothing = np.empty(0, dtype=object)
    found: list[shapely.Polygon] = []
    for community in areas.geometry[areas["code"].str.len() == 12]:
        found += [*enclose(community, lines, surfaces, nothing, tolerance_m=1.0)]
    chosen = [block for block in found if 20_000 <= block.area <= 500_000]
    order = np.random.default_rng(4).permutation(len(chosen))[:most]
    return [chosen[row] for row in order]


def made_up(cells: int) -> Inputs:
    """A city of about so many cells: communities of 700 m x 700 m, streets every 90 to 400 m, some of them lanes."""
    side = max(round(np.sqrt(cells / 49)), 1)
    rng = np.random.default_rng(5)
    east, north, wide = 500_000.0, 3_600_000.0, 700.0
    squares = [
        shapely.box(east + x * wide, north + y * wide, east + (x + 1) * wide, north + (y + 1) * wide)
        for y in range(side)
        for x in range(side)
    ]
    codes = [f"6109{1 + n // 99_000:02d}{1 + n // 300:03d}{1 + n % 300:03d}" for n in range(len(squares))]
    lines, grades = [], []
    for turned in (False, True):
        at = 0.0
        while at < side * wide:
            at += rng.uniform(90, 400)
            bend = rng.normal(0, 8, side * 4 + 1).cumsum()
            along = np.linspace(-5, side * wide + 5, side * 4 + 1)
            xy = np.stack([along, at + bend - np.linspace(0, bend[-1], len(bend))], axis=1)
            lines.append(shapely.linestrings((xy[:, ::-1] if turned else xy) + (east, north)))
            grades.append(rng.choice(["arterial", "street", "lane"], p=[0.1, 0.5, 0.4]))
    ground = gpd.GeoDataFrame({"kind": "street", "grade": grades}, geometry=lines, crs=4545)
    return gpd.GeoDataFrame({"code": codes}, geometry=squares, crs=4545), ground


def growth() -> None:
    """Time and memory from 1 000 to 100 000 cells."""
    print("growth, a made-up city:")
    for wish in (1_000, 3_000, 10_000, 20_000, 30_000, 100_000):
        areas, ground = made_up(wish)
        started = time.perf_counter()
        cells = cut_all(areas, ground, target_m2=TARGET_M2)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"  {len(cells):>7,} cells  {seconds:6.1f} s  {len(cells) / seconds:7,.0f} a second  peak {peak:,.0f} MB")


def draw(name: str, cells: gpd.GeoDataFrame, areas: gpd.GeoDataFrame, ground: gpd.GeoDataFrame, folder: Path) -> None:
    """A picture of the middle of a city's grid, with what it stands on."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    west, south, east, north = areas.total_bounds
    x, y, half = {"ankang": (0.55, 0.55, 850), "cambridge": (0.5, 0.45, 1100), "washington": (0.52, 0.6, 1500)}[name]
    x, y = west + x * (east - west), south + y * (north - south)
    window = slice(x - half, x + half), slice(y - half, y + half)
    near = ground.cx[window]
    figure, axes = plt.subplots(figsize=(10, 10))
    for kind, grade, style in (
        ("green", None, {"color": "#e3efda"}),
        ("water", None, {"color": "#cfe2f0"}),
        ("building", None, {"color": "#ddd3cc"}),
        ("street", "arterial", {"color": "#f2b36b", "linewidth": 3.2}),
        ("street", "street", {"color": "#f6cd9b", "linewidth": 2.2}),
        ("street", "lane", {"color": "#f6dfc4", "linewidth": 1.6}),
        ("rail", None, {"color": "#555555", "linewidth": 1.4}),
        ("wall", None, {"color": "#b09070", "linewidth": 0.8}),
    ):
        chosen = near[(near["kind"] == kind) & ((near["grade"] == grade) if grade else True)]
        if len(chosen):
            chosen.plot(ax=axes, **style)
    cells.cx[window].boundary.plot(ax=axes, color="#c2008f", linewidth=0.9)  # magenta: Beijing DB11
    areas[areas["code"].str.len() == 12].boundary.plot(ax=axes, color="#273d8a", linewidth=1.8)
    axes.set_xlim(x - half, x + half)
    axes.set_ylim(y - half, y + half)
    axes.set_axis_off()
    says = " - simulated data" if name == "ankang" else ""
    axes.set_title(f"{name.title()}: unit grid (magenta), communities (blue), {2 * half} m across{says}", fontsize=11)
    figure.savefig(folder / f"grid-{name}.png", dpi=90, bbox_inches="tight")
    plt.close(figure)


def main() -> None:
    """Print all figures."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--pictures", type=Path, help="folder for a picture of each city's grid")
    words.add_argument("--growth", action="store_true", help="also the growth from 1 000 to 100 000 cells")
    given = words.parse_args()
    balanced_cuts(shapely.box(0, 0, 200, 300), 6)  # compiled before anything is timed
    for name, source in (("cambridge", cambridge), ("washington", washington), ("ankang", ankang)):
        if name != "ankang" and not (SHARED / name).is_dir():
            print(f"{name}: left out, {SHARED.name} is not there")
            continue
        areas, ground = source()
        cells = show(name, areas, ground)
        if given.pictures:
            draw(name, cells, areas, ground, given.pictures)
        if name != "ankang":
            compare(name, blocks_of(areas, ground, 300))
    if given.growth:
        growth()


if __name__ == "__main__":
    main()
