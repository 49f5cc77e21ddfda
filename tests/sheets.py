"""Sheets of a city (立结案标准) for tests: small ones as people make them, as Excel workbooks or CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from openpyxl import Workbook

HEADER = ["大类代码", "大类名称", "小类代码", "小类名称", "处置单位", "主管部门", "立案条件", "结案条件", "处置时限"]
#: The hamlet's catalogue as its own sheet: a row each, as a person would merge them.
PARTS = [
    ["01", "公用设施", "0101", "供水井盖", None, None, "缺失", "恢复", "2紧急工作时"],
    ["01", "公用设施", "0137", "路灯", None, None, None, None, None],
]
EVENTS = [
    ["01", "市容环境", "0101", "私搭乱建", None, None, None, None, None],
    ["01", "市容环境", "0102", "暴露垃圾", None, None, "道路两侧", "清除", "4小时"],
    ["01", "市容环境", "0102", "暴露垃圾", None, None, "广场", "清除", "1天"],
]


def merged_down(rows: Sequence[Sequence[Any]], columns: Iterable[int], first: int) -> Iterable[tuple[int, int, int]]:
    """Where equal cells follow each other within what is equal to their left: first row, last row, column."""
    for column in columns:
        start = 0
        for at in range(1, len(rows) + 1):
            if at == len(rows) or list(rows[at][: column + 1]) != list(rows[start][: column + 1]):
                if at - start > 1 and rows[start][column] is not None:
                    yield first + start, first + at - 1, column + 1
                start = at


def workbook(
    path: Path,
    parts: Sequence[Sequence[Any]] | None = PARTS,
    events: Sequence[Sequence[Any]] | None = EVENTS,
    *,
    header: Sequence[Any] = HEADER,
    title: str | None = None,
    merge: Iterable[int] = range(4),
    names: tuple[str, str] = ("部件", "事件"),
) -> Path:
    """A workbook with the two sheets (None: without), cells merged downwards in the columns ``merge``."""
    book = Workbook()
    book.remove(book.active)
    for name, rows in zip(names, (parts, events), strict=True):
        if rows is None:
            continue
        sheet = book.create_sheet(name)
        if title is not None:
            sheet.append([title])
            sheet.merge_cells(start_row=1, end_row=1, start_column=1, end_column=len(header))
        sheet.append(list(header))
        for row in rows:
            sheet.append(list(row))
        for start, end, column in merged_down(rows, list(merge), sheet.max_row - len(rows) + 1):
            sheet.merge_cells(start_row=start, end_row=end, start_column=column, end_column=column)
    book.save(path)
    return path


def table(
    path: Path, rows: Sequence[Sequence[Any]], *, header: Sequence[str] = HEADER, encoding: str = "utf-8"
) -> Path:
    """A CSV file."""
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path
