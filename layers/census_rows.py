"""The rows of a census file as components: codes, classes, states, units, days, attributes, places in our form.

Whatever cannot be brought there is a finding at its row and field; the row goes on, so that all its faults are told at
once. Works on one batch of rows at a time, vectorised over columns, a value that occurs often is looked at once.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from gis.crs import snap
from gis.errors import Invalid
from gis.formats import CODE_LIKE, EXACT
from gis.reference import Reference
from grids.codes import ComponentCode
from layers.attributes import faults
from layers.census_mapping import ROLES, LayerMapping
from layers.census_rules import Findings

STATES: Mapping[str, str] = {
    **{state: state for state in ("intact", "damaged", "lost", "abandoned", "removed")},
    **{"完好": "intact", "破损": "damaged", "丢失": "lost", "废弃": "abandoned", "移除": "removed"},
    **{"良好": "intact", "正常": "intact", "损坏": "damaged", "缺失": "lost", "拆除": "removed"},
}
OLDEST = date(1900, 1, 1)
LONGEST = {"name_zh": 200, "data_source": 500, "source_key": 200}  #: characters
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Known:
    """What rows are read against."""

    classes: frozenset[str]  #: component classes of the catalogue
    unit_ids: Mapping[str, int]  #: by code, and by a name that only one unit has
    unit_values: Mapping[str, str]  #: the mapping's own: values of the file → unit codes
    schemas: Mapping[str, Mapping[str, Any]]  #: component class → JSON Schema of its attributes, where it has one
    srid: int
    today: date


def component_rows(
    frame: pd.DataFrame, flags: Mapping[str, Mask], mapping: LayerMapping, crs: Reference, known: Known, found: Findings
) -> pd.DataFrame:
    """A batch of a file as components.

    frame : fields of the file and ``geometry`` in the file's numbers (read by ``crs``), index = row from 1
    Returns row, code, class_code, name_zh, state, supervising/owner/maintainer_unit_id, surveyed_on, changed_on,
    source_key, attrs (JSON text), geometry (city's system, snapped; None where there is none); missing is None.
    """
    if mapping.where is not None:
        chosen = frame[mapping.where[0]].map(_text).isin(mapping.where[1])
        flags = {name: mask[chosen.to_numpy()] for name, mask in flags.items()}
        frame = frame[chosen]
    out = pd.DataFrame({"row": frame.index.to_numpy()}, index=frame.index)
    out["geometry"] = _geometry(frame, crs, known)
    out["class_code"] = _classes(frame, mapping, known)
    found.begin(out)
    _geometry_faults(out, flags, found)
    out["code"] = _codes(frame, mapping, found)
    if mapping.class_field is not None:
        lacking = out["class_code"].isna().to_numpy()
        found.add("class_unknown", lacking, field=mapping.class_field, values=frame[mapping.class_field])
    else:
        unknown = np.full(len(out), mapping.class_code not in known.classes)
        found.add("class_unknown", unknown, field="class", values=mapping.class_code)
    out["name_zh"] = mapping.name_zh_value if mapping.name_zh is None else _texts(frame[mapping.name_zh], found)
    out["state"] = _states(frame, mapping, found)
    for role in ROLES:
        out[f"{role}_unit_id"] = _units(frame, *mapping.units[role], known, found)
    out["surveyed_on"] = _days(frame, mapping.surveyed_field, known, found, default=mapping.surveyed_on)
    out["changed_on"] = _days(frame, mapping.changed_field, known, found)
    out["data_source"] = None if mapping.source_field is None else _texts(frame[mapping.source_field], found)
    out["source_key"] = _keys(frame, mapping, found, out["code"].notna().to_numpy())
    for name, field in (
        ("name_zh", mapping.name_zh),
        ("data_source", mapping.source_field),
        ("source_key", mapping.key),
    ):
        if field is not None:
            long = out[name].str.len().to_numpy(float) > LONGEST[name]
            found.add("text_long", long, field=field, values=out[name])
    out["base"] = None if mapping.base is None else _texts(frame[mapping.base], found)
    frame = _as_schema(frame, out["class_code"], mapping, known)
    out["attrs"] = _attributes(frame, mapping)
    _domains(frame, out["class_code"], mapping, known, found)
    early = pd.to_datetime(out["changed_on"]) < pd.to_datetime(out["surveyed_on"])
    if mapping.surveyed_field is not None:
        found.add("days_order", early.to_numpy(), field=mapping.changed_field, values=out["changed_on"])
    return out


def attribute_fields(frame: pd.DataFrame, mapping: LayerMapping) -> dict[str, str]:
    """Attribute → field of the file, those of ``all_attributes`` included."""
    if not mapping.all_attributes:
        return dict(mapping.attributes)
    rest = [name for name in frame.columns if name != "geometry" and name not in mapping.fields]
    return {**{str(name).replace("\0", "") or "?": str(name) for name in rest}, **mapping.attributes}


# ── places ────────────────────────────────────────


def _geometry(frame: pd.DataFrame, crs: Reference, known: Known) -> Any:
    """The geometries in the city's system, on the lattice; a multi-part of one part as that part."""
    shapes = frame["geometry"].to_numpy(dtype=object).copy()
    shapes[shapely.is_empty(shapes)] = None
    with np.errstate(all="ignore"):
        shapes = snap(crs.to_city(shapes, known.srid))
    single = np.flatnonzero((shapely.get_type_id(shapes) >= 4) & (shapely.get_num_geometries(shapes) == 1))
    shapes[single] = shapely.get_geometry(shapes[single], 0)
    column = np.empty(len(shapes), dtype=object)
    column[:] = shapes
    return column


def _geometry_faults(out: pd.DataFrame, flags: Mapping[str, Mask], found: Findings) -> None:
    shapes = out["geometry"].to_numpy(dtype=object)
    lost = flags.get("unreadable", np.zeros(len(out), dtype=bool))
    found.add("geometry_unreadable", lost, field="geometry")
    found.add("no_geometry", shapely.is_missing(shapes) & ~lost, field="geometry")
    bounds = shapely.bounds(shapes)
    there = ~shapely.is_missing(shapes)
    odd = there & ~np.isfinite(bounds).all(axis=1)
    found.add("coordinates", odd, field="geometry")
    out.loc[odd, "geometry"] = None
    for name, rule in (("curved", "curve"), ("z", "height"), ("m", "measure"), ("garbled", "garbled")):
        if name in flags:
            found.add(rule, flags[name], field=None if name == "garbled" else "geometry")


# ── columns ────────────────────────────────────────


def _each(column: pd.Series, of: Callable[[Any], Any]) -> pd.Series:
    """``of`` every value, called once for each that occurs; missing values are None."""
    try:
        codes, values = pd.factorize(column, use_na_sentinel=True)
    except TypeError:  # lists and the like cannot be told apart by hashing
        return pd.Series([None if _missing(one) else of(one) for one in column], index=column.index, dtype=object)
    made = np.empty(len(values) + 1, dtype=object)
    made[:-1] = [of(value) for value in values]
    made[-1] = None
    return pd.Series(made[codes], index=column.index, dtype=object)


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value)


