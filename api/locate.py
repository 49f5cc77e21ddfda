"""One place, one answer: the cell, the areas, the responsible unit and the reason, in words."""

from __future__ import annotations

import difflib
import math

import pandas as pd
from sqlalchemy import Connection

from api.summary import FAR_M
from cases.duty import explain
from gis.crs import Extent, crs_of, diagnose, snap
from gis.db import query
from gis.errors import Invalid, UnfitCoordinates
from gis.layer import read_geoframe
from gis.place import Place
from grids.city import City


def answer(
    conn: Connection,
    city: City,
    x: float,
    y: float,
    srid: int,
    *,
    class_code: str,
    condition_no: int | None = None,
    component_code: str | None = None,
) -> list[tuple[str, str]]:
    """The lines of the answer, each in English and in Chinese.

    x, y in the system ``srid``. Raises UnfitCoordinates for numbers that are no place or lie outside the grid
    (with the readings that would put them inside), Invalid for a class the catalogue does not have.
    """
    class_code = class_code.strip().upper()
    class_zh, class_en = _class_names(conn, class_code)
    crs_of(srid)  # an unknown system is refused as such, whatever the numbers
    outside = UnfitCoordinates(
        f"({x}, {y}) in EPSG:{srid} lies outside the grid of {city.name_en}",
        f"坐标 ({x}, {y})(EPSG:{srid})不在{city.name_zh}网格范围内",
    )
    try:
        place = Place(x, y, srid)
    except UnfitCoordinates as error:
        raise _with_readings(conn, city, x, y, srid, error) from None
    try:
        here = place.to(city.srid)
    except UnfitCoordinates:
        raise _with_readings(conn, city, x, y, srid, outside) from None
    parameters = {
        "x": float(snap(here.x)),
        "y": float(snap(here.y)),
        "srid": city.srid,
        "class_code": class_code,
        "condition_no": condition_no,
        "component_code": component_code,
    }
    _refuse_unknown(conn, class_code, condition_no, component_code)
    found = conn.execute(query("cases", "assign_one"), parameters).one()
    if found.cell_code is None:
        raise _with_readings(conn, city, x, y, srid, outside)
    lines = [(f"place       {x}, {y} (EPSG:{srid})", f"位置        {x}, {y}(EPSG:{srid})")]
    if city.simulated:
        lines.append(("            simulated city (模拟)", "            模拟城市 (simulated)"))
    lines.append((f"problem     {class_code} {class_en}", f"问题        {class_code} {class_zh}"))
    near = f", {found.placed_m:.1f} m away: no cell covers the place" if found.placed == "nearest" else ""
    near_zh = f"(不在任何网格内,最近网格距 {found.placed_m:.1f} 米)" if near else ""
    lines.append((f"cell        {found.cell_code}{near}", f"单元网格    {found.cell_code}{near_zh}"))
    for area in conn.execute(query("grids", "areas_of_cell"), {"cell_code": found.cell_code}):
        words = {
            "community": "社区        ",
            "street": "街道        ",
            "district": "区          ",
            "city": "市          ",
        }
        lines.append(
            (
                f"{area.level:<12}{area.name_en} ({area.code})",
                f"{words[area.level]}{area.name_zh}({area.code})",
            )
        )
    if found.component_m is not None and found.component_m > FAR_M:
        lines.append(
            (
                f"component   {component_code} stands {found.component_m:,.0f} m away: check its code or the place",
                f"部件        {component_code} 距此 {found.component_m:,.0f} 米,请核对部件编码或位置",
            )
        )
    en, zh = explain(found.basis, found.resolved_by, found.rule_code, found.source_document)
    lines.append((f"unit        {found.unit_en or '(none)'}", f"责任单位    {found.unit_zh or '(无)'}"))
    lines.append((f"reason      {en}", f"理由        {zh}"))
    if found.assisting_en:
        lines.append((f"assisting   {'; '.join(found.assisting_en)}", f"协办        {'、'.join(found.assisting_zh)}"))
    if found.border_m is not None:
        lines.append(
            (
                f"border      {found.border_m:.1f} m from cell {found.border_code}, another community: check first",
                f"边界        距其他社区网格 {found.border_code} 仅 {found.border_m:.1f} 米,派遣前请核对",
            )
        )
    return lines


