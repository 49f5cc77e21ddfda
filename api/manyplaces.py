"""Many places at once: ``POST /locate``, by the code that assigns files (cases/standing.py)."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable
from typing import Annotated, Any

import numpy as np
import pandas as pd
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from api.answers import tagged
from api.deps import House, InHouse, Who
from cases.bulk import REASONS
from cases.standing import PLACED, Standing, assign_frame, read_components, read_standing
from gis.crs import crs_of, to_city
from gis.db import query
from gis.errors import Invalid
from gis.locate import OUTSIDE

router = APIRouter(tags=["places"])
MOST_POINTS = 10_000
CODE = re.compile("[0-9]{16,17}")  #: of a component; no other text names one
FIELDS = ("lon", "lat", "class", "condition", "component")
KINDS = ("application/json", "application/x-ndjson", "text/csv")
EXAMPLE = [{"lon": 109.0235, "lat": 32.698, "class": "E0102"}]


class Placed(BaseModel):
    """The answer for one point. Names of areas, units and rules: GET /city, GET /locate."""

    cell: str | None = Field(description="null: refused")
    district: str | None
    street: str | None
    community: str | None
    placed: str = Field(description="inside, nearest (no cell covers it, one is within the tolerance), outside")
    unit: str | None = Field(description="code of the unit that leads; null: nobody, the dispatcher decides")
    assisting: list[str]
    basis: str = Field(description="component, rule, zone, territory, nobody")
    resolved_by: str | None
    rule: str | None
    zones: list[str] = Field(description="rules of zones that claim the place; with two or more somebody must decide")
    refused: str | None = Field(description=f"{', '.join(REASONS)}; null: answered")


class ManyPlaced(BaseModel):
    """The answers, in the order of the points."""

    items: list[Placed]
    simulated: bool


async def _body(request: Request) -> bytes:
    return await request.body()


@router.post(
    "/locate",
    response_model=ManyPlaced,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"type": "array", "items": {"type": "object"}}, "example": EXAMPLE},
                "application/x-ndjson": {"schema": {"type": "string"}},
                "text/csv": {"schema": {"type": "string"}, "example": "lon,lat,class\n109.0235,32.698,E0102\n"},
            },
        }
    },
)
def locate_many(
    request: Request,
    house: InHouse,
    who: Who,
    body: Annotated[bytes, Depends(_body)],
    crs: Annotated[int, Query(ge=1, le=999_999, description="EPSG code; 910002 GCJ-02, 910009 BD-09")] = 4326,
) -> Response:
    """Cell, areas, unit and rule of up to 10 000 points: a JSON array, lines of JSON (NDJSON), or CSV.

    Each has `lon`, `lat` (east and north if `crs` is projected), and may have `class`, `condition`, `component`. A
    point that cannot be answered has the reason in `refused`; the others are answered. Nothing is written.
    """
    kind = request.headers.get("content-type", KINDS[0]).split(";")[0].strip().lower()
    points = _points(body, kind)
    crs_of(crs)
    with house.begin_asking() as conn:
        who.reader(conn)
        standing = current_standing(house, conn)
        named = sorted({one["component"] for one in points if CODE.fullmatch(one["component"] or "")})
        components = read_components(conn, codes=named) if named else None
    data = {"items": answers(points, standing, components, crs), "simulated": house.city.simulated}
    return tagged(request, ManyPlaced, data, private=house.reading == "accounts")


def answers(
    points: list[dict[str, Any]], standing: Standing, components: pd.DataFrame | None, crs: int
) -> list[dict[str, Any]]:
    """The answer for each point (FIELDS), in their order."""
    said_x, said_y = (np.array([one[name] for one in points], dtype=np.float64) for name in ("lon", "lat"))
    x, y = to_city(said_x, said_y, crs, standing.srid)
    frame = pd.DataFrame(
        {
            "x": x,
            "y": y,
            "class_code": pd.Series([one["class"] for one in points], dtype=object),
            "condition_no": pd.array([one["condition"] for one in points], dtype="Int64"),
            "component_code": pd.Series([one["component"] for one in points], dtype=object),
        }
    )
    found = assign_frame(frame, standing, components=components, threads=1)
    unknown, without = standing.strange(frame)
    outcomes = standing.outcomes
    items = []
    for n in range(len(points)):
        row = int(found.cell[n])
        cell = None if row == OUTSIDE else standing.codes[row]
        refused = (
            "no_place"
            if not np.isfinite(x[n])
            else "outside"
            if cell is None
            else "unknown_class"
            if unknown[n]
            else "unknown_condition"
            if without[n]
            else None
        )
        outcome = outcomes[found.outcome[n]]
        items.append(
            {
                "cell": cell,
                "district": cell and cell[:6],
                "street": cell and cell[:9],
                "community": cell and cell[:12],
                "placed": PLACED[found.placed[n]],
                "unit": outcome.unit,
                "assisting": list(outcome.assisting),
                "basis": outcome.basis,
                "resolved_by": outcome.resolved_by,
                "rule": outcome.rule,
                "zones": list(outcome.zones),
                "refused": refused,
            }
        )
    return items


# ── what was sent ────────────────────────────────────────


def _points(body: bytes, kind: str) -> list[dict[str, Any]]:
    """The points of a body; Invalid with the number of the one that is none."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _unfit(None, "the body is not UTF-8", "请求内容不是 UTF-8 编码") from None
    rows: Iterable[Any]
    if kind == "text/csv":
        reader = csv.DictReader(io.StringIO(text))
        if not {"lon", "lat"} <= set(_header(reader)):
            raise _unfit(None, "the CSV has no columns lon and lat", "CSV 缺少 lon、lat 列")
        try:
            rows = list(reader)
        except csv.Error as bad:
            raise _unfit(None, f"the CSV cannot be read: {bad}", "CSV 无法读取") from None
    elif kind == "application/x-ndjson":
        rows = [_json(line, number) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    elif kind == "application/json":
        rows = _json(text, None)
        if not isinstance(rows, list):
            raise _unfit(None, "the body is no array of points", "请求内容不是点的数组")
    else:
        raise _unfit(None, f"{kind!r} is not taken", f"不支持 {kind!r}")
    if len(rows) > MOST_POINTS:
        raise _unfit(None, f"{len(rows):,} points are more than {MOST_POINTS:,}", f"点数超过 {MOST_POINTS:,} 个")
    return [_point(row, number) for number, row in enumerate(rows, start=1)]


def _header(reader: Any) -> list[str]:
    try:
        return list(reader.fieldnames or ())
    except csv.Error as bad:
        raise _unfit(None, f"the CSV cannot be read: {bad}", "CSV 无法读取") from None


def _json(text: str, number: int | None) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # also a number of thousands of digits
        raise _unfit(number, "it is no JSON", "不是有效的 JSON") from None


def _point(row: Any, number: int) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise _unfit(number, "it is no object", "不是对象")
    if None in row:
        raise _unfit(number, "it has more fields than the header", "字段多于表头")
    strange = sorted(str(name) for name in row.keys() - set(FIELDS))
    if strange:
        raise _unfit(number, f"there is no field {strange[0][:40]!r}", f"没有字段 {strange[0][:40]!r}")
    point: dict[str, Any] = {}
    for name in ("lon", "lat"):
        value = row.get(name)
        try:
            point[name] = math.nan if value in (None, "") or isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            raise _unfit(number, f"{name} is no number: {str(value)[:40]!r}", f"{name} 不是数字") from None
    for name in ("class", "component"):
        value = row.get(name)
        if value is not None and not isinstance(value, str):
            raise _unfit(number, f"{name} is no text: {str(value)[:40]!r}", f"{name} 不是文本")
        point[name] = (value.strip().upper() if name == "class" else value.strip()) or None if value else None
    value = row.get("condition")
    try:
        point["condition"] = None if value in (None, "") else int(value)
        if isinstance(value, bool | float) or (point["condition"] is not None and abs(point["condition"]) > 9999):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise _unfit(number, f"condition is no number: {str(value)[:40]!r}", "condition 不是立案条件序号") from None
    return point


def _unfit(number: int | None, en: str, zh: str) -> Invalid:
    where = {} if number is None else {"point": number}
    return Invalid(
        f"point {number}: {en}" if number else en,
        f"第 {number} 个点：{zh}" if number else zh,
        mend=f"up to {MOST_POINTS:,} points with {', '.join(FIELDS)}, as {', '.join(KINDS)}, UTF-8",
        mend_zh=f"至多 {MOST_POINTS:,} 个点，字段 {'、'.join(FIELDS)}；格式 {'、'.join(KINDS)}，UTF-8 编码",
        field="body",
        **where,
    )


def current_standing(house: House, conn: Connection) -> Standing:
    """What answers rest on now, without components; kept until grid, rules or units change."""
    mark = conn.execute(query("cases", "standing_mark")).scalar_one()
    with house.lock:
        known = house.standing_kept
    if known is not None and known[0] == mark:
        return known[1]
    standing = read_standing(conn, house.city, components=False)
    with house.lock:
        house.standing_kept = (mark, standing)
    return standing
