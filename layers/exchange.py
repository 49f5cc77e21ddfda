"""Components as files carry them: our field names or a standard's, attributes as fields, and the mapping back.

The 2013 names are those of GB/T 30428.2 as practised (ObjID, DeptCode1 …, for codes of 16 digits), the 2026 names
those of GB/T 47678.5 (GLBJBSM, ZGBMDM …). Whatever a standard has no field for follows under our names: a standard
allows extension fields. Pure: no database in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import pandas as pd

from gis.errors import Invalid

Names = Literal["ours", "standard", "standard-2026"]
STATES_ZH: Mapping[str, str] = {
    "intact": "完好",
    "damaged": "破损",
    "lost": "丢失",
    "abandoned": "废弃",
    "removed": "移除",
}
#: our field → the 2013 edition's and the 2026 edition's
_STANDARD: Mapping[str, tuple[str, str]] = {
    "code": ("ObjID", "GLBJBSM"),
    "name_zh": ("ObjName", "GLBJMC"),
    "supervising_unit": ("DeptCode1", "ZGBMDM"),
    "supervising_name": ("DeptName1", "ZGBMMC"),
    "owner_unit": ("DeptCode2", "QSDWDM"),
    "owner_name": ("DeptName2", "QSDWMC"),
    "maintainer_unit": ("DeptCode3", "YHDWDM"),
    "maintainer_name": ("DeptName3", "YHDWMC"),
    "cell_code": ("BGID", "SZDYWGBSM"),
    "state": ("ObjState", "GLBJZT"),
    "surveyed_on": ("ORDate", "CSRQ"),
    "changed_on": ("CHDate", "BGRQ"),
    "data_source": ("DataSource", "SJLY"),
}
_PLACES = {"street_code": "SZJDDM", "street_name": "SZJDMC", "community_code": "SZSQDM", "community_name": "SZSQMC"}
FIELDS = (
    *("code", "edition", "class_code", "class_zh", "name_zh", "state"),
    *("supervising_unit", "supervising_name", "owner_unit", "owner_name", "maintainer_unit", "maintainer_name"),
    *("surveyed_on", "changed_on", "data_source", "source_key", "cell_code", "fingerprint", "simulated"),
)
#: key of a census mapping → our field
_MAPPED: Mapping[str, str] = {
    "code": "code",
    "class_field": "class_code",
    "name_zh": "name_zh",
    "state": "state",
    "supervising_unit": "supervising_unit",
    "owner_unit": "owner_unit",
    "maintainer_unit": "maintainer_unit",
    "surveyed_field": "surveyed_on",
    "changed_field": "changed_on",
    "key": "source_key",
    "source_field": "data_source",
    "base": "fingerprint",
}
REST = "attrs_json"  #: attributes that fit no field: nested ones, and ones that are text here and a number there


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Components as a file carries them."""

    frame: gpd.GeoDataFrame
    attributes: Mapping[str, str]  #: attribute → field
    fields: Mapping[str, str]  #: our field → field, of those that are there
    rest: bool  #: whether some attributes are in REST


def component_fields(components: gpd.GeoDataFrame, names: Names = "ours") -> Fields:
    """Components (columns FIELDS, attrs as dicts, street_name, community_name) under the names wanted.

    Attributes become fields of their own name (``attrs.x`` where the name is taken); numbers stay numbers, whole ones
    whole. Raises Invalid when codes do not fit the standard whose names are wanted.
    """
    ours = components[[name for name in FIELDS if name in components.columns]].copy()
    if "simulated" in ours and not ours["simulated"].any():
        ours = ours.drop(columns="simulated")
    known = {name: name for name in ours.columns}
    if names != "ours":
        _want_digits(components["code"], 16 if names == "standard" else 17, names)
        which = 0 if names == "standard" else 1
        known = {name: _STANDARD[name][which] if name in _STANDARD else name for name in ours.columns}
        order = [name for name in _STANDARD if name in ours] + [name for name in ours if name not in _STANDARD]
        ours = _in_standard(ours, names)[order].rename(columns=known)
        objname = known.pop("name_zh")  # a standard wants a name: the class's, where a component has none
        if components["name_zh"].notna().any():
            ours["name_zh"], known["name_zh"] = components["name_zh"], "name_zh"
        ours[objname] = components["name_zh"].fillna(components["class_zh"])
        if names == "standard-2026":
            cells = components["cell_code"]
            places = {"street_code": cells.str[:9], "community_code": cells.str[:12]}
            for place, field_name in _PLACES.items():
                ours[field_name] = places[place] if place in places else components[place]
    columns, attributes, rest = _attributes(components["attrs"], {str(name).lower() for name in ours.columns})
    table = pd.concat([ours.reset_index(drop=True), columns], axis=1)
    frame = gpd.GeoDataFrame(table, geometry=components.geometry.to_numpy(), crs=components.crs)
    return Fields(frame=frame, attributes=attributes, fields=known, rest=rest)