def _class_names(conn: Connection, class_code: str) -> tuple[str, str]:
    known = {row.code: (row.name_zh, row.name_en) for row in conn.execute(query("layers", "known_classes"))}
    if class_code in known:
        return known[class_code]
    near = difflib.get_close_matches(class_code, known, n=3, cutoff=0.5)
    listed = ", ".join(f"{code} {known[code][1]}" for code in near)
    listed_zh = "、".join(f"{code} {known[code][0]}" for code in near)
    raise Invalid(
        f"the catalogue has no class {class_code!r}",
        f"目录中没有类别 {class_code!r}",
        mend=f"component classes begin with C, event classes with E; near: {listed or 'none'}",
        mend_zh=f"部件类别以 C 开头,事件类别以 E 开头;相近:{listed_zh or '无'}",
        field="class",
    )


def _refuse_unknown(conn: Connection, class_code: str, condition_no: int | None, component_code: str | None) -> None:
    """Raise Invalid for a condition that the class does not have, or a component that is not there or not of it."""
    conditions = list(conn.scalars(query("layers", "conditions_of_class"), {"class_code": class_code}))
    if condition_no is not None and condition_no not in conditions:
        raise Invalid(
            f"class {class_code} has no filing condition {condition_no}",
            f"类别 {class_code} 没有立案条件 {condition_no}",
            mend=f"its conditions are numbered {', '.join(map(str, conditions)) or '(none)'}",
            mend_zh=f"可选:{'、'.join(map(str, conditions)) or '(无)'}",
            field="condition",
        )
    if component_code is None:
        return
    of_class = conn.execute(query("layers", "class_of_component"), {"code": component_code}).scalar_one_or_none()
    if of_class is None or (class_code.startswith("C") and of_class != class_code):
        what = "no component has the code" if of_class is None else f"it is of class {of_class}, not {class_code}:"
        raise Invalid(
            f"{what} {component_code}",
            f"部件 {component_code} " + ("不存在" if of_class is None else f"属于类别 {of_class},不是 {class_code}"),
            mend="correct the component's code or the class",
            mend_zh="请更正部件编码或类别",
            field="component",
        )


def readings(conn: Connection, city: City, places: pd.DataFrame) -> list[str]:
    """For each refused place (columns x, y, srid, reason) how else its numbers could be read to lie in the city.

    English words, several with ``;`` between, or nothing. A proposal for a person: nothing is changed by it.
    """
    extent = _extent(conn, city)
    found = []
    rows = zip(*(places[name].tolist() for name in ("reason", "x", "y", "srid")), strict=True)
    for reason, x, y, srid in rows:
        if reason not in ("outside", "no_place") or pd.isna(x) or pd.isna(y) or pd.isna(srid):
            found.append("")
        else:
            found.append("; ".join(reading.en for reading in diagnose(float(x), float(y), int(srid), extent)))
    return found


def _extent(conn: Connection, city: City) -> Extent:
    return Extent.of(read_geoframe(conn, query("grids", "cities_now"), city.srid), city.srid)


def _with_readings(
    conn: Connection, city: City, x: float, y: float, srid: int, error: UnfitCoordinates
) -> UnfitCoordinates:
    """The error with what would mend it: readings that would put the place into the city, else where the city is."""
    if not (math.isfinite(x) and math.isfinite(y)):
        return error
    extent = _extent(conn, city)
    readings = diagnose(x, y, srid, extent)
    covered = f"{extent.west:.4f} … {extent.east:.4f}, {extent.south:.4f} … {extent.north:.4f}"
    en = f"check the numbers: the city covers longitude, latitude {covered}"
    zh = f"请核对坐标:城市范围为经度、纬度 {covered}"
    if readings:
        en = "it would lie inside if read as: " + "; ".join(reading.en for reading in readings)
        zh = "若按以下方式理解则在城市范围内:" + ";".join(reading.zh for reading in readings)
    return UnfitCoordinates(error.en, error.zh, mend=en, mend_zh=zh, **error.where)
