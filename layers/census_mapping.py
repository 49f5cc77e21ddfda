"""The mapping of a census file: which layer is which class, which field is which, in which system the numbers are.

A TOML file beside the data (docs/census.md). Top-level keys are defaults for all layers; a ``[[layer]]`` may have
its own. Nothing is guessed here: ``draft`` proposes, a person decides.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from gis.errors import UnfitFile, WanmiError, unfit
from gis.reference import Reference

ROLES = ("supervising", "owner", "maintainer")
#: of the whole file
FILE_KEYS = frozenset({"layer", "extent", "units"})
#: of a layer; at the top level they are the defaults of all layers
LAYER_KEYS = frozenset(
    {
        *(
            "name",
            "source",
            "crs",
            "encoding",
            "surveyed_on",
            "match_m",
            "new_codes",
            "class",
            "class_field",
            "classes",
        ),
        *("code", "key", "key_prefix", "where", "name_zh", "name_zh_value", "state", "states", "state_value"),
        *("surveyed_field", "changed_field", "source_field", "base", "attributes", "all_attributes"),
        *(f"{role}_{what}" for role in ROLES for what in ("unit", "value")),
    }
)
TEXTS = frozenset(
    {"name", "source", "encoding", "class", "class_field", "code", "key", "key_prefix", "name_zh", "name_zh_value"}
    | {"state", "state_value", "surveyed_field", "changed_field", "source_field", "base"}
    | {f"{role}_{what}" for role in ROLES for what in ("unit", "value")}
)
TABLES = frozenset({"classes", "states", "attributes", "units", "where"})
FLAGS = frozenset({"new_codes", "all_attributes"})


@dataclass(frozen=True, kw_only=True)
class LayerMapping:
    """How one layer of a file is read."""

    name: str | None  #: of the layer; None: the only one
    source: str  #: words for data_source
    crs: Reference | None  #: None: as the file says
    encoding: str | None
    class_code: str | None  #: of all rows, or
    class_field: str | None  #: the field that says it
    classes: Mapping[str, str]  #: its values → class codes; values that are class codes need no line
    code: str | None
    key: str | None
    key_prefix: str
    where: tuple[str, frozenset[str]] | None  #: only rows whose field has one of these values
    name_zh: str | None
    name_zh_value: str | None
    state: str | None
    states: Mapping[str, str]
    state_value: str | None
    surveyed_field: str | None
    surveyed_on: date | None
    changed_field: str | None
    source_field: str | None  #: words for data_source, row by row
    base: str | None  #: the field ``fingerprint`` of an exported file
    units: Mapping[str, tuple[str | None, str | None]]  #: role → (field, unit code of all rows)
    attributes: Mapping[str, str]  #: attribute → field
    all_attributes: bool  #: every field that is not used otherwise becomes an attribute of its own name
    match_m: float | None  #: rows without code and key: the nearest of the class within this many metres
    new_codes: bool  #: rows without a code get the next one

    @property
    def fields(self) -> list[str]:
        """The fields of the file that it names, each once."""
        named = [
            self.class_field,
            self.code,
            self.key,
            self.name_zh,
            self.state,
            self.surveyed_field,
            self.changed_field,
            self.source_field,
            self.base,
        ]
        named += [field for field, _ in self.units.values()]
        named += [*self.attributes.values(), self.where[0] if self.where else None]
        return list(dict.fromkeys(name for name in named if name))


@dataclass(frozen=True, kw_only=True)
class CensusMapping:
    """How a census file is read."""

    path: Path  #: of the mapping
    layers: tuple[LayerMapping, ...]
    #: what was surveyed: None (not stated), "areas", "hull", codes of areas, or a file
    extent: str | tuple[str, ...] | Path | None
    units: Mapping[str, str]  #: values of the file → unit codes
    table: Mapping[str, Any] = field(default_factory=dict)  #: as written, JSON can hold it


def read_mapping(path: Path) -> CensusMapping:
    """The mapping of a TOML file. Raises UnfitFile that names the key for whatever is wrong in it."""
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as gone:
        raise unfit(
            path,
            "is not there",
            "不存在",
            mend="wanmi census look FILE --draft mapping.toml writes a draft",
            mend_zh="wanmi census look FILE --draft mapping.toml 可生成草稿",
        ) from gone
    except (ValueError, RecursionError, OSError) as bad:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise unfit(
            path,
            f"cannot be read as TOML: {bad}",
            f"不是有效的 TOML：{bad}",
            mend="correct the line that it names",
            mend_zh="请更正所指的行",
        ) from bad
    return parse_mapping(table, path)


def parse_mapping(table: Mapping[str, Any], path: Path) -> CensusMapping:
    """The mapping of a parsed table; ``path`` says where it stands (files are named relative to it)."""
    _known(path, table, FILE_KEYS | LAYER_KEYS, "top level")
    if not isinstance(table.get("units", {}), dict):
        raise _wrong(path, "units", "must be a table", "应为表")
    odd = next((text for text in _all_texts(table) if any(letter < " " for letter in text)), None)
    if odd is not None:
        raise _wrong(path, repr(odd)[:80], "has a control character", "含有控制字符")
    layers = table.get("layer", [{}])
    if not isinstance(layers, list) or not layers or not all(isinstance(one, dict) for one in layers):
        raise _wrong(path, "layer", "must be [[layer]] tables", "应为 [[layer]] 表")
    common = {key: value for key, value in table.items() if key not in FILE_KEYS}
    read = []
    for number, one in enumerate(layers, start=1):
        _known(path, one, LAYER_KEYS, f"layer {number}")
        read.append(_layer(path, {**common, **one}, number))
    names = [layer.name for layer in read]
    if len(set(names)) < len(names):
        raise _wrong(path, "layer.name", "names a layer twice", "图层重复")
    plain = _plain(table)
    return CensusMapping(
        path=path,
        layers=tuple(read),
        extent=_extent(path, table.get("extent")),
        units=_texts(table, "units"),
        table=plain,
    )


def _layer(path: Path, table: dict[str, Any], number: int) -> LayerMapping:
    where = f"layer {number}"
    for key in TEXTS & set(table):
        if not isinstance(table[key], str) or (not table[key] and key != "key_prefix"):
            raise _wrong(path, key, f"of {where} must be a text", f"（{where}）应为文本")
    for key in FLAGS & set(table):
        if not isinstance(table[key], bool):
            raise _wrong(path, key, f"of {where} must be true or false", f"（{where}）应为 true 或 false")
    for key in TABLES & set(table):
        if not isinstance(table[key], dict):
            raise _wrong(path, key, f"of {where} must be a table", f"（{where}）应为表")
    if ("class" in table) == ("class_field" in table):
        raise _wrong(
            path, "class", f"of {where}: name either class or class_field", f"（{where}）class 与 class_field 二选一"
        )
    for code in [table.get("class"), *_texts(table, "classes").values()]:
        if code is not None and not re.fullmatch("C[0-9]{4,5}", code):
            raise _wrong(
                path,
                "class",
                f"of {where}: {code!r} is no component class such as C0101",
                f"（{where}）{code!r} 不是部件类别",
            )
    match_m = table.get("match_m")
    if match_m is not None and (
        isinstance(match_m, bool) or not isinstance(match_m, int | float) or not 0 < match_m <= 100
    ):
        raise _wrong(
            path, "match_m", f"of {where} must be over 0 and at most 100 metres", f"（{where}）应大于 0 且不超过 100 米"
        )
    day = table.get("surveyed_on")
    if day is not None and (isinstance(day, datetime) or not isinstance(day, date)):
        raise _wrong(
            path, "surveyed_on", f"of {where} must be a day such as 2026-05-01", f"（{where}）应为日期，如 2026-05-01"
        )
    try:
        crs = Reference.parse(table["crs"]) if "crs" in table else None
    except WanmiError as bad:
        raise _wrong(path, "crs", f"of {where}: {bad.en}", f"（{where}）：{bad.zh}") from bad
    if "" in _texts(table, "attributes"):
        raise _wrong(path, "attributes", f"of {where} names an attribute with nothing", f"（{where}）属性名为空")
    name = table.get("name")
    return LayerMapping(
        name=name,
        source=table.get("source", ""),
        crs=crs,
        encoding=table.get("encoding"),
        class_code=table.get("class"),
        class_field=table.get("class_field"),
        classes=_texts(table, "classes"),
        code=table.get("code"),
        key=table.get("key"),
        key_prefix=table.get("key_prefix", name or ""),
        where=_where(path, table.get("where"), where),
        name_zh=table.get("name_zh"),
        name_zh_value=table.get("name_zh_value"),
        state=table.get("state"),
        states=_texts(table, "states"),
        state_value=table.get("state_value"),
        surveyed_field=table.get("surveyed_field"),
        surveyed_on=day,
        changed_field=table.get("changed_field"),
        source_field=table.get("source_field"),
        base=table.get("base"),
        units={role: (table.get(f"{role}_unit"), table.get(f"{role}_value")) for role in ROLES},
        attributes=_texts(table, "attributes"),
        all_attributes=table.get("all_attributes", False),
        match_m=None if match_m is None else float(match_m),
        new_codes=table.get("new_codes", True),
    )


def _where(path: Path, table: Any, where: str) -> tuple[str, frozenset[str]] | None:
    if table is None:
        return None
    values = table.get("among")
    if set(table) != {"field", "among"} or not isinstance(values, list) or not isinstance(table["field"], str):
        raise _wrong(path, "where", f'of {where} must be {{ field = "STATUS", among = ["A"] }}', f"（{where}）写法有误")
    return table["field"], frozenset(map(str, values))


def _extent(path: Path, value: Any) -> str | tuple[str, ...] | Path | None:
    if value is None:
        return None
    if value in ("areas", "hull"):
        return str(value)
    if isinstance(value, list) and value and all(re.fullmatch("[0-9]{4,12}", str(code)) for code in value):
        return tuple(map(str, value))
    if isinstance(value, str) and value:
        return path.parent / value
    raise _wrong(
        path, "extent", 'must be "areas", "hull", codes of areas, or a file', "应为 areas、hull、区划编码列表或文件名"
    )


def _texts(table: Mapping[str, Any], key: str) -> dict[str, str]:
    return {str(name): str(value) for name, value in table.get(key, {}).items()}


def _all_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield from (str(name), *_all_texts(one))
    elif isinstance(value, list):
        for one in value:
            yield from _all_texts(one)


def _known(path: Path, table: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise _wrong(path, key, f"({where}) is no key of a mapping", f"（{where}）不是映射文件的键")


def _wrong(path: Path, key: str, en: str, zh: str) -> UnfitFile:
    return unfit(
        path,
        f"has a fault: {key} {en}",
        f"有误：{key} {zh}",
        mend="docs/census.md lists the keys of a mapping",
        mend_zh="映射文件的写法见 docs/census.md",
        field=key,
    )


def _plain(value: Any) -> Any:
    """As JSON can hold it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
