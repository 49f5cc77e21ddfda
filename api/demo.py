"""The demo's heat map: where the cases of a city are, as a picture and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import Connection

from api.legend import NUMBERED, Said
from api.maps import Notice, heat_html, heat_png
from gis.db import query, read_frame
from gis.errors import WanmiError
from gis.layer import read_geoframe
from gis.packages import unpack
from gis.raster import RasterGrid, kernel_density
from grids.areas import AREAS
from grids.city import City
from grids.ground import GROUND

BANDWIDTH_M = 150.0  #: about the walk along one cell: hot corners stay apart, single cases melt into streets
PIXEL_M = 10.0
FONT_PACKAGE = "fonts-wqy-microhei"


def chinese_font(cache: Path) -> Path | None:
    """A font with Chinese characters unpacked from the distribution's packages, or None where that cannot be."""
    try:
        tree = unpack(FONT_PACKAGE, cache / "font", lambda en, zh: None)
    except (WanmiError, OSError):
        return None
    return next(iter(sorted(tree.rglob("*.ttc"))), None)


def write_maps(conn: Connection, city: City, folder: Path, font: Path | None) -> tuple[list[Path], Notice | None]:
    """Write the heat map of all cases as PNG and HTML into ``folder``; returns their paths, and a notice or None.

    Kernel density (Gaussian, BANDWIDTH_M) in cases per km² over the period of the data, whose days are the city's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    points = read_frame(conn, query("cases", "points_of_cases"))
    areas = AREAS.read(conn, city.srid)
    barriers = GROUND.read(conn, city.srid)
    top = read_geoframe(conn, query("cases", "hottest_cells"), city.srid, most=NUMBERED)
    low_x, low_y, high_x, high_y = areas.total_bounds
    pixel_m = max(PIXEL_M, (high_x - low_x) / 2000)
    grid = RasterGrid.over((low_x, low_y, high_x, high_y), pixel_m, city.srid)
    x, y = points["x"].to_numpy(np.float64), points["y"].to_numpy(np.float64)
    surface = kernel_density(x, y, grid, BANDWIDTH_M)
    zone = ZoneInfo(city.timezone)
    times = conn.execute(query("cases", "period_of_cases")).one()
    first_on, last_on = (at.astimezone(zone).date() if at else None for at in times)
    said = Said(
        title_zh=f"{city.name_zh}案件密度",
        title_en=f"{city.name_en}: density of cases",
        note_zh="模拟数据" if city.simulated else None,
        note_en="simulated" if city.simulated else None,
        attribution_zh=city.profile.get("attribution_zh"),
        attribution_en=city.profile.get("attribution_en"),
        first_on=first_on,
        last_on=last_on,
        cases=len(points),
        bandwidth_m=BANDWIDTH_M,
    )
    shown: dict[str, Any] = {"areas": areas, "barriers": barriers, "surface": surface, "grid": grid, "top_cells": top}
    paths = [folder / f"{city.id}-heat.png", folder / f"{city.id}-heat.html"]
    notice = heat_png(paths[0], said, **shown, font=font)
    heat_html(paths[1], said, **shown)
    return paths, notice
