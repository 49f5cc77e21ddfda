"""A new edition of the catalogue from a city's sheet: what differs from the one in force, and taking it over.

What a sheet does not say (English names, shapes, accuracy, attributes) is as in the edition in force, else as in a
national edition, for the class of the same name. A condition keeps its number as long as its words stay, since rules
name it by number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from sqlalchemy import Connection

from gis.db import copy_frame, query
from gis.errors import Conflict, Invalid
from gis.history import record_change
from layers.catalogue import (
    Tables,
    add_edition,
    class_table,
    edition_in_force,
    editions,
    for_all_areas,
    put_in_force,
    read_edition,
    refuse_unknown_edition,
    rows_of,
)
from layers.sheet import KINDS, RULES, Sheet, SheetFinding, alike, errors_of

CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
#: What may differ: of a major or class its name, of a condition the rest.
FIELDS = {
    "name_zh": ("name", "名称"),
    "condition_zh": ("condition", "立案条件"),
    "closing_result_zh": ("result for closing", "结案条件"),
    "limit": ("limit", "处置时限"),
    "disposal_unit_zh": ("disposal unit", "处置单位"),
    "supervising_unit_zh": ("supervising unit", "主管部门"),
}
TEXTS = ("condition_zh", "closing_result_zh", "disposal_unit_zh", "supervising_unit_zh")
DIFFERENCE = ["what", "fate", "code", "no", "field", "before", "after"]


@dataclass(frozen=True, kw_only=True)
class Revision:
    """What a sheet, or another edition, would make of the catalogue."""

    base: str  #: the edition in force
    tables: Tables
    #: what (major, class, condition), fate (new, changed, gone), code, no (of a condition), field (of FIELDS, when
    #: changed), before, after
    differences: pd.DataFrame
    findings: list[SheetFinding]

    @property
    def errors(self) -> list[SheetFinding]:
        """The findings that forbid taking it over."""
        return errors_of(self.findings)

    @property
    def gone(self) -> list[str]:
        """Codes of the classes that the edition in force has and this has not."""
        return self._codes("class", "gone")

    @property
    def gone_majors(self) -> list[str]:
        """Codes of the majors that are no more."""
        return self._codes("major", "gone")

    @property
    def gone_conditions(self) -> list[tuple[str, int]]:
        """Class and number of the conditions that are no more, of classes that stay."""
        rows = self.differences[(self.differences["what"] == "condition") & (self.differences["fate"] == "gone")]
        gone = set(self.gone)
        return [(row.code, int(row.no)) for row in rows_of(rows) if row.code not in gone]

    @property
    def renamed(self) -> dict[str, str]:
        """Classes that keep their code and get another name: code and new name."""
        rows = self.differences[(self.differences["what"] == "class") & (self.differences["fate"] == "changed")]
        return {row.code: row.after for row in rows_of(rows)}

    def _codes(self, what: str, fate: str) -> list[str]:
        rows = self.differences[(self.differences["what"] == what) & (self.differences["fate"] == fate)]
        return [str(code) for code in rows["code"]]


def hold_catalogue(conn: Connection) -> None:
    """Nobody else changes the catalogue until this transaction ends."""
    conn.execute(query("layers", "hold_catalogue"))


def compare_edition(conn: Connection, edition: str) -> Revision:
    """What another edition would make of the catalogue if it came into force. NotFound when there is none."""
    base, tables = edition_in_force(conn), read_edition(conn, edition)
    return Revision(base=base, tables=tables, differences=differences(read_edition(conn, base), tables), findings=[])


# ── from a sheet ────────────────────────────────────────


def compare_sheet(conn: Connection, sheet: Sheet) -> Revision:
    """The edition that the sheet would make, what differs from the one in force, and what is to be said of it.

    A kind that the sheet has nothing of is kept as it is.
    """
    base = edition_in_force(conn)
    old = read_edition(conn, base)
    known = _Known(conn, old)
    findings = list(sheet.findings)
    findings += _mixed_up(sheet, known)
    classes = [known.class_like(row, findings) for row in rows_of(sheet.classes)]
    conditions, limits = _conditions(sheet, old)
    majors = [
        {"code": row.code, "name_zh": row.name_zh, "name_en": known.major_en(row.code, row.name_zh)}
        for row in rows_of(sheet.majors)
    ]
    kept = sorted(set(KINDS) - sheet.kinds)
    for kind in kept if sheet.kinds else ():
        words = KINDS[kind]
        findings.append(
            SheetFinding(rule="kind_kept", sheet="", row=None, column=None, value=None, detail=f"{words[1]} {words[0]}")
        )
    tables = Tables(
        majors=_merged(old.majors, majors, "code", kept),
        classes=_merged(old.classes, classes, "code", kept),
        conditions=_merged(old.conditions, conditions, "class_code", kept),
        limits=_merged(old.limits, limits, "class_code", kept),
    )
    rank = {rule: number for number, rule in enumerate(RULES)}
    findings.sort(key=lambda found: rank[found.rule])
    return Revision(base=base, tables=tables, differences=differences(old, tables), findings=findings)


def _merged(old: pd.DataFrame, new: Sequence[dict[str, Any]], column: str, kept: Sequence[str]) -> pd.DataFrame:
    own = old[old[column].str[:1].isin(kept)] if len(old) else old
    fresh = pd.DataFrame(new, columns=old.columns, dtype=object)
    return pd.concat([own.astype(object), fresh], ignore_index=True) if len(fresh) else own.astype(object)


class _Known:
    """What the editions that are there say of a class."""

    def __init__(self, conn: Connection, old: Tables) -> None:
        self.own = {row.code: row._asdict() for row in rows_of(old.classes)}
        tables = [old.classes]
        national = [row["code"] for row in editions(conn) if row["kind"] == "national"]
        tables += [class_table(conn, edition) for edition in reversed(national)]
        self.by_name: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for table in tables:
            for row in rows_of(table):
                self.by_name.setdefault((row.code[0], alike(row.name_zh)), []).append(row._asdict())
        self.majors = {alike(row.name_zh): row for row in rows_of(old.majors)}

    def major_en(self, code: str, name: str) -> str:
        """English of a major by its name, else the name itself."""
        found = self.majors.get(alike(name))
        return str(found.name_en) if found and found.code[0] == code[0] else name

    def class_like(self, said: Any, findings: list[SheetFinding]) -> dict[str, Any]:
        """A class of the sheet with what it does not say; findings for what is odd."""
        code, name = said.code, said.name_zh
        where = {"sheet": said.sheet, "row": said.row, "column": "小类名称"}
        named = self.by_name.get((code[0], alike(name)), [])
        like = next((row for row in named if row["code"] == code), named[0] if named else None)
        same_code = self.own.get(code)
        if same_code is not None and alike(same_code["name_zh"]) != alike(name):
            detail = f"{code} {same_code['name_zh']} → {name}"
            findings.append(SheetFinding(rule="renamed", value=name, detail=detail, **where))
        elsewhere = [row["code"] for row in self.own.values() if alike(row["name_zh"]) == alike(name)]
        elsewhere = [other for other in elsewhere if other[0] == code[0]]
        if same_code is None and elsewhere:
            detail = f"{name} {elsewhere[0]} → {code}"
            findings.append(SheetFinding(rule="renumbered", value=name, detail=detail, **where))
        shape = like or same_code
        if code[0] == "C" and shape is None:
            findings.append(SheetFinding(rule="shape_unknown", value=name, detail=code, **where))
            shape = {"geometry_type": "Point", "accuracy_class": "B", "attribute_schema": {}, "never_on": []}
        nothing: dict[str, Any] = {
            "geometry_type": None,
            "accuracy_class": None,
            "attribute_schema": {},
            "never_on": [],
        }
        rest = {key: (shape or nothing)[key] for key in nothing}
        english = like["name_en"] if like else name
        kind = KINDS[code[0]][0]
        return {"code": code, "kind": kind, "name_zh": name, "name_en": english, **rest, "source": None}


def _mixed_up(sheet: Sheet, known: _Known) -> list[SheetFinding]:
    """Sheets most of whose names are those of the other kind."""
    found = []
    if sheet.classes.empty:
        return []
    for title, rows in sheet.classes.groupby("sheet", sort=False):
        for letter, own in rows.groupby(rows["code"].str[0]):
            other = "E" if letter == "C" else "C"
            foreign = [
                row
                for row in rows_of(own)
                if (other, alike(row.name_zh)) in known.by_name and (letter, alike(row.name_zh)) not in known.by_name
            ]
            if len(foreign) * 2 > len(own):
                first, words = foreign[0], f"{len(foreign)} / {len(own)}: {KINDS[other][1]} {KINDS[other][0]}"
                where = {"sheet": str(title), "row": int(first.row), "column": "小类名称", "value": first.name_zh}
                found.append(SheetFinding(rule="kind_mixed", detail=words, **where))
    return found


def _conditions(sheet: Sheet, old: Tables) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Conditions and limits of the sheet, numbered: as before where the words stay, else after the highest."""
    before = {code: rows for code, rows in old.conditions.groupby("class_code")} if len(old.conditions) else {}
    conditions, limits = [], []
    for code, rows in sheet.conditions.groupby("class_code", sort=True):
        known = before.get(code)
        numbers = {} if known is None else {alike(row.condition_zh): row for row in rows_of(known)}
        free = max((int(row.no) for row in numbers.values()), default=0)
        for row in rows_of(rows):
            was = numbers.get(alike(row.condition_zh))
            free += was is None
            number = free if was is None else int(was.no)
            english = row.condition_zh if was is None else was.condition_en
            said = {name: getattr(row, name) for name in TEXTS}
            conditions.append({"class_code": code, "no": number, "condition_en": english, "source": None, **said})
            if row.basis is not None:
                limits.append(
                    {"class_code": code, "condition_no": number, "value": float(row.value), "basis": row.basis}
                )
    conditions.sort(key=lambda row: (row["class_code"], row["no"]))
    spread = for_all_areas(pd.DataFrame(limits, columns=["class_code", "condition_no", "value", "basis"]))
    spread = spread.sort_values(["class_code", "condition_no", "area_class"], kind="stable")
    return conditions, [row._asdict() for row in rows_of(spread)]