def _text(value: Any) -> str | None:
    """A value as text without spaces around it; blanks are None; whole numbers without a fraction."""
    if _missing(value):
        return None
    if isinstance(value, float | np.floating) and float(value).is_integer() and abs(float(value)) < EXACT:
        return str(int(value))
    return str(value).strip() or None


def _texts(column: pd.Series, found: Findings) -> pd.Series:
    texts = _each(column, _text)
    odd = _each(column, lambda value: "\0" in str(value)).eq(True).to_numpy()
    found.add("text", odd, field=str(column.name))
    return _each(texts, lambda text: text.replace("\0", "")) if odd.any() else texts


def _classes(frame: pd.DataFrame, mapping: LayerMapping, known: Known) -> Any:
    if mapping.class_field is None:
        return mapping.class_code if mapping.class_code in known.classes else None

    def of(value: Any) -> str | None:
        text = _text(value)
        code = mapping.classes.get(text or "", text)
        return code if code in known.classes else None

    return _each(frame[mapping.class_field], of)


def well_formed(code: str) -> bool:
    """Whether a text is the code of a component: the same answer as ComponentCode, faster where it is."""
    width = len(code)
    if width not in (16, 17) or not (code.isascii() and code.isdigit()):
        return False
    serial = width - 6
    return all(part.strip("0") for part in (code[2:4], code[4:6], code[6:8], code[8:serial], code[serial:]))


