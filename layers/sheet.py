"""A city's own sheet (立结案标准) understood: classes, filing conditions, results, limits; every fault is a finding.

Two sheets (部件, 事件) or one CSV file, with the nine columns of COLUMNS in any order and under other usual names,
merged downwards in any column. Codes and names that are left blank go on from the row above; nothing else does.
"""

from __future__ import annotations

import csv
import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from layers.census_report import Rule
from layers.limits import Limit, parse_limit, unit_of
from layers.sheet_file import Cell, RawSheet, read_file

KINDS = {"C": ("component", "部件"), "E": ("event", "事件")}
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "major_code": ("大类代码", "大类编码", "大类编号"),
    "major_name": ("大类名称", "大类"),
    "code": ("小类代码", "小类编码", "小类编号", "类别代码", "类别编码", "代码", "编码"),
    "name": ("小类名称", "小类", "类别名称", "名称"),
    "disposal_unit": ("处置单位", "责任单位", "处置部门", "责任部门", "处理单位"),
    "supervising_unit": ("主管部门", "主管单位", "监管部门", "监管单位"),
    "condition": ("立案条件", "立案标准", "立案情形"),
    "closing": ("结案条件", "结案标准", "结案要求", "处置标准"),
    "limit": ("处置时限", "处理时限", "处置期限", "办理时限", "时限"),
    "kind": ("类型", "部件事件"),
}
NEEDED = ("code", "name", "condition", "limit")
OF_A_CELL = frozenset(
    {"digits_lost", "full_width", "code_form", "spaces", "formula_error", "formula_empty", "limit_unknown"}
)
HEADER_ROWS = 20  #: a header is looked for in so many rows that hold something
KEPT_VALUE = 80


def _read_rules() -> dict[str, Rule]:
    with Path(__file__).with_name("sheet_rules.csv").open(encoding="utf-8", newline="") as table:
        return {row.pop("rule"): Rule(**row) for row in csv.DictReader(table)}  # type: ignore[arg-type]


RULES: Mapping[str, Rule] = _read_rules()  #: the gravest first


@dataclass(frozen=True, kw_only=True)
class SheetFinding:
    """One fault of a sheet."""

    rule: str  #: of RULES: severity, words, mend
    sheet: str
    row: int | None  #: in the file, from 1
    column: str | None  #: its header, or the name it should have
    value: str | None
    detail: str = ""  #: codes and names, the same in both languages


@dataclass(kw_only=True)
class Sheet:
    """What a file says."""

    file_name: str
    sha256: str
    #: majors: code (C01), name_zh; classes: code (C0101), name_zh, sheet, row; conditions in the order of the file:
    #: class_code, condition_zh, closing_result_zh, value, basis, disposal_unit_zh, supervising_unit_zh (missing: None)
    majors: pd.DataFrame
    classes: pd.DataFrame
    conditions: pd.DataFrame
    kinds: frozenset[str] = frozenset()  #: C, E: of which there is something
    findings: list[SheetFinding] = field(default_factory=list)


def read_sheet(path: Path, kind: str | None = None) -> Sheet:
    """Read a sheet of ``.xlsx`` or ``.csv``; ``kind`` (C or E) says what a file is of that does not say it itself.

    Raises UnfitFile for a file that is none; everything else is a finding.
    """
    reader = _Reader(kind)
    raw = read_file(path)
    for sheet in raw:
        reader.read(sheet)
    if not reader.classes and not errors_of(reader.findings):
        reader.find("nothing_read")
    columns = ["class_code", "condition_zh", "closing_result_zh", "value", "basis"]
    columns += ["disposal_unit_zh", "supervising_unit_zh"]
    order = {rule: rank for rank, rule in enumerate(RULES)}
    titles = [sheet.title for sheet in raw]
    reader.findings.sort(key=lambda one: (order[one.rule], titles.index(one.sheet), one.row or 0))
    return Sheet(
        file_name=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        majors=pd.DataFrame(sorted(reader.majors.items()), columns=["code", "name_zh"]),
        classes=pd.DataFrame(
            [(code, *said) for code, said in sorted(reader.classes.items())],
            columns=["code", "name_zh", "sheet", "row"],
        ),
        conditions=pd.DataFrame(reader.conditions, columns=columns, dtype=object),
        kinds=frozenset(code[0] for code in reader.classes),
        findings=reader.findings,
    )