# ── what differs ────────────────────────────────────────


def differences(old: Tables, new: Tables) -> pd.DataFrame:
    """What is new, changed or gone between two editions (columns DIFFERENCE); empty when they say the same."""
    rows: list[tuple[Any, ...]] = []
    for what, before, after in (("major", old.majors, new.majors), ("class", old.classes, new.classes)):
        names = [dict(zip(frame["code"], frame["name_zh"], strict=True)) for frame in (before, after)]
        rows += [(what, "new", code, None, None, None, names[1][code]) for code in _without(names[1], names[0])]
        rows += [(what, "gone", code, None, None, names[0][code], None) for code in _without(names[0], names[1])]
        for code in sorted(set(names[0]) & set(names[1])):
            if alike(names[0][code]) != alike(names[1][code]):
                rows.append((what, "changed", code, None, "name_zh", names[0][code], names[1][code]))
    said = [_conditions_of(tables) for tables in (old, new)]
    for key in _without(said[1], said[0]):
        rows.append(("condition", "new", *key, None, None, _with_limit(said[1][key])))
    for key in _without(said[0], said[1]):
        rows.append(("condition", "gone", *key, None, _with_limit(said[0][key]), None))
    for key in sorted(set(said[0]) & set(said[1])):
        for name in (*TEXTS, "limit"):
            was, is_ = said[0][key][name], said[1][key][name]
            if alike(was or "") != alike(is_ or ""):
                rows.append(("condition", "changed", *key, name, was, is_))
    return pd.DataFrame(rows, columns=DIFFERENCE, dtype=object)


