"""Responsibility (属地管理): rules as data, and the reason of an assignment in words.

The order of the steps is that of ``cases.assign`` in the database: the named component's maintainer or owner; the
most specific rule; a zone; the territorial body of the place; nobody.
"""

from __future__ import annotations

import geopandas as gpd
import pandas as pd
import shapely
from sqlalchemy import Connection

from gis.crs import snap
from gis.db import copy_frame, query
from gis.errors import Invalid
from gis.history import Version
from layers.units import refuse_unknown, unit_ids

PLACES = ("maintainer", "owner", "cell", "community", "street", "district")
WORDS_EN = {
    "maintainer": "the maintainer of the component",
    "owner": "the owner of the component",
    "unit": "the unit named in the rule",
    "cell": "the body responsible for the cell",
    "community": "the body of the community",
    "street": "the street office of the place",
    "district": "the district of the place",
}
WORDS_ZH = {
    "maintainer": "部件养护单位",
    "owner": "部件权属单位",
    "unit": "规则指定单位",
    "cell": "单元网格责任单位",
    "community": "社区责任单位",
    "street": "属地街道办事处",
    "district": "属地区级部门",
}


def load_rules(conn: Connection, rules: pd.DataFrame, srid: int, version: Version) -> int:
    """Write rules (columns code, class_prefix, condition_no, area_prefix, roles, zone, source_document, source_on;
    zone: polygon in the city's system ``srid``, or missing).

    ``roles`` is an ordered list with ``|`` between: ``unit:CODE`` or one of PLACES. Returns the rules; raises
    Invalid that names a rule with an unknown role or unit.
    """
    roles = _roles(rules)
    ids = unit_ids(conn)
    refuse_unknown(roles["unit_code"], ids, "rules", "roles")
    frame = pd.DataFrame(rules[["code", "source_document", "source_on"]])
    frame["class_prefix"] = rules["class_prefix"].fillna("")
    frame["area_prefix"] = rules["area_prefix"].fillna("")
    frame["condition_no"] = rules["condition_no"].astype("Int64")
    zones = gpd.GeoSeries([_multi(zone) for zone in rules["zone"]], index=rules.index, crs=srid)
    copy_frame(conn, version.stamp(frame.assign(zone=snap(zones))), "cases.rule")
    rule_ids = {row.code: row.id for row in conn.execute(query("cases", "rule_ids"))}
    roles["rule_id"] = roles["rule_code"].map(rule_ids)
    roles["unit_id"] = pd.array([ids.get(code) for code in roles["unit_code"]], dtype="Int64")
    copy_frame(conn, roles, "cases.rule_role", ["rule_id", "rank", "resolved_by", "unit_id"])
    return len(frame)


def _multi(zone: object) -> shapely.MultiPolygon | None:
    if isinstance(zone, shapely.Polygon):
        return shapely.MultiPolygon([zone])
    return zone if isinstance(zone, shapely.MultiPolygon) else None


def _roles(rules: pd.DataFrame) -> pd.DataFrame:
    """One row per role: rule_code, rank, resolved_by, unit_code."""
    rows = []
    for code, roles in zip(rules["code"], rules["roles"], strict=True):
        for rank, role in enumerate(str(roles).split("|"), start=1):
            kind, _, unit = role.strip().partition(":")
            if kind not in (*PLACES, "unit") or (kind == "unit") != bool(unit):
                raise Invalid(
                    f"rule {code}: {role.strip()!r} is no role",
                    f"规则 {code}:{role.strip()!r} 不是有效角色",
                    mend=f"write unit:CODE or one of {', '.join(PLACES)}, with | between",
                    rule=code,
                    field="roles",
                )
            rows.append({"rule_code": code, "rank": rank, "resolved_by": kind, "unit_code": unit or None})
    return pd.DataFrame(rows, columns=["rule_code", "rank", "resolved_by", "unit_code"])


def explain(basis: str, resolved_by: str | None, rule: str | None, document: str | None) -> tuple[str, str]:
    """The reason of an assignment in one sentence, in English and in Chinese.

    ``document`` is named in the language of the sentence where it has both (``Chinese | English``).
    """
    if basis == "decision":
        if rule is None:
            return ("decided by the dispatcher against the proposal", "派遣员改派,未采用系统建议")
        return (f"decided by the dispatcher against rule {rule}", f"派遣员改派,未采用规则 {rule}")
    if basis == "nobody" or resolved_by is None:
        return ("no responsible body was found; the dispatcher decides", "未找到责任主体,由派遣员判定")
    en, zh = WORDS_EN[resolved_by], WORDS_ZH[resolved_by]
    if basis == "component":
        return (f"{en} named in the report", f"依据上报部件的{zh}")
    if basis == "territory":
        return (f"{en}: no rule names another (territorial management)", f"属地管理:{zh}(无其他规则)")
    kind_en, kind_zh = ("zone rule", "责任区规则") if basis == "zone" else ("rule", "规则")
    document_zh, _, document_en = (document or "").partition(" | ")
    return (f"{kind_en} {rule}: {en} ({document_en or document_zh})", f"{kind_zh} {rule}:{zh}(依据:{document_zh})")
