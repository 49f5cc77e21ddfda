"""A city's sheet is read as it is meant, and whatever is wrong with it is said: sheet, row, column, value, mend."""

from __future__ import annotations

import shutil
import time
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook, load_workbook

from gis.errors import UnfitFile
from layers.limits import MOST, UNITS, Limit, parse_limit
from layers.sheet import RULES, Sheet, errors_of, read_sheet
from layers.sheet_file import write_file
from tests.sheets import EVENTS, HEADER, PARTS, table, workbook

# ── limits ────────────────────────────────────────

LIMITS = st.builds(
    Limit, st.integers(1, int(MOST)).map(float) | st.sampled_from([0.5, 1.5, 2.25]), st.sampled_from([*UNITS])
)


@given(LIMITS)
def test_a_limit_that_is_written_is_read_again(limit: Limit) -> None:
    assert parse_limit(limit.zh) == limit


@given(LIMITS, st.sampled_from(["", " ", "\u3000", "\n"]), st.sampled_from(["", "内", "以内"]), st.booleans())
def test_how_a_limit_is_written_does_not_matter(limit: Limit, space: str, within: str, wide: bool) -> None:
    number = f"{limit.value:g}"
    if wide:
        number = "".join(chr(ord(sign) + 0xFEE0) for sign in number)
    for unit in UNITS[limit.basis]:
        assert parse_limit(f"{space}{number}{space}个{unit}{within}") == limit
        assert parse_limit(f"不超过{number}{unit}") == limit


@given(st.text(max_size=12) | st.text("0123456789.半一二十两个天小时紧急工作日内/-至", max_size=12))
def test_no_text_is_too_strange_and_none_becomes_a_limit_of_nothing(text: str) -> None:
    limit = parse_limit(text)
    assert limit is None or (0 < limit.value <= MOST and limit.basis in UNITS)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("4小时", Limit(4, "work_hour")),
        ("15天", Limit(15, "work_day")),
        ("2紧急工作时", Limit(2, "urgent_hour")),
        ("1紧急工作日", Limit(1, "urgent_day")),
        ("2个工作日", Limit(2, "work_day")),
        ("3自然日", Limit(3, "urgent_day")),
        ("十五天", Limit(15, "work_day")),
        ("两小时", Limit(2, "work_hour")),
        ("半天", Limit(0.5, "work_day")),
        ("二十个工作日", Limit(20, "work_day")),
        *(
            (text, None)
            for text in ("", "4", "0小时", "立即", "4小时/7天", "2-3天", "30分钟", "三三天", "天", "-1天", "9999天")
        ),
    ],
)
def test_limits_as_people_write_them(text: str, limit: Limit | None) -> None:
    assert parse_limit(text) == limit


# ── what is read ────────────────────────────────────────


def rules(sheet: Sheet) -> list[str]:
    return [found.rule for found in sheet.findings]


def same(one: Sheet, other: Sheet) -> bool:
    """The same content, whatever the layout."""
    classes = [sheet.classes[["code", "name_zh"]] for sheet in (one, other)]
    return all(
        a.reset_index(drop=True).equals(b.reset_index(drop=True))
        for a, b in [(one.majors, other.majors), tuple(classes), (one.conditions, other.conditions)]
    )


def test_two_sheets_with_merges_and_a_title_are_read_without_a_word(tmp_path: Path) -> None:
    sheet = read_sheet(workbook(tmp_path / "a.xlsx", title="试验村立案、处置、结案标准"))
    assert [tuple(row) for row in sheet.majors.to_numpy()] == [("C01", "公用设施"), ("E01", "市容环境")]
    assert sheet.classes["code"].tolist() == ["C0101", "C0137", "E0101", "E0102"]
    assert sheet.conditions[["class_code", "condition_zh", "value", "basis"]].to_numpy().tolist() == [
        ["C0101", "缺失", 2.0, "urgent_hour"],
        ["E0102", "道路两侧", 4.0, "work_hour"],
        ["E0102", "广场", 1.0, "work_day"],
    ]
    assert sheet.kinds == {"C", "E"}
    assert rules(sheet) == ["no_condition", "no_condition"]  # of the lamp and of illegal construction
    assert {(found.sheet, found.row, found.column) for found in sheet.findings} == {
        ("部件", 4, "立案条件"),
        ("事件", 3, "立案条件"),
    }


WORDS = st.text("井盖路灯垃圾甲乙丙丁", min_size=1, max_size=5)
ROWS = st.dictionaries(
    st.tuples(st.integers(1, 3), st.integers(1, 9)),
    st.tuples(WORDS, st.lists(st.tuples(WORDS, WORDS, LIMITS), min_size=1, max_size=3, unique_by=lambda row: row[0])),
    min_size=1,
    max_size=6,
)


