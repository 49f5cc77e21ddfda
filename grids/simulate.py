"""The ground of a simulated city: its areas, and the streets, waters, railway, buildings and greens on it.

Everything particular comes from the city's profile and lists; the same profile and random generator give the same
ground. The geometry is invented and says so in every row (``data_source``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from grids.simulate_areas import draw_areas, make_blocks
from grids.simulate_buildings import build_up, station
from grids.simulate_frame import Frame, lay_rivers
from grids.simulate_streets import lay_streets, zone_rings

Progress = Callable[[str, float], None]
BARRIER_COLUMNS = ["kind", "grade", "name_zh", "name_en", "width_m", "data_source", "geometry"]


def simulate_ground(
    profile: Mapping[str, Any], areas: pd.DataFrame, rng: np.random.Generator, progress: Progress
) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
    """Areas with geometry, and barriers, of the city that the profile describes.

    profile  : city.toml as a dict, with ``simulation.street_names`` (pairs zh, en) added
    areas    : code, name_zh, name_en, lon, lat: every area from city to community
    progress : hears the stage and the share done, 0 … 1
    Returns the frames ``areas`` and ``barriers`` in the city's system, metres. Neighbouring areas share their
    vertices exactly, on multiples of 2⁻¹⁰ m. Raises Invalid for a profile no city can be made of.
    """
    of_frame, of_streets, of_areas, of_houses = rng.spawn(4)
    plan = profile["simulation"]
    progress("streets | 道路", 0.0)
    frame = Frame.of(profile, of_frame)
    waters = lay_rivers(profile, frame)
    within = shapely.union_all([shapely.buffer(ring, 150) for _, ring in zone_rings(profile)])
    streets, rail, cuts = lay_streets(profile, frame, waters, within, of_streets)
    progress("communities | 社区", 0.2)
    edge = shapely.box(*within.buffer(1500).bounds).boundary
    lines = [*streets.loc[streets["grade"] != "lane", "drawn"], *rail, *waters.middles, *cuts, edge]
    drawn = draw_areas(profile, areas, make_blocks(lines), waters, of_areas)
    city = drawn.geometry.iloc[0]
    progress("buildings | 建筑", 0.4)
    streets = _inside(streets.drop(columns="drawn").assign(kind="street"), city)
    tracks = gpd.GeoDataFrame(
        {
            "kind": "rail",
            "grade": None,
            "name_zh": plan["rail"]["name_zh"] if rail else None,
            "name_en": plan["rail"]["name_en"] if rail else None,
            "width_m": 12.0,
        },
        index=range(len(rail)),
        geometry=rail,
        crs=profile["srid"],
    )
    rivers = gpd.GeoDataFrame(
        {
            "kind": "water",
            "grade": "river",
            "name_zh": [river["name_zh"] for river in plan["river"]],
            "name_en": [river["name_en"] for river in plan["river"]],
            "width_m": [float(river["width_m"]) for river in plan["river"]],
        },
        geometry=waters.polygons,
        crs=profile["srid"],
    )
    built = build_up(profile, city, streets, waters, station(profile, frame, rail), rail, of_houses)
    barriers = pd.concat([streets, _inside(tracks, city), _inside(rivers, city), built], ignore_index=True).assign(
        data_source=plan["data_source"]
    )
    for column in ("grade", "name_zh", "name_en"):
        barriers[column] = barriers[column].astype(object).where(barriers[column].notna(), None)
    progress("buildings | 建筑", 1.0)
    return drawn, gpd.GeoDataFrame(barriers[BARRIER_COLUMNS], geometry="geometry", crs=profile["srid"])


def _inside(frame: gpd.GeoDataFrame, city: Any) -> gpd.GeoDataFrame:
    """The parts of lines and polygons within the city (a metre of grace for streets along its edge)."""
    clipped = frame.copy()
    around = city.buffer(1.0)
    shapely.prepare(around)
    clipped["geometry"] = shapely.intersection(np.asarray(frame.geometry.array), around)
    clipped = clipped.explode(index_parts=False, ignore_index=True)
    size = np.where(clipped.geom_type == "Polygon", clipped.area, clipped.length)
    return clipped[(size > 12) & ~clipped.is_empty].reset_index(drop=True)