def _codes(frame: pd.DataFrame, mapping: LayerMapping, found: Findings) -> pd.Series:
    if mapping.code is None:
        found.add("code_missing", np.full(len(frame), not mapping.new_codes and mapping.key is None), field="code")
        return pd.Series(None, index=frame.index, dtype=object)
    column = frame[mapping.code]
    values, codes, lost, wrong = column.tolist(), [], np.zeros(len(column), bool), np.zeros(len(column), bool)
    why: list[Invalid] = []
    for at, value in enumerate(values):
        if isinstance(value, str):
            text: str | None = value
        elif isinstance(value, int | np.integer) and not isinstance(value, bool):
            text = str(value)
        elif isinstance(value, float | np.floating) and value == value:
            exact = float(value).is_integer() and abs(float(value)) < EXACT
            text, lost[at] = (str(int(value)), False) if exact else (None, True)
        elif _missing(value):
            text = None
        else:  # a list, a yes or no, bytes
            text = str(value) or "?"
        if text is not None and not well_formed(text):
            plain = "".join(unicodedata.normalize("NFKC", text).split()).removesuffix(".0")
            if re.fullmatch(r"[0-9.]+[eE]\+[0-9]+", plain):
                lost[at], text = True, None
            elif not plain:
                text = None
            else:
                try:
                    text = ComponentCode.parse(plain)
                except Invalid as fault:
                    wrong[at], text = True, None
                    why.append(fault)
        codes.append(text)
    said = {"en": [fault.en for fault in why], "zh": [fault.zh for fault in why]}
    found.add("code_lost", lost, field=mapping.code, values=column)
    found.add("code_form", wrong, field=mapping.code, values=column, **said)
    made = pd.Series(codes, index=frame.index, dtype=object)
    if not mapping.new_codes:
        found.add("code_missing", made.isna().to_numpy() & ~lost & ~wrong, field=mapping.code)
    return made


def _states(frame: pd.DataFrame, mapping: LayerMapping, found: Findings) -> Any:
    if mapping.state is None:
        if mapping.state_value is not None and mapping.state_value not in STATES:
            found.add("state_unknown", np.ones(len(frame), bool), field="state_value", values=mapping.state_value)
        return STATES.get(mapping.state_value or "")

    def of(value: Any) -> str | None:
        text = _text(value)
        return None if text is None else STATES.get(mapping.states.get(text, text), "?")

    states = _each(frame[mapping.state], of)
    unknown = states.eq("?").to_numpy()
    found.add("state_unknown", unknown, field=mapping.state, values=frame[mapping.state])
    return states.where(~unknown, None)


def _units(frame: pd.DataFrame, field: str | None, value: str | None, known: Known, found: Findings) -> Any:
    def of(given: Any) -> int | None:
        text = _text(given)
        return None if text is None else known.unit_ids.get(known.unit_values.get(text, text), -1)

    if field is None:
        unit = of(value)
        found.add("unit_unknown", np.full(len(frame), unit == -1), field="…_value", values=value)
        return pd.array([None if unit == -1 else unit] * len(frame), dtype="Int64")
    ids = _each(frame[field], of)
    unknown = ids.eq(-1).to_numpy()
    found.add("unit_unknown", unknown, field=field, values=frame[field])
    return pd.array(ids.where(~unknown, None).tolist(), dtype="Int64")


def day_of(value: Any) -> date | None:
    """The day that a value says: a date, 2026-05-01, 2026/5/1, 20260501, an ISO instant, 2026年5月1日. None if none."""
    if isinstance(value, datetime):
        try:
            return None if value is pd.NaT else value.date()
        except (NotImplementedError, ValueError, OverflowError):  # beyond the year 9999
            return None
    if isinstance(value, date):
        return value
    text = _text(value) or ""
    match = re.fullmatch(r"(\d{4})[-/.年]?(\d{1,2})[-/.月]?(\d{1,2})日?(?:[T ].*)?", text)
    if match is None:
        return None
    try:
        return date(*map(int, match.groups()))
    except ValueError:
        return None


def _days(frame: pd.DataFrame, field: str | None, known: Known, found: Findings, default: date | None = None) -> Any:
    if field is None:
        return default
    column = frame[field]
    days = _each(column, day_of)
    if column.dtype == object or pd.api.types.is_numeric_dtype(column) or pd.api.types.is_string_dtype(column):
        blank = _each(column, lambda value: _text(value) is None).ne(False).to_numpy()
        found.add("day", days.isna().to_numpy() & ~blank, field=field, values=column)
    odd = _each(days, lambda day: not OLDEST <= day <= known.today).eq(True).to_numpy()
    found.add("day_odd", odd, field=field, values=column)
    return days.where(days.notna(), default)


def _keys(frame: pd.DataFrame, mapping: LayerMapping, found: Findings, coded: Mask) -> Any:
    if mapping.key is None:
        return None
    column = frame[mapping.key]
    rounded = np.zeros(len(column), bool)
    if pd.api.types.is_float_dtype(column):
        rounded = (column.abs() >= EXACT).to_numpy()
    found.add("key_lost", rounded, field=mapping.key, values=column)
    prefix = f"{mapping.key_prefix}/" if mapping.key_prefix else ""
    texts = [(_text(value) or "").replace("\0", "").strip() for value in column.tolist()]
    keys = [prefix + text if text else None for text in texts]
    made = pd.Series(keys, index=frame.index, dtype=object)
    found.add("key_missing", made.isna().to_numpy() & ~coded, field=mapping.key)
    return made


