"""Made-up grids for tests: sound ones of any shape, and the faults that can be planted in one."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import shapely

SRID = 4545
CORNER_M = np.array([500_000.0, 3_600_000.0])


def sound(
    communities: int = 3, cells: int = 5, *, side_m: float = 100.0, wobble_m: float = 0.0, seed: int = 0
) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
    """Cells and areas: ``communities``² communities of ``cells``² cells each, corners moved by up to ``wobble_m``.

    Every coordinate is on the lattice and every border shared; numbered west to east, north to south.
    """
    rng = np.random.default_rng(seed)
    size = communities * cells + 1
    east, north = np.meshgrid(np.arange(size) * side_m, np.arange(size) * side_m, indexing="ij")
    nodes = np.stack([east, north], axis=-1) + rng.uniform(-wobble_m, wobble_m, (size, size, 2)) + CORNER_M
    nodes = np.round(nodes * 1024) / 1024
    codes, shapes, areas = [], [], []
    for column in range(communities):
        for row in range(communities):
            community = f"610999{column + 1:03d}{row + 1:03d}"
            mine = []
            for j in reversed(range(row * cells, (row + 1) * cells)):
                for i in range(column * cells, (column + 1) * cells):
                    mine.append(shapely.Polygon([nodes[i, j], nodes[i + 1, j], nodes[i + 1, j + 1], nodes[i, j + 1]]))
                    codes.append(f"{community}{len(mine):03d}")
            shapes += mine
            areas.append((community, shapely.coverage_union_all(mine)))
    grid = gpd.GeoDataFrame({"code": codes, "area_class": "A"}, geometry=shapes, crs=SRID)
    city = gpd.GeoDataFrame(
        {"code": [code for code, _ in areas]}, geometry=[shapely.MultiPolygon([shape]) for _, shape in areas], crs=SRID
    )
    return grid, city


def there(east_m: float, north_m: float) -> tuple[float, float]:
    """A place so many metres from the corner of the made-up city."""
    return float(CORNER_M[0] + east_m), float(CORNER_M[1] + north_m)


def block(east_m: float, north_m: float, wide_m: float, tall_m: float) -> shapely.Polygon:
    """A rectangle by its lower left corner."""
    x, y = there(east_m, north_m)
    return shapely.box(x, y, x + wide_m, y + tall_m)


def with_points(polygon: Any, *places: tuple[float, float], after: tuple[float, float]) -> shapely.Polygon:
    """The polygon with the places (from the corner) put into its ring behind the vertex ``after``."""
    ring = [tuple(point) for point in polygon.exterior.coords[:-1]]
    at = ring.index(there(*after)) + 1
    return shapely.Polygon([*ring[:at], *(there(*place) for place in places), *ring[at:]])