def rows_of(said: dict[Any, Any]) -> list[list[Any]]:
    rows = []
    for (major, minor), (name, conditions) in sorted(said.items()):
        head = [f"{major:02}", f"大类{major}", f"{major:02}{minor:02}", name, "单位", "部门"]
        rows += [[*head, condition, closing, limit.zh] for condition, closing, limit in conditions]
    return rows


@settings(max_examples=15)
@given(parts=ROWS, events=ROWS, order=st.permutations(range(9)))
def test_layout_does_not_change_what_a_sheet_says(
    tmp_path_factory: pytest.TempPathFactory, parts: Any, events: Any, order: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("sheets")
    plain = read_sheet(workbook(folder / "plain.xlsx", rows_of(parts), rows_of(events), merge=()))
    assert not errors_of(plain.findings), plain.findings
    assert len(plain.conditions) == len(rows_of(parts)) + len(rows_of(events))
    merged = read_sheet(workbook(folder / "merged.xlsx", rows_of(parts), rows_of(events), merge=range(9)))
    moved = [[[row[at] for at in order] for row in rows_of(said)] for said in (parts, events)]
    turned = read_sheet(workbook(folder / "turned.xlsx", *moved, header=[HEADER[at] for at in order], merge=()))
    short = [
        [*(None if at and row[:4] == rows[at - 1][:4] else text for text in row[:4]), *row[4:]]
        for rows in (rows_of(parts),)
        for at, row in enumerate(rows)
    ]
    blank = read_sheet(workbook(folder / "blank.xlsx", short, rows_of(events), merge=()))
    minor = [[*row[:2], row[2][2:], *row[3:]] for row in rows_of(parts)]
    two = read_sheet(workbook(folder / "minor.xlsx", minor, rows_of(events), merge=range(2)))
    own = [("部件", [HEADER, *rows_of(parts)]), ("事件", [HEADER, *rows_of(events)])]
    write_file(folder / "own.xlsx", own, merged=6)
    ours = read_sheet(folder / "own.xlsx")
    for other in (merged, turned, blank, two, ours):
        assert same(plain, other)
    table(folder / "部件.csv", rows_of(parts), encoding="gb18030")
    one = read_sheet(folder / "部件.csv")
    assert one.classes["code"].tolist() == [code for code in plain.classes["code"] if code[0] == "C"]
    shutil.rmtree(folder)


def test_headers_by_other_names_and_a_unit_in_the_header(tmp_path: Path) -> None:
    header = [
        "大类编码",
        "大类",
        "小类编码",
        "小类",
        "责任单位",
        "主管单位",
        "立案标准",
        "结案标准",
        "处置时限（小时）",
    ]
    rows = [[*PARTS[0][:8], 4], ["01", "公用设施", "0102", "污水井盖", None, None, "破损", "更换", "2天"]]
    sheet = read_sheet(workbook(tmp_path / "a.xlsx", rows, None, header=header))
    assert sheet.conditions["basis"].tolist() == ["work_hour", "work_day"]
    assert not sheet.findings


def test_five_digits_where_the_sheet_shows_them(tmp_path: Path) -> None:
    rows = [["01", "公用设施", "001", "供水井盖", *PARTS[0][4:]], ["01", "公用设施", "01037", "路灯", *PARTS[0][4:]]]
    sheet = read_sheet(workbook(tmp_path / "a.xlsx", rows, None))
    assert sheet.classes["code"].tolist() == ["C01001", "C01037"]
    assert not sheet.findings


def test_one_table_of_both_kinds_by_a_column_or_by_letters(tmp_path: Path) -> None:
    both = [["部件", *PARTS[0]], ["事件", *EVENTS[1]]]
    sheet = read_sheet(table(tmp_path / "all.csv", both, header=["类型", *HEADER], encoding="utf-8-sig"))
    assert sheet.classes["code"].tolist() == ["C0101", "E0102"]
    letters = [[*row[:2], letter + row[2], *row[3:]] for letter, row in (("C", PARTS[0]), ("E", EVENTS[1]))]
    assert same(read_sheet(table(tmp_path / "letters.csv", letters)), sheet)


# ── what is wrong with it ────────────────────────────────────────


def row(**changes: Any) -> list[Any]:
    """A good row of the components, but for what is given by column."""
    good = dict(
        zip(HEADER, ["01", "公用设施", "0101", "供水井盖", "甲", "乙", "缺失", "恢复", "2紧急工作时"], strict=True)
    )
    return list({**good, **changes}.values())


@pytest.mark.parametrize(
    ("rows", "rule", "at", "column", "value"),
    [
        ([row(处置时限="马上")], "limit_unknown", 2, "处置时限", "马上"),
        ([row(处置时限="4小时/7天")], "limit_unknown", 2, "处置时限", "4小时/7天"),
        ([row(处置时限=None)], "limit_missing", 2, "处置时限", None),
        ([row(结案条件=" ")], "closing_missing", 2, "结案条件", None),
        ([row(立案条件=None)], "condition_missing", 2, "立案条件", "恢复"),
        ([row(小类代码="01x1")], "code_form", 2, "小类代码", "01x1"),
        ([row(小类代码="010101")], "code_form", 2, "小类代码", "010101"),
        ([row(大类代码="公")], "code_form", 2, "大类代码", "公"),
        ([row(小类代码="0201")], "code_without_major", 2, "小类代码", "0201"),
        ([row(大类代码=None, 大类名称=None, 小类代码="01")], "major_missing", 2, "大类代码", "01"),
        ([row(大类名称=None)], "major_missing", 2, "大类名称", "C01"),
        (
            [row(), row(大类名称="别的设施", 小类代码="0102", 小类名称="污水井盖")],
            "major_names",
            3,
            "大类名称",
            "别的设施",
        ),
        ([row(小类代码=None)], "code_missing", 2, "小类代码", "供水井盖"),
        ([row(小类名称=None)], "name_missing", 2, "小类名称", "0101"),
        ([row(), row(小类名称="污水井盖")], "code_repeated", 3, "小类代码", "0101"),
        ([row(), row(小类代码="0102", 小类名称="污水井盖"), row(立案条件="破损")], "row_apart", 4, "小类代码", "0101"),
        ([row(), row()], "condition_repeated", 3, "立案条件", "缺失"),
        ([row(), row(处置时限="5天")], "condition_twice", 3, "立案条件", "缺失"),
        ([row(小类代码="E0101")], "kind_mixed", 2, "小类代码", "E0101"),
        ([row(大类代码=1, 小类代码=101)], "digits_lost", 2, "大类代码", "1"),
        ([row(小类代码=101)], "digits_lost", 2, "小类代码", "101"),
        ([row(小类代码="０１０１")], "full_width", 2, "小类代码", "０１０１"),
        ([row(小类名称="供水\n井盖 ")], "spaces", 2, "小类名称", "供水\n井盖 "),
        ([row(处置时限="=A2/0")], "formula_empty", 2, "处置时限", ""),
        ([row(处置时限="#REF!")], "formula_error", 2, "处置时限", "#REF!"),
        ([row(处置时限=pd.Timestamp("2026-01-02"))], "limit_unknown", 2, "处置时限", "2026-01-02 00:00:00"),
        ([row(), ["注：以上时限自派遣时起算", *[None] * 8]], "row_left_out", 3, None, "注：以上时限自派遣时起算"),
        ([row(), [None, None, None, None, "制表：张三", *[None] * 4]], "row_left_out", 3, None, "制表：张三"),
    ],
)
def test_a_fault_is_told_where_it_is(
    tmp_path: Path, rows: list[list[Any]], rule: str, at: int, column: str | None, value: str | None
) -> None:
    sheet = read_sheet(workbook(tmp_path / "a.xlsx", rows, None, merge=()))
    found = [one for one in sheet.findings if one.rule == rule]
    assert found, sheet.findings
    assert (found[0].sheet, found[0].row, found[0].column, found[0].value or "") == ("部件", at, column, value or "")
    if RULES[rule].severity == "error":
        assert errors_of(sheet.findings)
    else:
        assert sheet.classes["code"].tolist()[:1] == ["C0101"]
        assert sheet.classes["name_zh"].tolist()[:1] == ["供水井盖"]


@pytest.mark.parametrize(
    ("header", "rule"),
    [
        ([*HEADER[:8], "期限说明"], "columns"),
        ([*HEADER[:7], "立案标准", "处置时限"], "column_twice"),
        ([*HEADER[:4], "备用", *HEADER[5:]], "column_unknown"),
        (["甲", "乙", "丙", "丁", *["戊"] * 5], "sheet_left_out"),
    ],
)
def test_a_header_that_is_not_whole(tmp_path: Path, header: list[str], rule: str) -> None:
    sheet = read_sheet(workbook(tmp_path / "a.xlsx", [row()], None, header=header))
    assert rule in rules(sheet)


def test_a_merge_over_several_classes_is_told(tmp_path: Path) -> None:
    rows = [row(), row(小类代码="0102", 小类名称="污水井盖")]
    path = workbook(tmp_path / "a.xlsx", rows, None, merge=(0, 1))
    book = load_workbook(path)
    book["部件"].merge_cells("I2:I3")
    book["部件"].merge_cells("E2:F2")
    book.save(path)
    sheet = read_sheet(path)
    assert rules(sheet) == ["merged_across", "merged_columns"]
    assert sheet.conditions["value"].tolist() == [2.0, 2.0]


def test_hidden_and_foreign_sheets_are_not_read_and_a_sheet_of_no_kind_is_refused(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx")
    book = load_workbook(path)
    book["事件"].sheet_state = "hidden"
    book.create_sheet("说明").append(["填表说明"])
    book.save(path)
    sheet = read_sheet(path)
    assert sheet.kinds == {"C"}
    assert {"hidden_sheet", "sheet_left_out"} <= set(rules(sheet))
    bare = workbook(tmp_path / "b.xlsx", PARTS, None, names=("Sheet1", ""))
    assert rules(read_sheet(bare)) == ["sheet_kind"]
    assert same(read_sheet(bare, "C"), read_sheet(workbook(tmp_path / "c.xlsx", PARTS, None)))


def test_many_rows_with_a_fault_each_are_all_told(tmp_path: Path) -> None:
    rows = [
        row(小类代码=f"{n // 100 + 1:02}{n % 100:02}", 大类代码=f"{n // 100 + 1:02}", 处置时限="x") for n in range(500)
    ]
    sheet = read_sheet(workbook(tmp_path / "a.xlsx", rows, None, merge=()))
    assert len([one for one in sheet.findings if one.rule == "limit_unknown"]) == 500


# ── files that are none ────────────────────────────────────────


def broken(folder: Path, what: str) -> Path:
    path = folder / {"text": "a.xlsx", "bytes": "a.csv", "quotes": "b.csv"}.get(what, f"{what}.xlsx")
    if what == "old":
        path.write_bytes(b"\xd0\xcf\x11\xe0" + b"0" * 600)
    elif what == "empty":
        path.write_bytes(b"")
    elif what == "zip":
        with zipfile.ZipFile(path, "w") as parts:
            parts.writestr("x.txt", "x")
    elif what == "bomb":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as parts:
            parts.writestr("xl/worksheets/sheet1.xml", b"\0" * 40_000_000)
    elif what == "merged":
        whole = workbook(folder / "whole.xlsx")
        with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as parts:
            for name in source.namelist():
                text = source.read(name)
                parts.writestr(name, text.replace(b'ref="A2:A3"', b'ref="A2:XFD1048576"'))
    elif what == "cut":
        whole = workbook(folder / "whole.xlsx").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif what == "text":
        path.write_text("a,b", encoding="utf-8")
    elif what == "bytes":
        path.write_bytes(b"\xff\xfe\xff\x00")
    elif what == "quotes":
        path.write_text('a,"b\nc', encoding="utf-8")
    return path


@pytest.mark.parametrize("what", ["old", "empty", "zip", "bomb", "merged", "cut", "text", "bytes", "quotes", "missing"])
def test_a_file_that_is_no_sheet_is_refused_with_what_to_do(tmp_path: Path, what: str) -> None:
    with pytest.raises(UnfitFile) as caught:
        read_sheet(broken(tmp_path, what))
    assert caught.value.mend
    assert caught.value.mend_zh
    assert len(caught.value.en) < 400


def test_an_empty_workbook_is_no_sheet(tmp_path: Path) -> None:
    Workbook().save(tmp_path / "a.xlsx")
    sheet = read_sheet(tmp_path / "a.xlsx")
    assert rules(sheet) == ["nothing_read", "sheet_left_out"]
    assert sheet.classes.empty
    assert not sheet.kinds


def test_a_stray_cell_far_away_is_no_burden(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx")
    book = load_workbook(path)
    book["部件"].cell(1_048_576, 3).value = " "
    book["部件"].cell(1_000_000, 90).value = "x"
    book.save(path)
    started = time.monotonic()
    assert same(read_sheet(path), read_sheet(workbook(tmp_path / "b.xlsx")))
    assert time.monotonic() - started < 2


def test_every_rule_has_words_in_both_languages() -> None:
    for rule in RULES.values():
        assert rule.severity in ("error", "warning", "note")
        assert all((rule.en, rule.zh, rule.mend, rule.mend_zh))
