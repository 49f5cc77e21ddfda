"""A new edition of the catalogue: what it would change and what rests on the classes it ends; putting it in force."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
from sqlalchemy import Connection

from cases.classes import ClassRule, open_cases_of, rules_of
from gis.db import query
from grids.city import City
from layers.catalogue import editions, read_edition, rows_of
from layers.revision import FIELDS, Revision, adopt, compare_edition, compare_sheet, differences, hold_catalogue, use
from layers.sheet import COLUMNS, KINDS, RULES, Sheet, read_sheet, tally
from layers.sheet_file import write_file

Line = tuple[str, str]
SHOWN = 12  #: findings of a rule, differences, classes that are printed one by one
WHAT = {"major": ("majors", "大类"), "class": ("classes", "小类"), "condition": ("conditions", "立案条件")}
SEVERITIES = {"error": ("error", "错误"), "warning": ("warning", "警告"), "note": ("note", "提示")}
HEADER = [names[0] for column, names in COLUMNS.items() if column != "kind"]
MERGED = 6  #: columns of the sheet that are merged when it is written: all but condition, result and limit


@dataclass(frozen=True, kw_only=True)
class UsedClass:
    """A class that the new edition has not, or calls otherwise, and what uses it; that all stays as it is."""

    code: str
    name_zh: str
    name_en: str
    components: int
    open_cases: int
    rules: tuple[str, ...]
    new_name_zh: str | None  #: None: it is gone


@dataclass(frozen=True, kw_only=True)
class Review:
    """What a sheet or an edition would change, and whether it did."""

    revision: Revision
    used: list[UsedClass]  #: gone, then renamed; only those that something uses
    rules: list[ClassRule]  #: that name a class, major or condition which is no more
    edition: str  #: the code of what came, or would come, into force
    sheet: Sheet | None = None  #: none for an edition that is there
    since: datetime | None = None  #: in force since then; None: nothing was changed
    same_as: str | None = None  #: an edition of before that says what the sheet says


def take_over(
    conn: Connection,
    city: City,
    path: Path,
    *,
    kind: str | None = None,
    code: str | None = None,
    actor: str,
    reason: str | None = None,
    commit: bool = False,
) -> Review:
    """Read a sheet, compare it with the edition in force; with ``commit`` make it a new edition that is in force.

    The transaction is the caller's. Raises UnfitFile; with ``commit`` also Invalid for a sheet with errors.
    A sheet that says what is in force changes nothing.
    """
    if commit:
        hold_catalogue(conn)
    sheet = read_sheet(path, kind)
    revision = compare_sheet(conn, sheet)
    wanted = code or _free_code(conn, f"{city.id}-{datetime.now(ZoneInfo(city.timezone)):%Y-%m-%d}")
    since = None
    review = replace(_review(conn, revision, wanted, sheet), same_as=_same_as(conn, revision))
    if commit and (revision.errors or len(revision.differences)):
        since = adopt(conn, revision, sheet, wanted, actor=actor, reason=reason)
    return _since(review, since, city)


def put_back(
    conn: Connection, city: City, edition: str, *, actor: str, reason: str | None = None, commit: bool = False
) -> Review:
    """What it would change to put an edition that is there in force; with ``commit`` it is done. NotFound, Conflict."""
    if commit:
        hold_catalogue(conn)
    review = _review(conn, compare_edition(conn, edition), edition, None)
    return _since(review, use(conn, edition, actor=actor, reason=reason) if commit else None, city)


def _since(review: Review, since: datetime | None, city: City) -> Review:
    return replace(review, since=None if since is None else since.astimezone(ZoneInfo(city.timezone)))


def _same_as(conn: Connection, revision: Revision) -> str | None:
    """Another edition of the city that says the same, if there is one."""
    others = [row["code"] for row in editions(conn) if row["kind"] == "city" and row["code"] != revision.base]
    found = (code for code in others if differences(read_edition(conn, code), revision.tables).empty)
    return next(found, None)


def _free_code(conn: Connection, wanted: str) -> str:
    taken = {row["code"] for row in editions(conn)}
    tries = (wanted if number == 1 else f"{wanted}-{number}" for number in range(1, len(taken) + 2))
    return next(code for code in tries if code not in taken)


def _review(conn: Connection, revision: Revision, edition: str, sheet: Sheet | None) -> Review:
    renamed = revision.renamed
    codes = [*revision.gone, *renamed]
    lost = rules_of(conn, [*revision.gone, *revision.gone_majors], revision.gone_conditions)
    rules = [*lost, *rules_of(conn, list(renamed), [])]
    counted = conn.execute(query("layers", "components_of_classes"), {"codes": codes})
    components = {row.class_code: row.components for row in counted}
    cases = open_cases_of(conn, codes)
    names = {row.code: row for row in rows_of(read_edition(conn, revision.base).classes)}
    every = [
        UsedClass(
            code=code,
            name_zh=names[code].name_zh,
            name_en=names[code].name_en,
            components=components.get(code, 0),
            open_cases=cases.get(code, 0),
            rules=tuple(sorted({rule.code for rule in rules if rule.class_prefix == code})),
            new_name_zh=renamed.get(code),
        )
        for code in codes
    ]
    used = [one for one in every if one.components or one.open_cases or one.rules]
    return Review(revision=revision, used=used, rules=lost, edition=edition, sheet=sheet)


# ── in words ────────────────────────────────────────


def review_lines(review: Review) -> Iterator[Line]:
    """The review in words, English and Chinese."""
    revision = review.revision
    if review.sheet is not None:
        yield from _said_of_sheet(review.sheet, revision)
    table = revision.differences
    if table.empty:
        yield (
            f"nothing differs from {revision.base}, which is in force: nothing was changed",
            f"与现行版本 {revision.base} 没有差异,未作更改",
        )
        return
    yield f"against {revision.base}, which is in force:", f"与现行版本 {revision.base} 相比:"
    for what, (en, zh) in WHAT.items():
        own = table[table["what"] == what]
        new, gone = (int((own["fate"] == fate).sum()) for fate in ("new", "gone"))
        changed = own[own["fate"] == "changed"]
        fields = Counter(changed["field"].tolist())
        detail = ", ".join(f"{FIELDS[name][0]} {many}" for name, many in fields.items())
        detail_zh = "、".join(f"{FIELDS[name][1]} {many}" for name, many in fields.items())
        things = len(changed[["code", "no"]].drop_duplicates())
        yield (
            f"  {en:<11}{new} new, {things} changed{f' ({detail})' if detail else ''}, {gone} gone",
            f"  {zh:<6}新增 {new},变更 {things}{f'({detail_zh})' if detail_zh else ''},取消 {gone}",
        )
    limits = rows_of(table[table["field"] == "limit"])
    for row in limits[:SHOWN]:
        text = f"    {row.code} / {row.no}  {row.before or '-'} → {row.after or '-'}"
        yield text, text
    yield from _more(len(limits))
    yield from _said_of_use(review)
    if review.same_as is not None and review.since is None:
        yield (
            f"edition {review.same_as} says the same: 'wanmi catalogue use {review.same_as}' puts it in force again",
            f"版本 {review.same_as} 与此内容相同:可用 wanmi catalogue use {review.same_as} 使其重新生效",
        )
    if revision.errors:
        yield (
            "nothing was changed; mend the errors first (--out writes all)",
            "未作更改;请先更正错误(用 --out 写出全部)",
        )
    elif review.since is None:
        yield (
            f"nothing was changed; --commit puts {review.edition} in force",
            f"未作更改;加 --commit 使 {review.edition} 成为现行版本",
        )
    else:
        since = f"{review.since:%Y-%m-%d %H:%M:%S}"
        yield (
            f"{review.edition} is in force since {since}; cases and components keep their edition",
            f"{review.edition} 自 {since} 起为现行版本;既有案件与部件保持原版本",
        )


def _said_of_sheet(sheet: Sheet, revision: Revision) -> Iterator[Line]:
    counts = [int((sheet.classes["code"].str[:1] == letter).sum()) for letter in KINDS]
    yield (
        f"{sheet.file_name}: {counts[0]} component and {counts[1]} event classes, {len(sheet.conditions)} conditions",
        f"{sheet.file_name}:部件小类 {counts[0]},事件小类 {counts[1]},立案条件 {len(sheet.conditions)}",
    )
    for name, found in tally(revision.findings):
        rule = RULES[name]
        en, zh = SEVERITIES[rule.severity]
        counted = f"{len(found):>5}  "
        yield f"  {en:<8}{counted}{rule.en}: {rule.mend}", f"  {zh:<6}{counted}{rule.zh}:{rule.mend_zh}"
        for one in found[:SHOWN]:
            at = f"{one.sheet} {one.row or ''}".strip()
            said = "  ".join(filter(None, (at, one.column, repr(one.value) if one.value else "", one.detail)))
            yield f"    {said}", f"    {said}"
        yield from _more(len(found))


def _said_of_use(review: Review) -> Iterator[Line]:
    for gone in (True, False):
        used = [one for one in review.used if (one.new_name_zh is None) == gone]
        for one in used[:SHOWN]:
            en, zh = ("is gone", "取消") if gone else (f"→ {one.new_name_zh}", f"→ {one.new_name_zh}")
            rules = ", ".join(one.rules) or "-"
            yield (
                f"  WARNING {one.code} {one.name_en} {en}: {one.components:,} components and {one.open_cases:,} open "
                f"cases keep what they have; rules {'without use' if gone else 'that go on'}: {rules}",
                f"  警告:{one.code} {one.name_zh} {zh}:{one.components:,} 个部件、{one.open_cases:,} 件未结案件"
                "保持原状;"
                f"{'不再适用' if gone else '继续适用'}的规则:{rules}",
            )
        yield from _more(len(used))
    told = {code for one in review.used for code in one.rules}
    for rule in [rule for rule in review.rules if rule.code not in told][:SHOWN]:
        what = rule.class_prefix if rule.condition_no is None else f"{rule.class_prefix} / {rule.condition_no}"
        yield (
            f"  WARNING rule {rule.code} is for {what}, which is gone",
            f"  警告:规则 {rule.code} 针对的 {what} 已取消",
        )


def _more(many: int) -> Iterator[Line]:
    if many > SHOWN:
        yield f"    … and {many - SHOWN} more (--out writes all)", f"    … 另有 {many - SHOWN} 项(用 --out 写出全部)"


def write_review(review: Review, path: Path) -> None:
    """All findings and differences as CSV."""
    columns = ["what", "fate", "code", "no", "field", "sheet", "row", "value", "before", "after"]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.DictWriter(file, columns, restval="")
        table.writeheader()
        for one in review.revision.findings:
            rule = RULES[one.rule]
            where = {"field": one.column, "sheet": one.sheet, "row": one.row, "value": one.value, "before": one.detail}
            table.writerow({"what": rule.severity, "fate": one.rule, "after": f"{rule.mend} | {rule.mend_zh}", **where})
        for row in rows_of(review.revision.differences):
            table.writerow({key: value for key, value in row._asdict().items() if not pd.isna(value)})


# ── the sheet of an edition ────────────────────────────────────────


def write_sheet(conn: Connection, edition: str, path: Path) -> int:
    """Write an edition as a city's sheet: two sheets of nine columns (.xlsx), or one table with 类型 before (.csv).

    Read again it says what the edition says. Returns the rows. NotFound for an edition that is none.
    """
    tables = read_edition(conn, edition)
    limits = tables.limit_texts()
    majors = dict(zip(tables.majors["code"], tables.majors["name_zh"], strict=True))
    conditions: dict[str, list[tuple[str | None, ...]]] = {}
    for row in rows_of(tables.conditions):
        texts = (row.condition_zh, row.closing_result_zh, limits.get((row.class_code, row.no)))
        units = (row.disposal_unit_zh, row.supervising_unit_zh)
        conditions.setdefault(row.class_code, []).append((*units, *texts))
    sheets, count = [], 0
    for letter, (_, title) in KINDS.items():
        lines = [HEADER]
        for row in rows_of(tables.classes[tables.classes["code"].str[0] == letter]):
            major = row.code[:3]
            known = [row.code[1:3], majors[major], row.code[1:], row.name_zh]
            lines += [[*known, *(text or "" for text in said)] for said in conditions.get(row.code, [(None,) * 5])]
        count += len(lines) - 1
        sheets.append((title, lines))
    if path.suffix.lower() == ".csv":
        every = [[title, *line] for title, lines in sheets for line in lines[1:]]
        sheets = [("", [[COLUMNS["kind"][0], *HEADER], *every])]
    write_file(path, sheets, merged=MERGED)
    return count
