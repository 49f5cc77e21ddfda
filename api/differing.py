"""What differs between two instants, in lines and as a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import geopandas as gpd
import pandas as pd

from api.legend import Pair
from gis.written import write_vector
from grids.city import City
from layers.difference import FATES


def difference_lines(found: gpd.GeoDataFrame) -> Iterator[Pair]:
    """How many of each class are new, changed, moved and retired, as English and Chinese lines."""
    if found.empty:
        yield "no difference", "没有差异"
        return
    counts = pd.crosstab([found["class_code"], found["class_zh"], found["class_en"]], found["fate"])
    counts = counts.reindex(columns=list(FATES), fill_value=0)
    yield (
        "class    " + "".join(en.rjust(9) for en, _ in FATES.values()),
        "类别     " + "".join(" " * 5 + zh for _, zh in FATES.values()),
    )
    for (code, zh, en), row in zip(counts.index.to_list(), counts.to_numpy(), strict=True):
        numbers = code.ljust(9) + "".join(f"{many:,}".rjust(9) for many in row) + "  "
        yield numbers + str(en or zh), numbers + str(zh)
    sums = "".join(f"{many:,}".rjust(9) for many in counts.sum())
    yield "all      " + sums, "合计     " + sums


def difference_file(found: gpd.GeoDataFrame, path: Path, city: City, *, overwrite: bool = False) -> None:
    """Write the differences as a layer: fields, before and after as texts. Raises as write_vector."""
    fields = [dict(one) for one in found["fields"]]
    frame = found.assign(
        fields=[", ".join(one) for one in fields],
        before=[_said(one, 0) for one in fields],
        after=[_said(one, 1) for one in fields],
        at=pd.to_datetime(found["at"], utc=True).dt.tz_convert(ZoneInfo(city.timezone)).astype(str),
        simulated=city.simulated,
    ).drop(columns="matched")
    order = ["code", "class_code", "class_zh", "class_en", "fate", "fields", "before", "after", "moved_m"]
    order += ["old_cell", "new_cell", "at", "actor", "reason", "simulated", "geometry"]
    write_vector(frame[order], path, layer="component_changes", overwrite=overwrite)


def _said(fields: dict[str, Any], which: int) -> str:
    values = {name: pair[which] for name, pair in fields.items()}
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in values.items()
    }
    return "; ".join(f"{name}: {'—' if values[name] is None else text}" for name, text in texts.items())
