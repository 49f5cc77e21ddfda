"""What ``wanmi census look`` says of a file, and the draft of its mapping."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from gis.look import FieldLook, LayerLook, Look

Line = tuple[str, str]
UNKNOWN = "C????"  #: a person must say it: the import refuses a mapping that still has it
_OF_DRAWINGS = frozenset({"PaperSpace", "SubClasses", "Linetype", "EntityHandle", "Text"})  #: what GDAL adds
LIKELY = 0.5  #: share of the rows in the city from which a system goes into the draft
FLAGS = {
    "curved": ("rows with curves, read as straight pieces", "行含曲线，按折线读取"),
    "z": ("rows with heights, dropped", "行含高程，予以舍去"),
    "m": ("rows with measures (M), dropped", "行含 M 值，予以舍去"),
    "unreadable": ("rows whose geometry cannot be read", "行的图形无法读取"),
    "garbled": ("rows whose text is not in that encoding", "行的文本不符合该编码"),
}
#: meaning → key of the mapping
KEYS = {
    **{"code": "code", "source_key": "key", "name_zh": "name_zh", "state": "state", "surveyed_on": "surveyed_field"},
    **{"changed_on": "changed_field", "class_code": "class_field"},
    **{f"{role}_unit": f"{role}_unit" for role in ("supervising", "owner", "maintainer")},
}
MEANINGS = {
    **{"code": ("code", "编码"), "source_key": ("the source's key", "来源主键"), "name_zh": ("name", "名称")},
    **{"state": ("state", "状态"), "surveyed_on": ("day of the survey", "普查日期"), "class_code": ("class", "类别")},
    **{"changed_on": ("day of the change", "变更日期"), "supervising_unit": ("supervising department", "主管部门")},
    **{"owner_unit": ("owner", "权属单位"), "maintainer_unit": ("maintainer", "养护单位")},
}


def look_lines(look: Look, city: Line) -> Iterator[Line]:
    """The look in words, English and Chinese; ``city`` is the name of the city it is held against."""
    for layer in look.layers:
        yield from _layer_lines(layer, city)


def _layer_lines(layer: LayerLook, city: Line) -> Iterator[Line]:
    rows = "?" if layer.rows is None else f"{layer.rows:,}"
    shapes = ", ".join(f"{kind} {many:,}" for kind, many in layer.geometry.items())
    yield f"{layer.name}   {rows} rows   {layer.driver}", f"{layer.name}   {rows} 行   {layer.driver}"
    if layer.rows is None or layer.sampled < layer.rows:
        yield f"  (seen: the first {layer.sampled:,} rows)", f"  （以下依据前 {layer.sampled:,} 行）"
    yield f"  geometry  {shapes}", f"  图形    {shapes}"
    yield (
        f"  encoding  {layer.encoding}: {layer.encoding_said[0]}",
        f"  编码    {layer.encoding}：{layer.encoding_said[1]}",
    )
    said = layer.system_said or ("not said", "未说明")
    yield f"  system    {said[0]}", f"  坐标系  {said[1]}"
    for one in layer.proposals:
        yield (
            f"    {one.share:4.0%} of the rows are in the city as: {one.en}   crs = {_toml(one.reference.table())}",
            f"    按“{one.zh}”读取，{one.share:.0%} 的行位于本市   crs = {_toml(one.reference.table())}",
        )
    if not layer.proposals:
        yield (
            f"    0% of the rows are in {city[0]} (another city: --city); no other system known here puts them there",
            f"    没有行位于{city[1]}（其他城市请用 --city），其他已知坐标系也不能使其落入",
        )
    if layer.bounds is not None:
        box = ", ".join(f"{side:.10g}" for side in layer.bounds)
        yield f"  extent    {box}", f"  范围    {box}"
    for name, many in layer.flags.items():
        yield f"  {many:,} {FLAGS[name][0]}", f"  {many:,} {FLAGS[name][1]}"
    wide = max((_width(field.name) for field in layer.fields), default=0)
    for field in layer.fields:
        yield from _field_lines(field, wide, layer.sampled)


def _field_lines(field: FieldLook, wide: int, rows: int) -> Iterator[Line]:
    name = field.name + " " * (wide - _width(field.name))
    meaning = MEANINGS.get(field.meanings[0]) if field.meanings else None
    samples = " | ".join(field.samples)
    head = f"    {name}  {field.type:<9}"
    yield (
        f"{head}{field.distinct:>6,} values, {field.empty:,} empty  {f'{meaning[0]}?  ' if meaning else ''}{samples}",
        f"{head}{field.distinct:>6,} 个值，{field.empty:,} 个空  {f'{meaning[1]}？ ' if meaning else ''}{samples}",
    )


def draft(look: Look) -> str:
    """A mapping with what the look proposes; what it cannot know is marked with C???? or left to a comment."""
    parts = [
        "# Draft of a mapping: docs/census.md. Check every line; a C???? must be replaced by a class.",
        f"source = {_toml(look.path.name)}",
        '# extent = "areas"              # what was surveyed; without it nothing counts as gone',
        "# match_m = 2.0                 # rows without code and key: the nearest of the class within so many metres",
        "",
        "[units]",
        '# "words of the file" = "code of the unit"',
    ]
    for layer in look.layers:
        parts += ["", *_layer_draft(layer, several=layer.several or len(look.layers) > 1)]
    return "\n".join(parts) + "\n"


def _layer_draft(layer: LayerLook, *, several: bool) -> Iterator[str]:
    used: dict[str, FieldLook] = {}
    for field in layer.fields:
        for meaning in field.meanings[:1]:
            used.setdefault(meaning, field)
    yield "[[layer]]"
    if several:
        yield f"name = {_toml(layer.name)}"
    likely = [one for one in layer.proposals if one.share >= LIKELY]
    if likely and (layer.system_said is None or len(likely) > 1):
        best = likely[0]
        yield f"crs = {_toml(best.reference.table())}   # {best.en}: {best.share:.0%} of the rows are in the city"
    elif layer.system_said is None:
        yield '# crs = 4545                    # the file does not say its system: EPSG number, "gcj02" or "bd09"'
    if "class_code" not in used:
        yield f'class = "{UNKNOWN}"'
    for meaning, field in used.items():
        yield f"{KEYS[meaning]} = {_toml(field.name)}"
    kinds = used.get("class_code")
    if kinds is not None and not all(re.fullmatch("C[0-9]{4,5}", value) for value in kinds.values or ("?",)):
        yield "[layer.classes]"
        for value in kinds.values or kinds.samples:
            yield f'{_toml(value)} = "{UNKNOWN}"'
    unused = {*layer.places, *(_OF_DRAWINGS if layer.driver == "DXF" else ())}
    rest = [field for field in layer.fields if field not in used.values() and field.name not in unused]
    if rest:
        yield "[layer.attributes]"
    for field in rest:
        yield f"{_toml(field.name)} = {_toml(field.name)}"


def _toml(value: object) -> str:
    """A value as TOML writes it in one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def _width(text: str) -> int:
    """Columns on a terminal: a Chinese character takes two."""
    return sum(2 if ord(letter) > 0x2E7F else 1 for letter in text)
