"""What is measured of a cell: area, perimeter, compactness."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely


def measures(cells: gpd.GeoDataFrame | gpd.GeoSeries) -> pd.DataFrame:
    """Columns area_m2, perimeter_m and compactness of each geometry (in the city's metres), on the same index.

    Compactness is 4πA/P² (Polsby and Popper): 1 for a circle, π/4 = 0.785 for a square, near 0 for a strip. The
    perimeter counts the borders of holes. A missing or empty geometry has area and perimeter 0 and no compactness.
    """
    geometry = np.asarray(cells.geometry.array, dtype=object)
    area = np.nan_to_num(shapely.area(geometry))
    perimeter = np.nan_to_num(shapely.length(geometry))
    with np.errstate(divide="ignore", invalid="ignore"):
        compactness = np.where(perimeter > 0, 4 * np.pi * area / perimeter**2, np.nan)
    return pd.DataFrame({"area_m2": area, "perimeter_m": perimeter, "compactness": compactness}, index=cells.index)
