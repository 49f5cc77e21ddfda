"""Door numbers of a simulated city: houses are numbered along the street they stand on, odd numbers on one side."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import shapely

REACH_M = 60.0  #: a house farther than this from every street has no number
SOURCE = "模拟 simulated"


def simulate_doors(barriers: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Doors (columns of ``layers.places.load_places``) for the houses among ``barriers``, one each, at its wall.

    Numbers run along the street's name, pieces in the order in which they are drawn; the side is that of the middle.
    """
    streets = barriers[(barriers["kind"] == "street") & barriers["name_zh"].notna()].reset_index(drop=True)
    houses = barriers[barriers["kind"] == "building"].reset_index(drop=True)
    columns = ["code", "kind", "name_zh", "name_en", "other_names", "road", "number", "derived", "data_source"]
    if streets.empty or houses.empty:
        return gpd.GeoDataFrame({name: [] for name in columns}, geometry=[], crs=barriers.crs)
    lines, walls = streets.geometry.to_numpy(), houses.geometry.to_numpy()
    pairs, _ = shapely.STRtree(lines).query_nearest(
        walls, max_distance=REACH_M, all_matches=False, return_distance=True
    )
    house, street = pairs
    middle = shapely.centroid(walls[house])
    along = shapely.line_locate_point(lines[street], middle)
    foot = shapely.line_interpolate_point(lines[street], along)
    ahead = shapely.line_interpolate_point(lines[street], along + 1.0)
    behind = shapely.line_interpolate_point(lines[street], np.maximum(along - 1.0, 0.0))
    way = shapely.get_coordinates(ahead) - shapely.get_coordinates(behind)
    out = shapely.get_coordinates(middle) - shapely.get_coordinates(foot)
    left = way[:, 0] * out[:, 1] - way[:, 1] * out[:, 0] > 0
    door = shapely.get_point(shapely.shortest_line(walls[house], lines[street]), 0)
    names = streets["name_zh"].to_numpy()[street]
    english = streets["name_en"].to_numpy()[street]
    order = np.lexsort((along, street, names))
    seen: dict[tuple[str, bool], int] = {}
    numbers = np.zeros(len(house), dtype=int)
    for n in order:
        side = (names[n], bool(left[n]))
        seen[side] = seen.get(side, 0) + 1
        numbers[n] = 2 * seen[side] - int(left[n])
    return gpd.GeoDataFrame(
        {
            "code": [f"door:{name}#{number}" for name, number in zip(names, numbers, strict=True)],
            "kind": "door",
            "name_zh": [f"{name}{number}号" for name, number in zip(names, numbers, strict=True)],
            "name_en": [f"{number} {name}" if name else None for name, number in zip(english, numbers, strict=True)],
            "other_names": [[] for _ in numbers],
            "road": names,
            "number": numbers,
            "derived": False,
            "data_source": SOURCE,
        },
        geometry=door,
        crs=barriers.crs,
    )