def _without(some: dict[Any, Any], others: dict[Any, Any]) -> list[Any]:
    return sorted(set(some) - set(others))


def _conditions_of(tables: Tables) -> dict[tuple[str, int], dict[str, str | None]]:
    limits = tables.limit_texts()
    return {
        (row.class_code, int(row.no)): {name: getattr(row, name) for name in TEXTS}
        | {"limit": limits.get((row.class_code, int(row.no)))}
        for row in rows_of(tables.conditions)
    }


def _with_limit(said: dict[str, str | None]) -> str:
    return f"{said['condition_zh']} {said['limit'] or ''}".strip()


# ── taking over ────────────────────────────────────────


def adopt(
    conn: Connection, revision: Revision, sheet: Sheet, code: str, *, actor: str, reason: str | None = None
) -> datetime:
    """Write the revision as a new edition and put it in force; returns since when.

    The caller holds the catalogue (hold_catalogue) since before the comparison. Raises Invalid for a sheet with
    errors or a code that cannot be one, Conflict for a code that is taken or when nothing differs.
    """
    if revision.errors:
        raise _refused(revision, sheet)
    if revision.differences.empty:
        raise Conflict(
            f"the sheet says what {revision.base} says, which is in force: nothing was changed",
            f"该表与现行版本 {revision.base} 内容相同,未作更改",
            mend="nothing to do",
            mend_zh="无需处理",
        )
    if not CODE.fullmatch(code) or code == "mapping":
        raise Invalid(
            f"{code!r} cannot be the code of an edition",
            f"{code!r} 不能作为版本代码",
            mend="letters, digits, . _ -, for instance ankang-2026-11-25",
            mend_zh="可用字母、数字与 . _ -,如 ankang-2026-11-25",
            field="code",
        )
    if code in {row["code"] for row in editions(conn)}:
        raise Conflict(
            f"there is an edition {code} already, and none is overwritten",
            f"已有版本 {code},版本不可覆盖",
            mend="give another code with --code",
            mend_zh="请用 --code 指定其他代码",
            edition=code,
        )
    why = reason or f"sheet {sheet.file_name}"
    version = record_change(conn, since=datetime.now(UTC), actor=actor, reason=why, source=sheet.file_name)
    source = f"{sheet.file_name}, sha256 {sheet.sha256[:16]}"
    classes = revision.tables.classes
    tables = Tables(
        majors=revision.tables.majors,
        classes=classes.assign(source=classes["source"].where(classes["source"].notna(), sheet.file_name)),
        conditions=revision.tables.conditions,
        limits=revision.tables.limits,
    )
    add_edition(conn, code, tables, names=(code, code), kind="city", source=source, change_id=version.change_id)
    _map(conn, revision, code)
    return put_in_force(conn, code, version)


