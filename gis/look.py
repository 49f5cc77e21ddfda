"""A first look at a vector file: what it says, what it does not say, and what its fields may mean.

Everything is seen in the first SAMPLE rows of a layer, except the number of rows. Nothing is decided: systems and
meanings are proposals for a person.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely

from gis.crs import Extent
from gis.formats import VectorFile, layers_of, open_vector
from gis.reference import Proposal, Reference, propose

SAMPLE = 2_000  #: rows
_SHOWN = 3  #: values of a field that are shown
_FEW = 12  #: a field with no more values than this is a field of kinds
_LONGEST = 40  #: characters of a value that is shown

#: meaning → words in names of fields (lower case, without blanks and underscores); the standards' own names first
_NAMES: Mapping[str, tuple[str, ...]] = {
    "code": ("objid", "glbjbsm", "部件标识码", "管理部件标识码", "部件编码", "标识码", "bjdm", "code", "编码", "编号"),
    "class_code": (
        *("class", "classcode", "类别", "部件类别", "小类", "小类代码", "layer", "type", "kind", "类型", "featurecode"),
        *("featurecod", "category", "lbdm", "xldm"),
    ),
    "name_zh": ("objname", "glbjmc", "部件名称", "管理部件名称", "name", "名称", "mc"),
    "state": ("objstate", "glbjzt", "部件状态", "状态", "status", "state", "zt", "condition"),
    "supervising_unit": ("deptcode1", "zgbmdm", "主管部门代码", "主管部门", "deptname1", "zgbmmc", "主管部门名称"),
    "owner_unit": (
        *("deptcode2", "qsdwdm", "权属单位代码", "权属单位", "deptname2", "qsdwmc", "权属单位名称", "owner"),
        *("ownership", "产权单位"),
    ),
    "maintainer_unit": (
        *("deptcode3", "yhdwdm", "养护单位代码", "养护单位", "deptname3", "yhdwmc", "养护单位名称", "maintainer"),
        *("maintenance",),
    ),
    "surveyed_on": (
        *("ordate", "csrq", "初始日期", "调查日期", "普查日期", "采集日期", "surveydate", "surveyed", "capturedate"),
        *("createdat", "created"),
    ),
    "changed_on": ("chdate", "bgrq", "变更日期", "更新日期", "modified", "lastedited", "editdate", "updated"),
    "source_key": ("gisid", "globalid", "assetid", "facilityid", "objectid", "fid", "id", "uuid", "gid"),
}
_STATES = frozenset(
    {"完好", "破损", "丢失", "废弃", "移除", "intact", "broken", "damaged", "lost", "removed", "abandoned"}
)
_VALUES: Mapping[str, Callable[[str], Any]] = {
    "code": re.compile(r"\d{16,17}").fullmatch,
    "class_code": re.compile(r"C\d{4,5}").fullmatch,
    "state": lambda text: text.lower() in _STATES,
    "surveyed_on": re.compile(r"(19|20)\d\d[-/.年]?[01]?\d[-/.月]?[0-3]?\d日?(?:[T ].*)?").fullmatch,
}


@dataclass(frozen=True, kw_only=True)
class FieldLook:
    """One field, as far as the sample shows it."""

    name: str
    type: str  #: as VectorFile.fields
    empty: int  #: values that are missing or blank
    distinct: int
    samples: tuple[str, ...]  #: a few values
    values: Mapping[str, int] = field(default_factory=dict)  #: every value and how often, where there are few
    meanings: tuple[str, ...] = ()  #: what of a component it may be (code, class_code, state …), likeliest first


@dataclass(frozen=True, kw_only=True)
class LayerLook:
    """One layer of a file."""

    name: str
    driver: str
    rows: int | None  #: of the layer; None: it breaks off
    sampled: int  #: rows that were looked at
    geometry: Mapping[str, int]  #: geometry types of the sample, None for rows without
    flags: Mapping[str, int]  #: how many rows of the sample were curved, z, m, unreadable, garbled
    encoding: str
    encoding_said: tuple[str, str]  #: how it is known, English and Chinese
    system_said: tuple[str, str] | None  #: the system that the file states
    proposals: tuple[Proposal, ...]  #: systems in which the sample lies in the city, likeliest first
    bounds: tuple[float, float, float, float] | None  #: of the sample, in the file's numbers
    fields: tuple[FieldLook, ...]
    places: tuple[str, ...] = ()  #: columns of a table that hold the place
    several: bool = False  #: whether the file has other layers with geometry


@dataclass(frozen=True, kw_only=True)
class Look:
    """A file."""

    path: Path
    layers: tuple[LayerLook, ...]


def look(path: Path, extent: Extent | None = None, *, layer: str | None = None, encoding: str | None = None) -> Look:
    """Look at all layers of a file (or at one); systems are proposed when the city's extent is given.

    Raises UnfitFile for a file that cannot be read.
    """
    path = Path(path)
    names = [layer] if layer is not None else [info.name for info in layers_of(path, encoding=encoding)]
    looks = []
    for name in names:
        with open_vector(path, layer=name, encoding=encoding) as file:
            looks.append(_layer(file, extent))
    return Look(path=path, layers=tuple(looks))


def _layer(file: VectorFile, extent: Extent | None) -> LayerLook:
    parts: list[pd.DataFrame] = []
    rows, flags = 0, {}
    for batch in file.batches(SAMPLE):
        if not parts:
            parts.append(batch.frame)
            flags = {name: int(mask.sum()) for name, mask in batch.flags.items() if mask.any()}
        rows += len(batch.frame)
        if file.rows is not None:
            rows = file.rows
            break
    frame = parts[0] if parts else pd.DataFrame({"geometry": []})
    shapes = frame["geometry"].to_numpy(dtype=object)
    there = shapes[~shapely.is_missing(shapes) & ~shapely.is_empty(shapes)]
    boxes = shapely.bounds(there)
    boxes = boxes[np.isfinite(boxes).all(axis=1)]
    types = pd.Series([None if shape is None else shape.geom_type for shape in shapes], dtype=object)
    x, y = (boxes[:, axis] / 2 + boxes[:, axis + 2] / 2 for axis in (0, 1))
    west, south, east, north = (*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)) if len(boxes) else (np.nan,) * 4
    return LayerLook(
        name=file.layer,
        driver=file.driver,
        rows=rows,
        sampled=len(frame),
        geometry={str(kind): int(many) for kind, many in types.value_counts(dropna=False).items()},
        flags=flags,
        encoding=file.encoding,
        encoding_said=file.encoding_said,
        system_said=None if file.crs is None else Reference.of_file(file.crs).said(),
        proposals=tuple(propose(file.crs, x, y, extent)) if extent is not None else (),
        bounds=(float(west), float(south), float(east), float(north)) if len(boxes) else None,
        places=file.geometry_fields,
        several=sum(info.geometry_type is not None for info in file.layers) > 1,
        fields=tuple(_field(frame[name], kind) if name in frame else _blank(name, kind) for name, kind in file.fields),
    )


def _blank(name: str, kind: str) -> FieldLook:
    return FieldLook(name=name, type=kind, empty=0, distinct=0, samples=())


def _field(column: pd.Series, kind: str) -> FieldLook:
    texts = pd.Series([_text(value) for value in column.tolist()], dtype=object)
    known = texts.dropna()
    counted = known.value_counts()
    few = {str(value): int(many) for value, many in counted.items()} if 0 < len(counted) <= _FEW else {}
    return FieldLook(
        name=str(column.name),
        type=kind,
        empty=int(texts.isna().sum()),
        distinct=len(counted),
        samples=tuple(_short(value) for value in list(dict.fromkeys(known))[:_SHOWN]),
        values=few,
        meanings=_meanings(str(column.name), known, len(counted)),
    )


def _text(value: Any) -> str | None:
    if value is None or value is pd.NaT or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value).strip() or None


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _meanings(name: str, values: pd.Series, distinct: int) -> tuple[str, ...]:
    """What the field may be: by its values where they say it, then by its name."""
    if not distinct:
        return ()
    plain = re.sub(r"[\s_\-]", "", name).lower()
    by_value = [meaning for meaning, fits in _VALUES.items() if len(values) and all(map(fits, values))]
    by_name = [meaning for meaning, names in _NAMES.items() if plain in names]
    unique = len(values) > 1 and distinct == len(values)
    if unique and re.search("(?:id|no|号)$", plain):
        by_name.append("source_key")
    found = []
    for meaning in dict.fromkeys([*(one for one in by_name if one in by_value), *by_value, *by_name]):
        misfit = meaning in ("code", "source_key") and not unique
        named_only = meaning in ("code", "surveyed_on") and meaning not in by_value and len(values) > 0
        if meaning == "code" and named_only and unique:  # numbers of another kind: the source's own key
            meaning = "source_key"
        elif misfit or (meaning == "surveyed_on" and named_only and not by_value):
            continue
        found.append(meaning)
    return tuple(dict.fromkeys(found))
