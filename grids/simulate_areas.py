"""Communities of a simulated city: whole blocks gathered around the points of the communities.

Borders therefore follow streets, railway and the middle of rivers. Neighbours share their vertices exactly, all on
multiples of 2⁻¹⁰ m.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from shapely.geometry.base import BaseGeometry

from gis.errors import Invalid
from grids.coverage import STEP_M, shared_sides
from grids.simulate_frame import Waters, density, to_city
from grids.simulate_streets import zone_rings

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Geometries = NDArray[np.object_]


def make_blocks(lines: list[BaseGeometry]) -> Geometries:
    """The faces between the lines: polygons that share vertices, on multiples of 2⁻¹⁰ m."""
    noded = shapely.union_all(lines, grid_size=STEP_M)
    blocks = shapely.get_parts(shapely.polygonize(shapely.get_parts(noded)))
    return np.asarray(blocks[np.lexsort(shapely.bounds(blocks).T[::-1])], dtype=object)


def draw_areas(
    profile: Mapping[str, Any], areas: pd.DataFrame, blocks: Geometries, waters: Waters, rng: np.random.Generator
) -> gpd.GeoDataFrame:
    """Geometry for every area of the list: communities from blocks, streets, districts and the city from those.

    areas : code, name_zh, name_en, lon, lat (of communities whose place is known, else missing)
    Returns code, name_zh, name_en, data_source, geometry. Raises Invalid if a street has no ground in the profile.
    """
    middle = shapely.get_coordinates(shapely.point_on_surface(blocks))
    wet = shapely.contains_xy(shapely.union_all(waters.polygons), middle)
    sector = _sectors(blocks, waters, middle)
    i, j, length = shared_sides(blocks)
    zone, codes = _zones(profile, middle, sector, wet)
    zone = _tidied(zone, i, j, length)
    mass = shapely.area(blocks) * (0.22 + density(profile, middle))
    community = np.full(len(blocks), -1)
    listed = areas[areas["code"].str.len() == 12].reset_index(drop=True)
    for number, street in enumerate(codes):
        rows = listed.index[listed["code"].str.startswith(street)].to_numpy()
        dry = np.flatnonzero((zone == number) & ~wet)
        if not len(rows) or len(dry) < 3 * len(rows):
            raise Invalid(
                f"Street {street} has too little ground for its communities.",
                f"街道 {street} 的范围不足以容纳其社区。",
                mend="Draw its ring in city.toml larger.",
                mend_zh="请在 city.toml 中扩大其范围。",
            )
        known = to_city(listed.loc[rows, ["lon", "lat"]].to_numpy(float), profile["srid"])
        seeds, fixed = _seeds(known, middle[dry], mass[dry], rng)
        community[dry] = rows[_balanced(seeds, fixed, middle[dry], mass[dry])]
    community = _joined(community, zone, i, j, length, mass, wet)
    polygons = [shapely.coverage_union_all(blocks[community == row]) for row in range(len(listed))]
    listed["geometry"] = np.asarray(polygons, dtype=object)
    frames = [listed]
    for digits in (9, 6, 4):
        upper = areas[areas["code"].str.len() == digits].copy()
        whole = [
            shapely.coverage_union_all(listed.loc[listed["code"].str.startswith(code), "geometry"].to_numpy())
            for code in upper["code"]
        ]
        upper["geometry"] = np.asarray(whole, dtype=object)
        frames.append(upper)
    drawn = pd.concat(frames[::-1], ignore_index=True)
    drawn["data_source"] = profile["simulation"]["data_source"]
    columns = ["code", "name_zh", "name_en", "data_source", "geometry"]
    return gpd.GeoDataFrame(drawn[columns], geometry="geometry", crs=profile["srid"])


def _sectors(blocks: Geometries, waters: Waters, middle: Floats) -> Ints:
    """The number of the land between rivers each block lies in."""
    hull = shapely.box(*shapely.total_bounds(blocks)).boundary
    pieces = shapely.get_parts(shapely.polygonize(shapely.get_parts(shapely.union_all([hull, *waters.middles]))))
    sector = np.full(len(blocks), -1)
    for number, piece in enumerate(pieces):
        shapely.prepare(piece)
        sector[shapely.contains_xy(piece, middle)] = number
    return sector


def _zones(profile: Mapping[str, Any], middle: Floats, sector: Ints, wet: NDArray[np.bool_]) -> tuple[Ints, list[str]]:
    """For each block the number of its street (-1: outside of the city), and the codes of the streets."""
    zone = np.full(len(middle), -1)
    rings = zone_rings(profile)
    for number, (_, ring) in enumerate(rings):
        held = shapely.contains_xy(ring, middle)
        home = np.bincount(sector[held & ~wet & (sector >= 0)]).argmax()
        zone[held & (sector == home) & (zone < 0)] = number
    return zone, [code for code, _ in rings]


def _links(i: Ints, j: Ints, size: int) -> coo_array:
    return coo_array((np.ones(len(i)), (i, j)), shape=(size, size))


def _tidied(zone: Ints, i: Ints, j: Ints, length: Floats) -> Ints:
    """Zones in one piece each, and nothing left out in the middle of them."""
    zone = zone.copy()
    same = zone[i] == zone[j]
    _, part = connected_components(_links(i[same], j[same], len(zone)), directed=False)
    largest = {value: np.bincount(part[zone == value]).argmax() for value in np.unique(zone)}
    stray = part != np.array([largest[value] for value in zone])
    zone[stray] = -2  # to be settled: to the neighbour with the longest side, outside included
    while (zone == -2).any():
        settled = _from_neighbours(zone, zone == -2, i, j, length, minimum=-1)
        if (settled == zone).all():
            zone[zone == -2] = -1
            break
        zone = settled
    return zone


def _from_neighbours(label: Ints, wanting: Any, i: Ints, j: Ints, length: Floats, *, minimum: int = 0) -> Ints:
    """The labels with each wanting block given that of the labelled neighbours with the longest common side."""
    a, b, side = np.concatenate([i, j]), np.concatenate([j, i]), np.concatenate([length, length])
    use = wanting[a] & ~wanting[b] & (label[b] >= minimum)
    frame = pd.DataFrame({"block": a[use], "label": label[b[use]], "side": side[use]})
    total = frame.groupby(["block", "label"])[["side"]].sum().reset_index()
    best = total.sort_values(["block", "side", "label"], ascending=[True, False, True]).drop_duplicates("block")
    label = label.copy()
    label[best["block"].to_numpy()] = best["label"].to_numpy()
    return label


def _seeds(known: Floats, middle: Floats, mass: Floats, rng: np.random.Generator) -> tuple[Floats, NDArray[np.bool_]]:
    """One point per community: known ones moved to the nearest block of the street, the others spread out."""
    seeds, fixed = np.array(known), np.asarray(~np.isnan(known).any(axis=1))
    taken: list[int] = []
    for row in np.flatnonzero(fixed):
        near = np.argsort(np.hypot(*(middle - seeds[row]).T), kind="stable")
        block = next(int(b) for b in near if int(b) not in taken)
        taken.append(block)
        seeds[row] = middle[block]
    for row in np.flatnonzero(~fixed):
        have = seeds[~np.isnan(seeds).any(axis=1)]
        if len(have):
            apart = np.hypot(*(middle[:, None] - have[None]).transpose(2, 0, 1)).min(axis=1)
        else:
            apart = rng.random(len(middle))
        seeds[row] = middle[np.argmax(apart * np.sqrt(mass))]
    return seeds, fixed


def _balanced(seeds: Floats, fixed: NDArray[np.bool_], middle: Floats, mass: Floats) -> Ints:
    """Blocks to seeds: near, yet with shares of the mass that do not differ too much (a power diagram whose
    weights and free seeds are moved step by step)."""
    seeds = seeds.copy()
    target = mass.sum() / len(seeds)
    radius2 = (np.ptp(middle[:, 0]) * np.ptp(middle[:, 1])) / len(seeds) / np.pi
    weight = np.zeros(len(seeds))
    for step in range(60):
        distance2 = ((middle[:, None] - seeds[None]) ** 2).sum(axis=2)
        owner = np.argmin(distance2 - weight, axis=1)
        held = np.bincount(owner, weights=mass, minlength=len(seeds))
        weight = np.clip(weight + 0.12 * radius2 * (1 - held / target), -0.9 * radius2, 0.9 * radius2)
        if step < 40:
            for axis in (0, 1):
                sums = np.bincount(owner, weights=mass * middle[:, axis], minlength=len(seeds))
                move = ~fixed & (held > 0)
                seeds[move, axis] = sums[move] / held[move]
    home = np.argmin(((middle[:, None] - seeds[None]) ** 2).sum(axis=2), axis=0)
    owner[home] = np.arange(len(seeds))
    return np.asarray(owner)


def _joined(
    community: Ints, zone: Ints, i: Ints, j: Ints, length: Floats, mass: Floats, wet: NDArray[np.bool_]
) -> Ints:
    """Communities in one piece each; the water goes to the bank before it."""
    dry = np.where(wet, 0, mass)
    for _ in range(4):
        same = (community[i] == community[j]) & (community[i] >= 0)
        _, part = connected_components(_links(i[same], j[same], len(community)), directed=False)
        heavy = pd.DataFrame({"community": community, "part": part, "mass": dry})
        heavy = heavy[community >= 0].groupby(["community", "part"])["mass"].sum().reset_index()
        kept = heavy.sort_values(["mass", "part"], ascending=[False, True]).drop_duplicates("community")
        community = np.where(np.isin(part, kept["part"]) & (community >= 0), community, -1)
        inner = zone[i] == zone[j]
        while (wanting := (community < 0) & (zone >= 0)).any():
            settled = _from_neighbours(community, wanting, i[inner], j[inner], length[inner])
            if (settled == community).all():
                break
            community = settled
        community = np.where(zone >= 0, community, -1)
    return community