def use(conn: Connection, edition: str, *, actor: str, reason: str | None = None) -> datetime:
    """Put an edition in force that is there already. Conflict when it is in force."""
    refuse_unknown_edition(conn, edition)
    if edition_in_force(conn) == edition:
        raise Conflict(
            f"{edition} is in force: nothing was changed",
            f"{edition} 即为现行版本,未作更改",
            mend="nothing to do",
            mend_zh="无需处理",
            edition=edition,
        )
    why = reason or f"{edition} put in force again"
    return put_in_force(conn, edition, record_change(conn, since=datetime.now(UTC), actor=actor, reason=why))


def _map(conn: Connection, revision: Revision, code: str) -> None:
    """Write how the classes of the edition in force correspond to those of the new one, and these to national ones."""
    old = read_edition(conn, revision.base).classes
    names = dict(zip(revision.tables.classes["code"], revision.tables.classes["name_zh"], strict=True))
    by_name = {(number[0], alike(name)): number for number, name in names.items()}
    rows = []
    for row in rows_of(old):
        if row.code in names:
            same = alike(names[row.code]) == alike(row.name_zh)
            relation, to, how = (
                ("same", row.code, "number and name agree") if same else ("renamed", row.code, "number agrees")
            )
            rows.append((row.code, to, relation, same, how))
        elif (row.code[0], alike(row.name_zh)) in by_name:
            rows.append((row.code, by_name[row.code[0], alike(row.name_zh)], "same", False, "name agrees"))
        else:
            rows.append((row.code, None, "gone", False, "not in the sheet"))
    frame = pd.DataFrame(rows, columns=["from_code", "to_code", "relation", "reviewed", "source"])
    copy_frame(conn, frame.assign(from_edition=revision.base, to_edition=code), "layers.class_mapping")
    conn.execute(query("layers", "inherit_mapping"), {"edition": code, "base": revision.base})


def _refused(revision: Revision, sheet: Sheet) -> Invalid:
    errors = revision.errors
    first, rule = errors[0], RULES[errors[0].rule]
    return Invalid(
        f"{sheet.file_name} has {len(errors):,} errors, not taken over; {first.sheet} row {first.row}: {rule.en}",
        f"{sheet.file_name} 有 {len(errors):,} 处错误,未予采用;首个:{first.sheet} 第 {first.row} 行,{rule.zh}",
        mend=rule.mend,
        mend_zh=rule.mend_zh,
        file=sheet.file_name,
        sheet=first.sheet,
        row=first.row,
        field=first.column,
    )
