"""The rules by which the rows of a census are judged, and the findings: row, field, value, rule, severity, mend."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gis.crs import city_crs
from layers.census_report import Rule

MOST_KEPT = 100_000  #: findings of one rule that are kept one by one; all are counted


def _read_rules() -> dict[str, Rule]:
    with Path(__file__).with_name("census_rules.csv").open(encoding="utf-8", newline="") as table:
        return {row.pop("rule"): Rule(**row) for row in csv.DictReader(table)}  # type: ignore[arg-type]


RULES: Mapping[str, Rule] = _read_rules()  #: in the order in which they are told
COLUMNS = [
    "rule",
    "severity",
    "layer",
    "row",
    "code",
    "class_code",
    "field",
    "value",
    "detail_en",
    "detail_zh",
    "geometry",
]


class Findings:
    """Collects findings batch by batch; counts all, keeps MOST_KEPT of each rule."""

    def __init__(self, srid: int) -> None:
        self.srid = srid
        self.layer = ""
        self.counts: Counter[str] = Counter()
        self._kept: list[pd.DataFrame] = []
        self._waiting: list[tuple[str, NDArray[np.int64], str | None, Any, Any, Any]] = []
        self._bad: NDArray[np.bool_] = np.zeros(0, dtype=bool)

    def begin(self, rows: pd.DataFrame) -> None:
        """The findings that follow are about these rows, by their position."""
        self._waiting, self._bad = [], np.zeros(len(rows), dtype=bool)

    def add(
        self, rule: str, where: Any, *, field: str | None = None, values: Any = None, en: Any = None, zh: Any = None
    ) -> None:
        """A finding at each row where the mask is true.

        values : one value, or a column as long as the batch;  en, zh : details, one text or one for each finding
        """
        at = np.flatnonzero(where)
        if not len(at):
            return
        if RULES[rule].severity == "error":
            self._bad[at] = True
        if isinstance(values, pd.Series):
            values = values.iloc[at[:MOST_KEPT]].tolist()
        self._waiting.append((rule, at, field, values, en, zh))

    def end(self, rows: pd.DataFrame) -> NDArray[np.bool_]:
        """The batch is judged: its findings get code, class and place. Returns which rows have an error."""
        for rule, at, field, values, en, zh in self._waiting:
            self.keep(rule, rows.iloc[at[: self.room(rule)]], len(at), field=field, values=values, en=en, zh=zh)
        self._waiting = []
        return self._bad

    def room(self, rule: str) -> int:
        """How many more findings of a rule are kept."""
        return max(0, MOST_KEPT - self.counts[rule])

    def keep(
        self,
        rule: str,
        rows: pd.DataFrame,
        many: int,
        *,
        field: str | None = None,
        values: Any = None,
        en: Any = None,
        zh: Any = None,
    ) -> None:
        """``many`` findings of a rule; ``rows`` (row, code, class_code, geometry, if need be layer) are kept."""
        self.counts[rule] += many
        if not len(rows):
            return
        table = pd.DataFrame({"rule": rule, "severity": RULES[rule].severity, "row": rows["row"].to_numpy()})
        table["layer"] = rows["layer"].to_numpy() if "layer" in rows else self.layer
        table["code"], table["class_code"] = rows["code"].to_numpy(), rows["class_code"].to_numpy()
        table["field"] = field
        table["value"] = _shown(values, len(rows))
        table["detail_en"], table["detail_zh"] = _details(en, len(rows)), _details(zh, len(rows))
        table["geometry"] = rows["geometry"].to_numpy(dtype=object)
        self._kept.append(table[COLUMNS])

    def frame(self) -> gpd.GeoDataFrame:
        """All that were kept, the gravest first."""
        if not self._kept:
            return gpd.GeoDataFrame(columns=COLUMNS, geometry="geometry", crs=city_crs(self.srid))
        every = pd.concat([part.astype(object) for part in self._kept], ignore_index=True)
        weight = every["severity"].map({"error": 0, "warning": 1, "note": 2}).to_numpy()
        rank = every["rule"].map({rule: rank for rank, rule in enumerate(RULES)}).to_numpy()
        order = np.lexsort((np.arange(len(every)), rank.astype(int), weight.astype(int)))
        return gpd.GeoDataFrame(every.iloc[order].reset_index(drop=True), geometry="geometry", crs=city_crs(self.srid))


def _shown(values: Any, many: int) -> list[str | None]:
    """Values as text for people, not longer than a line."""
    each: Sequence[Any] = values[:many] if isinstance(values, list) else [values] * many
    return [None if value is None or value is pd.NaT or value != value else str(value)[:200] for value in each]


def _details(words: Any, many: int) -> list[str | None]:
    return list(words[:many]) if isinstance(words, list) else [words] * many
