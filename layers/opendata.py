"""What, from a city's open data: units, catalogue and rules from tables, components from point layers.

The tables (``majors.csv``, ``classes.csv``, ``conditions.csv``, ``rules.csv``, ``units.csv``, ``types.csv``) are
read as text and checked against each other; the component layers are named in ``city.toml``. A component has
the district of its place in its code, so a point outside every district cannot be coded: it is dropped and
counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from gis.errors import UnfitFile
from grids.opendata import owner_of
from grids.opendata_files import Finding, Profile, finding, read_layer

TABLES = {
    "majors": ["code", "name_zh", "name_en"],
    "classes": ["code", "name_zh", "name_en", "geometry_type", "accuracy_class", "source"],
    "conditions": [
        "class_code",
        "no",
        "condition_zh",
        "condition_en",
        "limit_value",
        "limit_basis",
        "closing_result_zh",
        "roles",
        "source",
    ],
    "rules": [
        "code",
        "class_prefix",
        "condition_no",
        "area_prefix",
        "roles",
        "zone",
        "source_document",
        "source_on",
    ],
    "units": ["code", "name_zh", "name_en", "kind", "parent_code", "area_code"],
    "types": ["code", "description", "name_zh", "name_en", "class_code", "condition_no", "misspelt"],
}
NUMBERS: dict[str, Any] = {"no": "Int64", "condition_no": "Int64", "limit_value": "Float64"}
BLANK_IS_ANY = ("class_prefix", "area_prefix")  #: in rules, "" says "any"; it is not a missing value

COMPONENT_COLUMNS = [
    "code",
    "class_code",
    "name_zh",
    "supervising_unit",
    "owner_unit",
    "maintainer_unit",
    "state",
    "surveyed_on",
    "data_source",
    "source_key",
    "attrs",
    "geometry",
]


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """One table of :data:`TABLES` with its columns; text blank → None, numbers nullable.

    Raises UnfitFile naming the file, the column and (for a number) the line for what is missing or wrong.
    """
    path = folder / f"{name}.csv"
    mend = {
        "mend": "take the file from the repository again, or correct what is named",
        "mend_zh": "从代码库重新取得该文件，或改正所指之处",
    }
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError as gone:
        en, zh = f"there is no file {path.name} in {folder}", f"{folder} 中没有文件 {path.name}"
        raise UnfitFile(en, zh, file=path, **mend) from gone
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as bad:
        en, zh = f"{path.name} cannot be read as CSV: {bad}", f"{path.name} 无法按 CSV 读取：{bad}"
        raise UnfitFile(en, zh, file=path, **mend) from bad
    lacking = ", ".join(column for column in TABLES[name] if column not in table)
    if lacking:
        en, zh = f"{path.name} has no column {lacking}", f"{path.name} 缺少列 {lacking}"
        raise UnfitFile(en, zh, file=path, field=lacking, **mend)
    out = pd.DataFrame(index=table.index)
    for column in TABLES[name]:
        text = table[column].str.strip()
        if column in NUMBERS:
            number = pd.to_numeric(text.where(text != ""), errors="coerce")
            wrong = (number.isna() & (text != "")).to_numpy()
            if wrong.any():
                line = int(np.flatnonzero(wrong)[0]) + 2
                en, zh = (
                    f"{path.name} line {line}: {column} is not a number",
                    f"{path.name} 第 {line} 行：{column} 不是数字",
                )
                raise UnfitFile(en, zh, file=path, field=column, line=line, **mend)
            out[column] = number.astype(NUMBERS[column])
        elif column in BLANK_IS_ANY:
            out[column] = text.astype(object)
        else:
            out[column] = text.astype(object).where(text != "", None)
    return out


def read_catalogue(folder: Path, profile: Profile, areas: gpd.GeoDataFrame) -> dict[str, pd.DataFrame]:
    """majors, classes, conditions, rules, units (with territorial bodies) and types, checked against each other.

    types (of requests) are empty for a city without requests.
    Raises UnfitFile for a code that is repeated or that another table does not have.
    """
    frames = {name: read_table(folder, name) for name in TABLES if name != "types" or "requests" in profile}
    frames.setdefault("types", pd.DataFrame(columns=TABLES["types"], dtype=object))
    rules, units = frames["rules"], frames["units"]
    rules["source_on"] = [date.fromisoformat(day) for day in rules["source_on"]]
    zones = [None if pd.isna(zone) else shapely.from_wkt(zone) for zone in rules["zone"]]
    rules["zone"] = pd.Series(zones, index=rules.index, dtype=object)
    frames["units"] = pd.concat([units, territorial_units(profile, areas)], ignore_index=True)
    classes = set(frames["classes"]["code"])
    filed = set(zip(frames["conditions"]["class_code"], frames["conditions"]["no"], strict=True))
    kinds = frames["types"]
    for name in ("majors", "classes", "rules", "units", "types"):
        codes = frames[name]["code"]
        _none_may_be(folder, name, "code", codes[codes.duplicated()], "is repeated", "重复")
    _known(folder, "classes", "code", frames["classes"]["code"].str[:3], set(frames["majors"]["code"]))
    _known(folder, "conditions", "class_code", frames["conditions"]["class_code"], classes)
    _known(folder, "types", "class_code", kinds["class_code"], classes)
    pairs = zip(kinds["class_code"], kinds["condition_no"], strict=True)
    lost = [f"{code}/{no}" for code, no in pairs if (code, no) not in filed]
    _none_may_be(folder, "types", "condition_no", lost, "is no row of conditions.csv", "在 conditions.csv 中不存在")
    named = frames["rules"]["roles"].str.split("|").explode().str.strip()
    fixed = named[named.str.startswith("unit:")].str.removeprefix("unit:")
    _known(folder, "rules", "roles", fixed, set(frames["units"]["code"]))
    used = [spec["class"] for spec in profile.get("component", [])]
    used += [profile["requests"]["other_class"]] if "requests" in profile else []
    _known(folder, "classes", "code", used, classes)
    bodies = [spec[key] for spec in profile.get("component", []) for key in UNIT_KEYS if key in spec]
    _known(folder, "units", "code", bodies, set(frames["units"]["code"]))
    return frames


UNIT_KEYS = ("supervising", "owner", "maintainer")


def _known(folder: Path, table: str, column: str, codes: Iterable[Any], known: set[Any]) -> None:
    lost = sorted({str(code) for code in codes if code not in known})
    _none_may_be(folder, table, column, lost, "is not known", "不存在")


def _none_may_be(folder: Path, table: str, column: str, codes: Iterable[Any], en: str, zh: str) -> None:
    names = ", ".join(str(code) for code in codes)
    if names:
        raise UnfitFile(
            f"{table}.csv, {column}: {names} {en}",
            f"{table}.csv 的 {column} 列：{names} {zh}",
            mend=f"correct {table}.csv or city.toml in {folder}",
            mend_zh=f"改正 {folder} 中的 {table}.csv 或 city.toml",
            file=folder / f"{table}.csv",
            field=column,
        )


def territorial_units(profile: Profile, areas: gpd.GeoDataFrame) -> pd.DataFrame:
    """The body of each area whose level says ``unit_kind``: code "T" + area code, parent = the body above."""
    width = {"district": 6, "street": 9, "community": 12}
    rows: list[dict[str, Any]] = []
    made: set[str] = set()
    for level in profile["areas"]["level"]:
        if "unit_kind" not in level:
            continue
        for area in areas[areas["code"].str.len() == width[level["name"]]].itertuples():
            above = f"T{area.code[:-3]}"
            rows.append(
                {
                    "code": f"T{area.code}",
                    "name_zh": level["unit_zh"].format(name=area.name_zh),
                    "name_en": level["unit_en"].format(name=area.name_en),
                    "kind": level["unit_kind"],
                    "parent_code": above if above in made else None,
                    "area_code": area.code,
                }
            )
        made = {row["code"] for row in rows}
    return pd.DataFrame(rows, columns=TABLES["units"], dtype=object)


def read_components(
    profile: Profile, source: Path, areas: gpd.GeoDataFrame, classes: pd.DataFrame
) -> tuple[gpd.GeoDataFrame, list[Finding]]:
    """Components of all layers in ``[[component]]``, in the city's CRS, with 16-digit codes.

    The serial counts within (district, class) in the order of the layers in ``city.toml`` and of each layer's
    key, which is kept as source_key "layer/key" (a census of the same source finds it by that). A layer's columns
    named in ``attrs`` become attributes; blanks are left away. A city may have none: they come with a census.
    """
    found: list[Finding] = []
    districts = areas[areas["code"].str.len() == 6]
    names = dict(zip(classes["code"], classes["name_zh"], strict=True))
    parts = []
    for spec in profile.get("component", []):
        columns = [spec["key"], *spec["attrs"], *(spec[c] for c in ("surveyed", "state") if c in spec)]
        file = spec.get("file", profile["areas"]["file"])
        raw = read_layer(source, file, spec["layer"], columns, frozenset({"Point"})).to_crs(profile["srid"])
        raw = raw.sort_values(spec["key"], kind="stable", ignore_index=True)
        points = np.asarray(raw.geometry.array)
        district = owner_of(points, districts)
        inside = pd.notna(district)
        if not inside.all():
            found.append(
                finding(
                    f"points of layer {spec['layer']} outside every area",
                    f"图层 {spec['layer']} 中不在任何区域内的点",
                    int((~inside).sum()),
                    "left out: a component's code begins with its district",
                    "未入库：部件编码以所在区的代码开头",
                )
            )
        part = pd.DataFrame({"district": district, "class_code": spec["class"], "geometry": points})
        part["name_zh"] = names[spec["class"]]
        for key in UNIT_KEYS:
            part[f"{key}_unit"] = spec.get(key)
        part["state"] = raw[spec["state"]].map(spec["states"]).fillna("intact") if "state" in spec else "intact"
        part["surveyed_on"] = surveyed(raw, spec)
        part["data_source"] = spec["data_source"]
        keys = [row.get(spec["key"]) for row in _attributes(raw, [spec["key"]])]
        part["source_key"] = [None if key is None else f"{spec['layer']}/{key}" for key in keys]
        part["attrs"] = pd.Series(_attributes(raw, list(dict.fromkeys([spec["key"], *spec["attrs"]]))))
        parts.append(part[inside])
    if not parts:
        return gpd.GeoDataFrame(columns=COMPONENT_COLUMNS, geometry="geometry", crs=profile["srid"]), found
    every = pd.concat(parts, ignore_index=True)
    head = every["district"].astype(str) + every["class_code"].str[1:]
    serial = every.groupby(head).cumcount() + 1
    every["code"] = head + serial.map("{:06d}".format)
    shared = pd.Series(shapely.to_wkb(np.asarray(every["geometry"], dtype=object)))
    together = pd.DataFrame({"class_code": every["class_code"], "wkb": shared}).duplicated(keep=False)
    if together.any():
        found.append(
            finding(
                "components that share their point with another of the same class (two meters on one post)",
                "与同类部件坐标完全相同的部件（如一杆两表）",
                int(together.sum()),
                "kept, each with a code of its own",
                "保留，各有编码",
            )
        )
    frame = gpd.GeoDataFrame(every, geometry="geometry", crs=profile["srid"])
    return frame[COMPONENT_COLUMNS], found


def surveyed(raw: pd.DataFrame, spec: dict[str, Any]) -> list[date | None]:
    """Day of the survey per row: the column ``surveyed``, or the one day ``surveyed_on``, else None (unknown)."""
    if "surveyed" in spec:
        return [None if pd.isna(day) else day.date() for day in pd.to_datetime(raw[spec["surveyed"]])]
    return [spec.get("surveyed_on")] * len(raw)


def _attributes(raw: pd.DataFrame, columns: list[str]) -> list[dict[str, Any]]:
    """One JSON-able dict per row; blanks and missing values left away, whole numbers as int."""

    def plain(value: Any) -> Any:
        if isinstance(value, str):
            return value.strip() or None
        if value is None or pd.isna(value):
            return None
        if isinstance(value, int):
            return value
        if isinstance(value, float | np.floating):
            return int(value) if float(value).is_integer() else float(value)
        return value.item() if isinstance(value, np.generic) else str(value)

    rows = zip(*(map(plain, raw[column]) for column in columns), strict=True)
    return [{c: v for c, v in zip(columns, row, strict=True) if v is not None} for row in rows]
