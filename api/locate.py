"""``wanmi locate``: the answer about one place (api/jurisdiction.py) in lines of English and Chinese."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from api.jurisdiction import Asked, jurisdiction
from api.summary import FAR_M
from grids.city import City

AREA_WORDS = {"community": "社区        ", "street": "街道        ", "district": "区          ", "city": "市          "}
NOBODY = {"name_en": "(none)", "name_zh": "(无)"}
NO_CELL = {"name_en": "no cell", "name_zh": "无网格"}
LEVELS = {"community": ("another community", "另一社区"), "street": ("another street", "另一街道")}


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
    accuracy_m: float | None = None,
    at: datetime | None = None,
) -> list[tuple[str, str]]:
    """The lines of the answer, each in English and in Chinese. Raises what ``jurisdiction`` raises."""
    asked = Asked(
        x=x,
        y=y,
        srid=srid,
        class_code=class_code.strip().upper(),
        condition_no=condition_no,
        component_code=component_code,
        accuracy_m=accuracy_m,
        at=at,
    )
    found = jurisdiction(conn, city, asked)
    lines = [(f"place       {x}, {y} (EPSG:{srid})", f"位置        {x}, {y}(EPSG:{srid})")]
    if found["at"]:
        lines.append((f"as of       {found['at']}", f"时间        {found['at']}"))
    if found["in_words"]:
        lines.append((f"            {found['in_words']['en']}", f"            {found['in_words']['zh']}"))
    if city.simulated:
        lines.append(("            simulated city (模拟)", "            模拟城市 (simulated)"))
    problem, cell = found["class"], found["cell"]
    lines.append(
        (
            f"problem     {problem['code']} {problem['name_en']}",
            f"问题        {problem['code']} {problem['name_zh']}",
        )
    )
    away = cell["distance_m"]
    near = f", {away:.1f} m away: no cell covers the place" if cell["placed"] == "nearest" else ""
    near_zh = f"(不在任何网格内,最近网格距 {away:.1f} 米)" if near else ""
    lines.append((f"cell        {cell['code']}{near}", f"单元网格    {cell['code']}{near_zh}"))
    for area in found["areas"]:
        lines.append(
            (
                f"{area['level']:<12}{area['name_en']} ({area['code']})",
                f"{AREA_WORDS[area['level']]}{area['name_zh']}({area['code']})",
            )
        )
    far = found["component"]["distance_m"] if found["component"] else 0.0
    if far > FAR_M:
        lines.append(
            (
                f"component   {component_code} stands {far:,.0f} m away: check its code or the place",
                f"部件        {component_code} 距此 {far:,.0f} 米,请核对部件编码或位置",
            )
        )
    unit = found["unit"]
    lines.append(
        (
            f"unit        {unit['name_en'] if unit else '(none)'}",
            f"责任单位    {unit['name_zh'] if unit else '(无)'}",
        )
    )
    lines.append((f"reason      {found['reason']['en']}", f"理由        {found['reason']['zh']}"))
    if found["assisting"]:
        helpers = [[helper[name] for helper in found["assisting"]] for name in ("name_en", "name_zh")]
        lines.append((f"assisting   {'; '.join(helpers[0])}", f"协办        {'、'.join(helpers[1])}"))
    beat = found["collector"]
    if beat is not None:
        walks = beat["collector"] or NOBODY
        lines.append(
            (
                f"collector   {walks['name_en']}, {beat['grid']['name_en']}",
                f"监督员      {walks['name_zh']}，{beat['grid']['name_zh']}",
            )
        )
    for one in found["open_cases"]:
        far, stage = f"{one['distance_m']:.0f}", one["stage"]
        lines.append(
            (
                f"open case   {one['no']}, {far} m away, {stage['name_en']}: the same problem?",
                f"在办案件    {one['no']}，距此 {far} 米，{stage['name_zh']}：是否同一问题？",
            )
        )
    if found["border"] is not None:
        lines.append(_border(found["border"], found["one_unit"]))
    return lines + _dispute(found)


def _dispute(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Every candidate, when the answer is not the same everywhere within reach."""
    if not found["on_border"]:
        return []
    same = found["one_unit"]
    lines = [
        (
            f"on a border within {found['reach_m']:g} m" + (": the same unit everywhere" if same else ", by share:"),
            f"边界      {found['reach_m']:g} 米范围内" + ("：各侧责任单位相同" if same else "，按占比："),
        )
    ]
    for one in found["candidates"]:
        unit, share = one["unit"] or NOBODY, f"{100 * one['share']:5.1f} %"
        area = one["areas"][0] if one["areas"] else NO_CELL
        where = "here" if one["here"] else f"{one['distance_m']:.1f} m away"
        where_zh = "所在地" if one["here"] else f"距 {one['distance_m']:.1f} 米"
        lines.append(
            (
                f"  {share}   {unit['name_en']}, {area['name_en']}, {where}: {one['reason']['en']}",
                f"  {share}   {unit['name_zh']}，{area['name_zh']}，{where_zh}：{one['reason']['zh']}",
            )
        )
    for claim in found["claims"]:
        unit = claim["unit"] or NOBODY
        lines.append(
            (
                f"  claimed by rule {claim['rule']} ({claim['document']}): {unit['name_en']}",
                f"  责任区规则 {claim['rule']}（{claim['document']}）主张：{unit['name_zh']}",
            )
        )
    return lines


def _border(border: dict[str, Any], one_unit: bool) -> tuple[str, str]:
    """How far the nearest other community is; within the tolerance, that somebody should look first."""
    en, zh = LEVELS.get(border["level"], ("another district", "另一区县"))
    warning, warning_zh = (": check first", ",派遣前请核对") if border["within_reach"] and not one_unit else ("", "")
    return (
        f"border      {border['distance_m']:.1f} m from cell {border['cell']}, {en}{warning}",
        f"边界        距{zh}网格 {border['cell']} {border['distance_m']:.1f} 米{warning_zh}",
    )