def errors_of(findings: Sequence[SheetFinding]) -> list[SheetFinding]:
    """Those that forbid taking the sheet over."""
    return [found for found in findings if RULES[found.rule].severity == "error"]


def alike(text: str) -> str:
    """A name or condition without what people write now so, now so: width of signs, spaces."""
    return re.sub(r"\s", "", unicodedata.normalize("NFKC", text))


@dataclass
class _Header:
    row: int
    at: dict[str, int]  #: column of COLUMNS → place in the row
    said: dict[str, str]  #: its header in the file
    basis: str | None  #: unit of bare numbers of limits, if the header names one


class _Reader:
    """Reads sheet after sheet; codes and names of majors are one's for the whole file."""

    def __init__(self, kind: str | None) -> None:
        self.kind = kind
        self.findings: list[SheetFinding] = []
        self.majors: dict[str, str] = {}
        self.classes: dict[str, tuple[str, str, int]] = {}
        self.conditions: list[tuple[object, ...]] = []
        self.lettered = False  #: each code says its kind itself
        self.tops: set[str] = set()  #: columns whose cell in this row is no later part of a merge

    def find(
        self, rule: str, row: int | None = None, column: str | None = None, value: str | None = None, detail: str = ""
    ) -> None:
        if rule in OF_A_CELL and column not in self.tops:
            return  # told at the first cell of its merge
        shown = None if column is None else self.header.said.get(column, COLUMNS[column][0])
        value = None if value is None else value[:KEPT_VALUE]
        self.findings.append(
            SheetFinding(rule=rule, sheet=self.sheet.title, row=row, column=shown, value=value, detail=detail)
        )

    def read(self, sheet: RawSheet) -> None:
        self.sheet, self.header = sheet, _Header(0, {}, {}, None)
        found = self._header()
        if sheet.hidden:
            if found is not None:
                self.find("hidden_sheet")
            return
        if found is None:
            self.find("sheet_left_out")
            return
        self.header = found
        missing = [name for name in NEEDED if name not in found.at]
        for name in missing:
            self.find("columns", found.row, name)
        if missing:
            return
        rows = {row: cells for row, cells in sheet.rows.items() if row > found.row}
        for row, column in sheet.across:
            if row > found.row and sum(bool(cell.text) for cell in rows.get(row, [])) > 1:
                self.find("merged_columns", row, value=self._text(rows.get(row, []), column - 1))
        kind = self._kind(rows)
        if kind is None and "kind" not in found.at and not self.lettered:
            self.find("sheet_kind")
            return
        self._rows(rows, kind)

    # ── what the sheet is ──

    def _header(self) -> _Header | None:
        names = {alike(name): column for column, all_ in COLUMNS.items() for name in all_}
        for row in list(self.sheet.rows)[:HEADER_ROWS]:
            at: dict[str, int] = {}
            said, twice, strange, basis = {}, [], [], None
            for place, cell in enumerate(self.sheet.rows[row]):
                plain, _, inside = alike(cell.text).rstrip(")").partition("(")
                column = names.get(plain)
                if column is None:
                    strange += [cell.text] if plain else []
                elif column in at:
                    twice.append(column)
                else:
                    at[column], said[column] = place, cell.text.strip()
                    basis = unit_of(inside) if column == "limit" and inside else basis
            if len(at) < 3 or not {"code", "name", "condition"} & set(at):
                continue
            header = _Header(row, at, said, basis)
            if not self.sheet.hidden:
                self.header = header
                for column in twice:
                    self.find("column_twice", row, column)
                for text in strange:
                    self.find("column_unknown", row, value=text)
            return header
        return None

    def _kind(self, rows: dict[int, list[Cell]]) -> str | None:
        title = self.sheet.title
        part, event = "部件" in title, "事件" in title or "事项" in title
        self.lettered = False
        if part != event:
            return "C" if part else "E"
        letters = {text[:1].upper() for text in (self._text(cells, "code").strip() for cells in rows.values()) if text}
        self.lettered = bool(letters) and letters <= {"C", "E"}
        return next(iter(letters)) if self.lettered and len(letters) == 1 else self.kind

    # ── its rows ──

    def _rows(self, rows: dict[int, list[Cell]], kind: str | None) -> None:
        width = self._width(rows)
        major = code = ""
        of_merge: dict[tuple[str, int], set[str]] = {}
        seen: dict[tuple[str, str], tuple[object, ...]] = {}
        filled: set[str] = set()
        before: set[str] = set()
        for row, cells in rows.items():
            texts = self._texts(row, cells)
            if texts is None:
                continue
            letter = self._row_kind(row, texts, kind)
            if letter is None:
                continue
            begins = bool(texts["code"] or texts["name"])
            of_major = alike(texts["major_code"]).isdecimal()  # else a remark below the table
            if not begins and not of_major and not any(texts[name] for name in ("condition", "closing", "limit")):
                self.find("row_left_out", row, value=" ".join(filter(None, texts.values())))
                continue
            if texts["major_code"]:
                major = self._major(row, letter, texts)
            if begins:
                new = self._class(row, letter, texts, major, code, width)
                if new is None:
                    code = ""
                    continue
                if new != code and new in before:
                    self.find("row_apart", row, "code", texts["code"])
                code, major = new, new[:3]
                before.add(code)
                if texts["major_name"] and not texts["major_code"]:
                    self._name_major(row, major, texts["major_name"])
            if not code:
                if not begins and texts["condition"]:
                    self.find("code_missing", row, "code", texts["condition"])
                continue
            for name in ("condition", "closing", "limit"):
                merge = self._cell(cells, name).merge
                if merge is not None:
                    of_merge.setdefault((name, merge), set()).add(code)
                    if len(of_merge[name, merge]) == 2:
                        self.find("merged_across", row, name, texts[name])
            if self._condition(row, code, texts, seen):
                filled.add(code)
        for code in before - filled:
            _, title, row = self.classes[code]
            if title == self.sheet.title:
                self.find("no_condition", row, "condition", detail=f"{code} {self.classes[code][0]}")
        for major in sorted({code[:3] for code in before} - set(self.majors)):
            row = min(self.classes[code][2] for code in before if code[:3] == major)
            self.find("major_missing", row, "major_name", major)
            self.majors[major] = major

    def _condition(
        self, row: int, code: str, texts: dict[str, str], seen: dict[tuple[str, str], tuple[object, ...]]
    ) -> bool:
        condition, closing, said = texts["condition"], texts["closing"], texts["limit"]
        if not condition:
            if (closing and "closing" in self.tops) or (said and "limit" in self.tops):
                self.find("condition_missing", row, "condition", closing or said)
            return False
        limit: Limit | None = None
        if said:
            limit = parse_limit(said, self.header.basis)
            if limit is None:
                self.find("limit_unknown", row, "limit", said)
        else:
            self.find("limit_missing", row, "limit", detail=condition[:KEPT_VALUE])
        if not closing and "closing" in self.header.at:
            self.find("closing_missing", row, "closing", detail=condition[:KEPT_VALUE])
        rest = (closing or None, limit)
        key = code, alike(condition)
        if key in seen:
            self.find("condition_repeated" if seen[key] == rest else "condition_twice", row, "condition", condition)
            return True
        seen[key] = rest
        value, basis = (limit.value, limit.basis) if limit else (None, None)
        units = texts["disposal_unit"] or None, texts["supervising_unit"] or None
        self.conditions.append((code, condition, closing or None, value, basis, *units))
        return True

    def _row_kind(self, row: int, texts: dict[str, str], kind: str | None) -> str | None:
        said = texts["kind"]
        letter = "C" if "部件" in said else "E" if "事" in said else kind
        own = re.match("[CE]", alike(texts["code"]).upper())
        if letter is None:
            letter = own[0] if own else None
            if letter is None:
                self.find("sheet_kind", row, "kind", said)
                return None
        if (own and own[0] != letter) or (kind is not None and letter != kind):
            self.find("kind_mixed", row, "code", texts["code"] or said)
            return None
        return letter

    def _major(self, row: int, letter: str, texts: dict[str, str]) -> str:
        digits = self._digits(row, "major_code", texts["major_code"])
        if len(digits) == 1:
            self.find("digits_lost", row, "major_code", texts["major_code"])
            digits = f"0{digits}"
        if not re.fullmatch("[0-9]{2}", digits):
            self.find("code_form", row, "major_code", texts["major_code"])
            return ""
        self._name_major(row, letter + digits, texts["major_name"])
        return letter + digits

    def _name_major(self, row: int, major: str, name: str) -> None:
        if not name:
            return
        known = self.majors.setdefault(major, name)
        if alike(known) != alike(name):
            self.find("major_names", row, "major_name", name, detail=f"{major} {known}")

    def _class(self, row: int, letter: str, texts: dict[str, str], major: str, code: str, width: int) -> str | None:
        """The code of the class that a row begins or goes on with; None when it is of none."""
        name, said = texts["name"], texts["code"]
        if not said:
            if code and alike(name) == alike(self.classes[code][0]):
                return code
            self.find("code_missing", row, "code", name)
            return None
        digits = self._digits(row, "code", said)
        full = digits if len(digits) == width else ""
        if len(digits) == width - 1 and digits.isdecimal():
            full = f"0{digits}"
            self.find("digits_lost", row, "code", said)
        elif len(digits) <= width - 2 and digits.isdecimal():
            if not major:
                self.find("major_missing", row, "major_code", said)
                return None
            if len(digits) < width - 2:
                self.find("digits_lost", row, "code", said)
            full = major[1:] + digits.zfill(width - 2)
        if not full.isdecimal():
            self.find("code_form", row, "code", said)
            return None
        found = letter + full
        if major and found[:3] != major:
            self.find("code_without_major", row, "code", said, detail=major)
            return None
        if found in self.classes:
            known = self.classes[found][0]
            if name and alike(name) != alike(known):
                self.find("code_repeated", row, "code", said, detail=f"{found} {known} / {name}")
                return None
            return found
        if not name:
            self.find("name_missing", row, "name", said)
            return None
        self.classes[found] = (name, self.sheet.title, row)
        return found

    def _width(self, rows: dict[int, list[Cell]]) -> int:
        """Digits of a whole code: five where a code shows it (01001, or 001 with its zeros), else four."""
        for cells in rows.values():
            cell = self._cell(cells, "code")
            digits = re.sub("^[CE]", "", alike(cell.text).upper())
            if len(digits) == 5 or (len(digits) == 3 and digits.startswith("0")):
                return 5
        return 4

    # ── its cells ──

    def _texts(self, row: int, cells: list[Cell]) -> dict[str, str] | None:
        """The row's texts by column, trimmed; None when one of them is a fault that cannot be read."""
        texts, faulty = {}, False
        self.tops = {name for name in COLUMNS if self._cell(cells, name).top}
        for name in COLUMNS:
            cell = self._cell(cells, name)
            if cell.fault == "day":  # Excel has made a date of it
                self.find("limit_unknown" if name == "limit" else "code_form", row, name, cell.text)
            elif cell.fault:
                self.find(cell.fault, row, name, cell.text)
            faulty = faulty or cell.fault is not None
            trimmed = re.sub(r"[^\S ]*[\r\n]+\s*", "", cell.text.replace("\xa0", " ").replace("\u3000", " "))
            trimmed = "".join(sign for sign in trimmed if unicodedata.category(sign) not in ("Cc", "Cf")).strip()
            if trimmed != cell.text and trimmed:
                self.find("spaces", row, name, cell.text)
            texts[name] = trimmed
        repeated = alike(texts["code"]) == alike(self.header.said["code"])  # the header again, as on each printed page
        return None if faulty or repeated or not any(texts.values()) else texts

    def _digits(self, row: int, column: str, text: str) -> str:
        plain = unicodedata.normalize("NFKC", text)
        if plain != text:
            self.find("full_width", row, column, text)
        plain = re.sub(r"\s", "", plain).upper()
        plain = re.sub(r"^([0-9]+)\.0$", r"\1", plain)
        return re.sub("^[CE]", "", plain)

    def _cell(self, cells: list[Cell], name: str) -> Cell:
        place = self.header.at.get(name)
        return cells[place] if place is not None and place < len(cells) else Cell()

    def _text(self, cells: list[Cell], name: str | int) -> str:
        if isinstance(name, str):
            return self._cell(cells, name).text
        return cells[name].text if name < len(cells) else ""


def tally(findings: Sequence[SheetFinding]) -> Iterator[tuple[str, list[SheetFinding]]]:
    """The findings by rule, the gravest first."""
    for rule in RULES:
        own = [found for found in findings if found.rule == rule]
        if own:
            yield rule, own
