"""What a run of a census import found: rows by fate, findings by rule, what differs. Pure data, for every report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import geopandas as gpd
import pandas as pd

Severity = Literal["error", "warning", "note"]
#: What becomes of a row: new; same; confirmed (only the day of the survey is new); changed (fields); moved (metres);
#: ambiguous (several matches, not decided); refused (it has an error); and of the inventory's: gone (retired).
FATES: Mapping[str, tuple[str, str]] = {
    "new": ("new", "新增"),
    "same": ("the same", "不变"),
    "confirmed": ("confirmed by the survey", "核实无变化"),
    "changed": ("changed", "属性变更"),
    "moved": ("moved", "位置变更"),
    "gone": ("gone", "消失"),
    "ambiguous": ("ambiguous", "匹配不唯一"),
    "refused": ("refused", "不合格"),
}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule of the check."""

    severity: Severity
    en: str  #: what it says, as a heading
    zh: str
    mend: str
    mend_zh: str


@dataclass(kw_only=True)
class CensusReport:
    """One run over one file. Geometry is in the city's system; instants are UTC."""

    file_name: str
    city: tuple[str, str]  #: Chinese, English
    srid: int
    simulated: bool
    committed: bool  #: False: a dry run, nothing was changed
    census_id: int | None  #: number of the import, when it was promoted
    rows: int  #: of the file
    #: layer, class_code, class_zh, class_en and one column per fate of FATES (numbers of rows)
    counts: pd.DataFrame
    rules: Mapping[str, Rule]  #: by name; all rules that were applied
    tally: Mapping[str, int]  #: by rule, how many findings there are; the frame keeps 100 000 of a rule
    #: One line per finding: rule, severity, layer (of the file), row (from 1), code, field, value (as text), detail_en,
    #: detail_zh, geometry (of the row, or of the component concerned; None where there is none)
    findings: gpd.GeoDataFrame
    #: One line per row of the fates changed, moved, gone, ambiguous, new: fate, layer, row, code, class_code,
    #: fields (comma separated), before, after (as text), moved_m, geometry
    differences: gpd.GeoDataFrame
    surveyed: gpd.GeoDataFrame | None = None  #: the surveyed extent (one row), if it was stated
    seconds: dict[str, float] = field(default_factory=dict)  #: by stage: read, check, compare, promote

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(many for rule, many in self.tally.items() if self.rules[rule].severity == "error")

    def total(self, fate: str) -> int:
        """How many rows (or components, for gone) have a fate."""
        return int(self.counts[fate].sum()) if len(self.counts) else 0

    @property
    def changes(self) -> int:
        """How many components an import would touch."""
        return sum(self.total(fate) for fate in ("new", "confirmed", "changed", "moved", "gone"))
