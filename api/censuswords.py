"""What the reports of a census run say in words, whatever they are written on. Chinese and English.

The values of a file are hostile text: ``shown`` makes them one harmless line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from layers.census_report import FATES, CensusReport

Line = tuple[str, str]  #: English, Chinese
SEVERITIES: Mapping[str, Line] = {"error": ("error", "错误"), "warning": ("warning", "警告"), "note": ("note", "提示")}
#: The fates that the differences show one by one, the gravest first; without "refused": those are the findings.
DIFFERENT = ("ambiguous", "gone", "moved", "changed", "new")
LONGEST = 120


def shown(value: Any, longest: int = LONGEST) -> str:
    """A value of a file on one line: nothing for none, what cannot be printed as ``·``, cut to ``longest``."""
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return ""
    text = str(value)[: longest + 1]
    text = "".join(letter if letter.isprintable() else "·" for letter in text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def standing(report: CensusReport) -> Line:
    """Whether anything was changed, in one sentence."""
    if not report.committed:
        return "a dry run, nothing was changed", "试运行，未作任何更改"
    if report.census_id is None:
        return "nothing differed, nothing was changed", "与现有部件一致，未作任何更改"
    return f"imported, number {report.census_id}", f"已入库，导入编号 {report.census_id}"


def title(report: CensusReport) -> Line:
    """City, file and rows."""
    file = shown(report.file_name)
    return f"{report.city[1]}: {file}, {report.rows:,} rows", f"{report.city[0]}：{file}，共 {report.rows:,} 行"


def totals(report: CensusReport) -> dict[str, int]:
    """How many rows have each fate, of those that occur, in the order of FATES."""
    return {fate: many for fate in FATES if (many := report.total(fate))}


def counted(report: CensusReport) -> pd.DataFrame:
    """The counts by class and layer, in the order of the classes' codes; rows of an unknown class last."""
    if report.counts.empty:
        return report.counts
    return report.counts.sort_values(["class_code", "layer"], na_position="last", ignore_index=True)


def rules_met(report: CensusReport) -> list[str]:
    """The rules that found something, the gravest first, then in the order of the rules."""
    gravity = {severity: rank for rank, severity in enumerate(SEVERITIES)}
    order = {rule: rank for rank, rule in enumerate(report.rules)}
    met = [rule for rule, many in report.tally.items() if many]
    return sorted(met, key=lambda rule: (gravity[report.rules[rule].severity], order[rule]))


def steps(report: CensusReport) -> Iterator[Line]:
    """What to do next."""
    number = report.census_id
    if report.committed:
        if number is not None:
            yield f"wanmi census undo {number} takes it back as a whole", f"如需整体撤销：wanmi census undo {number}"
        return
    refused, ambiguous = report.total("refused"), report.total("ambiguous")
    if report.errors:
        yield (
            f"correct the {refused:,} refused rows and run it again, or leave them out with --skip-errors",
            f"请更正 {refused:,} 行不合格数据后重新运行，或用 --skip-errors 略去",
        )
    if ambiguous:
        yield (
            f"{ambiguous:,} rows may mean several components and stay out: give them codes",
            f"{ambiguous:,} 行可能对应多个部件，不予入库：请补充编码",
        )
    if report.surveyed is None:
        yield (
            "the mapping states no extent: nothing counts as gone",
            "映射文件未说明调查范围：不判定消失",
        )
    if report.changes:
        options = "--commit --skip-errors" if report.errors else "--commit"
        yield (
            f"{options} makes it the inventory: {report.changes:,} components are touched",
            f"加 {options} 正式入库：涉及 {report.changes:,} 个部件",
        )
    else:
        yield "nothing differs from the inventory", "与现有部件无差异"