def mapping_back(
    made: Fields, names: Mapping[str, str] | None = None, *, crs: Any = None, layers: tuple[str, ...] = ()
) -> str:
    """The mapping (TOML) by which ``wanmi census import`` reads the file back.

    names : field → the name that the file has for it, where that differs; crs: as Reference.table writes it
    layers : of a file of several
    """
    short = dict(names or {})
    lines = ["# Written by wanmi export: reads this file back with wanmi census import FILE --map THIS"]
    if crs is not None:
        lines.append(f"crs = {_toml(crs)}")
    for key, ours in _MAPPED.items():
        named = made.fields.get(ours)
        if named is not None:
            lines.append(f"{key} = {_toml(short.get(named, named))}")
    if layers and any(line.startswith("key = ") for line in lines):
        lines.append('key_prefix = ""')  # else the layer's name
    table = {name: short.get(column, column) for name, column in made.attributes.items()}
    if layers:
        lines.append(f"attributes = {_toml(table)}")
        for layer in layers:
            lines += ["", "[[layer]]", f"name = {_toml(layer)}"]
    else:
        lines += ["", "[attributes]", *(f"{_key(name)} = {_toml(column)}" for name, column in table.items())]
    return "\n".join(lines) + "\n"


def _want_digits(codes: pd.Series, digits: int, names: Names) -> None:
    odd = codes[codes.str.len() != digits]
    if len(odd):
        other = "standard-2026" if digits == 16 else "standard"
        raise Invalid(
            f"{len(odd):,} codes have not {digits} digits, such as {odd.iloc[0]}: --names {names} is for those",
            f"{len(odd):,} 个编码不是 {digits} 位，如 {odd.iloc[0]}，不能使用 --names {names}",
            mend=f"use --names {other} or --names ours, or narrow the export with --class",
            mend_zh=f"请使用 --names {other} 或 --names ours，或用 --class 缩小范围",
            field="names",
        )


def _in_standard(ours: pd.DataFrame, names: Names) -> pd.DataFrame:
    """States in Chinese; the 2026 edition writes days as eight digits."""
    ours = ours.assign(state=ours["state"].map(STATES_ZH))
    if names == "standard-2026":
        for name in ("surveyed_on", "changed_on"):
            days = [None if pd.isna(day) else f"{day:%Y%m%d}" for day in ours[name]]
            ours[name] = pd.Series(days, index=ours.index, dtype=object)
    return ours


def _attributes(attrs: pd.Series, taken: set[str]) -> tuple[pd.DataFrame, dict[str, str], bool]:
    """The attributes as columns, which attribute is in which, and whether some had to stay JSON."""
    values = [dict(one) for one in attrs]
    names = sorted({name for one in values for name in one})
    columns: dict[str, Any] = {}
    attributes: dict[str, str] = {}
    rest: list[str] = []
    for name in names:
        column = _column([one.get(name) for one in values])
        if column is None:
            rest.append(name)
            continue
        made = name
        while made.lower() in taken or made.lower() in ("geometry", REST, "x", "y", "wkt", "fid"):
            made = f"attrs.{made}"
        taken.add(made.lower())
        attributes[name] = made
        columns[made] = column
    if rest:
        left = [{name: one[name] for name in rest if name in one} for one in values]
        columns[REST] = pd.Series(
            [json.dumps(one, ensure_ascii=False, sort_keys=True) if one else None for one in left], dtype=object
        )
    return pd.DataFrame(columns, index=pd.RangeIndex(len(values))), attributes, bool(rest)


def _column(values: list[Any]) -> pd.Series | None:
    """The values as a column of one kind; None if they are of several, or nested."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {str}:
        return pd.Series(values, dtype=object)
    if kinds == {bool}:
        return pd.Series(pd.array(values, dtype="boolean"))
    if kinds == {int} and all(value is None or abs(value) < 2**63 for value in values):
        return pd.Series(pd.array(values, dtype="Int64"))
    if kinds <= {int, float} and all(not isinstance(value, int) or abs(value) < 2**53 for value in values):
        return pd.Series([np.nan if value is None else float(value) for value in values], dtype=np.float64)
    return None


def _key(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(str(key))} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