# ── attributes ────────────────────────────────────────


def _plain(value: Any) -> Any:
    """An attribute's value as JSON can hold it; blanks and missing values are None."""
    if isinstance(value, str):
        return value.replace("\0", "").strip() or None
    if _missing(value):
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value) if abs(int(value)) < 2**63 else str(value)
    if isinstance(value, float | np.floating):
        if not np.isfinite(value):
            return None
        return int(value) if float(value).is_integer() and abs(float(value)) < CODE_LIKE else float(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name).replace("\0", ""): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(one) for one in value]
    return _plain(str(value))


def _as_schema(frame: pd.DataFrame, classes: pd.Series, mapping: LayerMapping, known: Known) -> pd.DataFrame:
    """The fields of attributes with texts that are numbers as numbers, where the schema of the class wants numbers.

    Tables of text (CSV) say no types. What is no number stays text, and is told by its row.
    """
    fields = attribute_fields(frame, mapping)
    for code in classes.dropna().unique():
        wanted = (known.schemas.get(code) or {}).get("properties", {})
        for name in sorted(set(fields) & set(wanted)):
            column = frame[fields[name]]
            kinds = wanted[name].get("type", "string")
            texts = column.dtype == object or pd.api.types.is_string_dtype(column)
            if not texts or "string" in kinds or not {"number", "integer", "boolean"} & {*_listed(kinds)}:
                continue
            read = _number if {"number", "integer"} & {*_listed(kinds)} else _yes_no
            own = classes.eq(code).to_numpy()
            made = [read(value) if mine else value for value, mine in zip(column.tolist(), own, strict=True)]
            frame = frame.assign(**{fields[name]: pd.Series(made, index=frame.index, dtype=object)})
    return frame


def _listed(kinds: str | list[str]) -> list[str]:
    return [kinds] if isinstance(kinds, str) else kinds


def _number(value: Any) -> Any:
    """A text that is a plain decimal number as that number."""
    if not isinstance(value, str) or not re.fullmatch(r"\s*[-+]?(\d{1,15}(\.\d*)?|\.\d+)([eE][-+]?\d{1,2})?\s*", value):
        return value
    return float(value) if re.search("[.eE]", value) else int(value)


def _yes_no(value: Any) -> Any:
    known = {"true": True, "false": False, "1": True, "0": False, "是": True, "否": False, "yes": True, "no": False}
    return known.get(value.strip().lower(), value) if isinstance(value, str) else value


def _attributes(frame: pd.DataFrame, mapping: LayerMapping) -> Any:
    """Each row's attributes as JSON text."""
    fields = attribute_fields(frame, mapping)
    if not fields:
        return "{}"
    columns = []
    for name, field in fields.items():
        label = json.dumps(name, ensure_ascii=False)

        def of(value: Any, name: str = name, label: str = label) -> str | None:
            plain = _plain(value)
            return None if plain is None else f"{label}: {json.dumps(plain, ensure_ascii=False)}"

        columns.append(_each(frame[field], of))
    parts = zip(*(column.tolist() for column in columns), strict=True)
    return ["{" + ", ".join(part for part in row if part is not None) + "}" for row in parts]


def _domains(frame: pd.DataFrame, classes: pd.Series, mapping: LayerMapping, known: Known, found: Findings) -> None:
    """Attributes against the schema of their class: every value that occurs, and those that must be there."""
    fields = attribute_fields(frame, mapping)
    for code in classes.dropna().unique():
        schema = known.schemas.get(code)
        if not schema:
            continue
        own = classes.eq(code).to_numpy()
        for name in sorted(set(fields) & set(schema.get("properties", {}))):
            column = frame[fields[name]]
            said: dict[Any, tuple[str, str]] = {}

            keys = _each(column, lambda value: json.dumps(_plain(value), ensure_ascii=False))
            for key in keys[own].dropna().unique():
                plain = json.loads(key)
                wrong_ones = [] if plain is None else [one for one in faults(schema, {name: plain}) if one[0] == name]
                if wrong_ones:
                    said[key] = wrong_ones[0][2:]
            wrong = keys.isin(list(said)).to_numpy() & own
            told = [said[key] for key in keys[wrong]]
            found.add(
                "attribute",
                wrong,
                field=fields[name],
                values=column,
                en=[en for en, _ in told],
                zh=[zh for _, zh in told],
            )
        for name in schema.get("required", []):
            lacking = own & (_each(frame[fields[name]], _plain).isna().to_numpy() if name in fields else True)
            found.add("attribute_missing", lacking, field=fields.get(name, name))
