"""The catalogue: component and event classes, filing conditions and limits, in editions side by side.

National editions come with Wanmi (data/catalogue); a city begins with that of its profile and takes over its own
sheets later (layers/revision.py). One edition is in force at an instant. No edition is ever rewritten: cases and
components keep the edition they were made with.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Connection, TextClause

from gis.db import copy_frame, query
from gis.errors import NotFound, UnfitFile
from gis.history import Version
from layers.limits import Limit

AREA_CLASSES = ("A", "B", "C")
LIKE = "GBT30428.2-2013"  #: what a class does not say of itself is as in this edition, if number and name agree
CLASS_COLUMNS = ["code", "name_zh", "name_en", "geometry_type", "accuracy_class", "source"]
CONDITION_COLUMNS = ["class_code", "no", "condition_zh", "condition_en", "closing_result_zh", "source"]
UNIT_COLUMNS = ["disposal_unit_zh", "supervising_unit_zh"]


@dataclass(frozen=True, kw_only=True)
class Tables:
    """All that an edition says.

    majors: code, name_zh, name_en; classes: code, kind, name_zh, name_en, geometry_type, accuracy_class,
    attribute_schema (dict), never_on (list), source; conditions: class_code, no, condition_zh, condition_en,
    closing_result_zh, disposal_unit_zh, supervising_unit_zh, source; limits: class_code, condition_no, area_class,
    value, basis. Missing is None.
    """

    majors: pd.DataFrame
    classes: pd.DataFrame
    conditions: pd.DataFrame
    limits: pd.DataFrame

    def limit_texts(self) -> dict[tuple[str, int], str]:
        """The limit of each condition that has one, in words (4工作时); of each area class if they differ."""
        found: dict[tuple[str, int], dict[str, str]] = {}
        for row in rows_of(self.limits):
            found.setdefault((row.class_code, row.condition_no), {})[row.area_class] = Limit(row.value, row.basis).zh
        return {key: _one_text(texts) for key, texts in found.items()}


def rows_of(frame: pd.DataFrame) -> list[Any]:
    """The rows of a frame as named tuples."""
    return list(frame.itertuples(index=False))


def _one_text(texts: Mapping[str, str]) -> str:
    if len(texts) == len(AREA_CLASSES) and len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{area_class} {text}" for area_class, text in texts.items())


# ── reading ────────────────────────────────────────


def edition_in_force(conn: Connection, at: datetime | None = None) -> str:
    """The edition in force now, or at an instant. NotFound when no city is loaded."""
    edition = conn.execute(query("layers", "edition_in_force"), {"at": at}).scalar_one()
    if edition is None:
        raise NotFound(
            "no edition of the catalogue is in force: no city is loaded",
            "没有现行的分类版本:尚未载入城市",
            mend="wanmi demo, or wanmi load CITY --from FOLDER",
            mend_zh="请先运行 wanmi demo 或 wanmi load",
        )
    return str(edition)


def class_table(conn: Connection, edition: str) -> pd.DataFrame:
    """The classes of an edition: code, kind (component, event), name_zh, name_en, geometry_type, accuracy_class (None
    for events), attribute_schema (dict: JSON Schema of a component's attributes), never_on (list of building, water),
    source. Empty for an edition that is none.
    """
    return _frame(conn, query("layers", "edition_classes"), edition=edition)


def mapped(conn: Connection, from_edition: str, to_edition: str) -> pd.DataFrame:
    """Which class of one edition is which of another: from_code, to_code (None: gone), relation (same, renamed, split,
    merged, gone), reviewed, source.

    From the list as it was written, in either direction; empty when there is none. A class that was split or merged
    has several rows.
    """
    return _frame(conn, query("layers", "mapped_classes"), from_edition=from_edition, to_edition=to_edition)


def read_edition(conn: Connection, edition: str) -> Tables:
    """All of an edition. NotFound when there is none of that code."""
    refuse_unknown_edition(conn, edition)
    return Tables(
        majors=_frame(conn, query("layers", "edition_majors"), edition=edition),
        classes=class_table(conn, edition),
        conditions=_frame(conn, query("layers", "edition_conditions"), edition=edition, class_code=None),
        limits=_frame(conn, query("layers", "edition_limits"), edition=edition, class_code=None),
    )


def editions(conn: Connection) -> list[dict[str, Any]]:
    """All editions, national ones first: code, name_zh, name_en, kind, source, imported_at, imported_by, numbers of
    component and event classes and conditions, in_force."""
    return [dict(row) for row in conn.execute(query("layers", "editions")).mappings()]


def editions_in_force(conn: Connection) -> list[dict[str, Any]]:
    """Since when which edition was in force, in order: since, edition, actor, reason."""
    return [dict(row) for row in conn.execute(query("layers", "editions_in_force")).mappings()]


def read_class(conn: Connection, edition: str, code: str) -> dict[str, Any]:
    """A class of an edition: the columns of class_table, edition, ``conditions`` (columns of Tables.conditions, each
    with ``limits``: area class → Limit) and ``mapping`` (edition, code or None, relation, reviewed).

    NotFound for an edition or class that is none.
    """
    refuse_unknown_edition(conn, edition)
    known = {row.code: row for row in rows_of(class_table(conn, edition))}
    if code not in known:
        near = difflib.get_close_matches(code, known, n=3, cutoff=0.5)
        raise NotFound(
            f"edition {edition} has no class {code!r}",
            f"版本 {edition} 没有类别 {code!r}",
            mend=f"component classes begin with C, event classes with E; near: {', '.join(near) or 'none'}",
            mend_zh=f"部件类别以 C 开头,事件类别以 E 开头;相近:{'、'.join(near) or '无'}",
            edition=edition,
            code=code,
        )
    own = {"edition": edition, "class_code": code}
    limits: dict[int, dict[str, Limit]] = {}
    for row in conn.execute(query("layers", "edition_limits"), own):
        limits.setdefault(row.condition_no, {})[row.area_class] = Limit(row.value, row.basis)
    conditions = conn.execute(query("layers", "edition_conditions"), own).mappings()
    mapping = conn.execute(query("layers", "mapping_of_class"), {"edition": edition, "code": code}).mappings()
    return {
        **known[code]._asdict(),
        "edition": edition,
        "conditions": [{**row, "limits": limits.get(row["no"], {})} for row in conditions],
        "mapping": [dict(row) for row in mapping],
    }


def refuse_unknown_edition(conn: Connection, edition: str) -> None:
    """NotFound for a code that no edition has."""
    known = [row["code"] for row in editions(conn)]
    if edition not in known:
        raise NotFound(
            f"there is no edition {edition!r} of the catalogue",
            f"没有分类版本 {edition!r}",
            mend=f"these are there: {', '.join(known)}",
            mend_zh=f"现有版本:{'、'.join(known)}",
            edition=edition,
        )


def _frame(conn: Connection, statement: TextClause, **parameters: object) -> pd.DataFrame:
    """The rows of a query; what is missing is None, whatever the column."""
    result = conn.execute(statement, parameters)
    return pd.DataFrame(result.all(), columns=list(result.keys()), dtype=object)


# ── writing ────────────────────────────────────────


def add_edition(
    conn: Connection,
    code: str,
    tables: Tables,
    *,
    names: tuple[str, str],
    kind: str,
    source: str,
    change_id: int | None,
) -> None:
    """Write an edition that is not there yet; ``names`` in Chinese and English, ``kind`` national or city."""
    row = {"code": code, "name_zh": names[0], "name_en": names[1], "kind": kind, "source": source}
    conn.execute(query("layers", "add_edition"), {**row, "change_id": change_id})
    copy_frame(conn, tables.majors[["code", "name_zh", "name_en"]].assign(edition=code), "layers.major")
    classes = tables.classes[[*CLASS_COLUMNS, "attribute_schema", "never_on"]]
    classes = classes.assign(never_on=[f"{{{','.join(grounds)}}}" for grounds in classes["never_on"]], edition=code)
    copy_frame(conn, classes, "layers.class")
    copy_frame(conn, tables.conditions[[*CONDITION_COLUMNS, *UNIT_COLUMNS]].assign(edition=code), "layers.condition")
    copy_frame(conn, tables.limits.assign(edition=code), "layers.time_limit")


def put_in_force(conn: Connection, edition: str, version: Version) -> datetime:
    """From now on (the instant of ``version``) the edition is in force; returns the instant that became of it."""
    row = {"edition": edition, "since": version.since, "change_id": version.change_id}
    since: datetime = conn.execute(query("layers", "put_in_force"), row).scalar_one()
    return since


def load_catalogue(
    conn: Connection,
    edition: str,
    majors: pd.DataFrame,
    classes: pd.DataFrame,
    conditions: pd.DataFrame,
    *,
    source: str = "loaded with the city",
    change_id: int | None = None,
) -> None:
    """Write the edition that a city begins with.

    majors     : code, name_zh, name_en
    classes    : code, name_zh, name_en, geometry_type, accuracy_class, source; never_on and attribute_schema if it has
                 them, else those of the national class of the same number and name
    conditions : class_code, no, condition_zh, condition_en, closing_result_zh, source, limit_value, limit_basis;
                 a condition without a limit has none. The source knows one limit for all area classes: it is
                 written for each, so that a city may set them apart.
    """
    limited = conditions[conditions["limit_basis"].notna()]
    limits = pd.DataFrame(
        {
            "class_code": limited["class_code"],
            "condition_no": limited["no"],
            "value": limited["limit_value"].astype(float),
            "basis": limited["limit_basis"],
        }
    )
    tables = Tables(
        majors=majors,
        classes=_with_columns(classes, {"never_on": [], "attribute_schema": {}}),
        conditions=_with_columns(conditions, dict.fromkeys(UNIT_COLUMNS)),
        limits=for_all_areas(limits),
    )
    add_edition(conn, edition, tables, names=(edition, edition), kind="city", source=source, change_id=change_id)
    if "never_on" not in classes:
        conn.execute(query("layers", "class_alike"), {"edition": edition, "like": LIKE})


def for_all_areas(limits: pd.DataFrame) -> pd.DataFrame:
    """One limit for all area classes, written for each."""
    return pd.concat([limits.assign(area_class=area_class) for area_class in AREA_CLASSES], ignore_index=True)


def load_national(conn: Connection, folder: Path, edition: str) -> bool:
    """Write the national editions of ``folder`` (data/catalogue) with their mapping, unless they are there.

    ``edition`` is the city's first one: in a database of before, its classes get what the national ones say.
    Returns whether they were written now. Raises UnfitFile for a file that is missing or broken.
    """
    if any(row["kind"] == "national" for row in editions(conn)):
        return False
    table = _read(folder, "editions")
    parts = {name: _read(folder, name) for name in ("majors", "classes", "mapping")}
    schemas = _schemas(_read(folder, "attributes"), parts["mapping"])
    for row in rows_of(table):
        own = parts["classes"][parts["classes"]["edition"] == row.code]
        classes = own.assign(
            geometry_type=own["geometry_type"].where(own["geometry_type"] != "", None),
            accuracy_class=own["accuracy_class"].where(own["accuracy_class"] != "", None),
            never_on=own["never_on"].map(lambda text: list(filter(None, text.split("|")))),
            attribute_schema=own["code"].map(lambda code, edition=row.code: schemas.get((edition, code), {})),
        )
        nothing = pd.DataFrame(columns=[*CONDITION_COLUMNS, *UNIT_COLUMNS])
        tables = Tables(
            majors=parts["majors"][parts["majors"]["edition"] == row.code],
            classes=classes,
            conditions=nothing,
            limits=pd.DataFrame(columns=["class_code", "condition_no", "area_class", "value", "basis"]),
        )
        names = (row.name_zh, row.name_en)
        add_edition(conn, row.code, tables, names=names, kind="national", source=row.source, change_id=None)
    _copy_mapping(conn, parts["mapping"])
    conn.execute(query("layers", "class_alike"), {"edition": edition, "like": LIKE})
    return True


def load_mapping(conn: Connection, folder: Path) -> None:
    """Write a city's mapping.csv, if it has one: its first edition's classes and those of the national editions."""
    if (folder / "mapping.csv").is_file():
        _copy_mapping(conn, _read(folder, "mapping"))


def _copy_mapping(conn: Connection, table: pd.DataFrame) -> None:
    to_code = table["to_code"].where(table["to_code"] != "", None)
    copy_frame(conn, table.assign(to_code=to_code, reviewed=table["reviewed"] == "1"), "layers.class_mapping")


def _with_columns(frame: pd.DataFrame, columns: Mapping[str, Any]) -> pd.DataFrame:
    """The frame with these columns, filled with one value where it lacks them."""
    lacking = {name: [value] * len(frame) for name, value in columns.items() if name not in frame}
    return frame.assign(**lacking)


def _read(folder: Path, name: str) -> pd.DataFrame:
    path = folder / f"{name}.csv"
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except (OSError, ValueError) as bad:  # missing, no UTF-8, no CSV
        raise UnfitFile(
            f"{path} cannot be read: {bad}",
            f"{path} 无法读取:{bad}",
            mend="take the file from the repository again",
            mend_zh="请从代码库重新取得该文件",
            file=path,
        ) from bad


def _schemas(attributes: pd.DataFrame, mapping: pd.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:
    """JSON Schema of the attributes by edition and class: as written for LIKE, and for what is the same elsewhere."""
    schemas: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows_of(attributes):
        schema = schemas.setdefault((LIKE, str(row.class_code)), {"type": "object", "properties": {}})
        one: dict[str, Any] = {"type": row.type, "title": f"{row.title_zh} | {row.title_en}"}
        if row.values:
            one["enum"] = str(row.values).split("|")
        if row.minimum:
            one |= {"minimum": float(str(row.minimum)), "maximum": float(str(row.maximum))}
        schema["properties"][str(row.attribute)] = one
    for row in rows_of(mapping[mapping["relation"].isin(["same", "renamed"])]):
        pair = (str(row.from_edition), str(row.from_code)), (str(row.to_edition), str(row.to_code))
        for mine, other in (pair, pair[::-1]):
            if mine[0] == LIKE and mine in schemas:
                schemas.setdefault(other, schemas[mine])
    return schemas
