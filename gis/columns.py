"""Columns of a file as pandas keeps them: text decoded, whole numbers exact, geometry plain."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from gis.dbf import cut_text
from gis.wkb import Flat, flat

Mask = npt.NDArray[np.bool_]
Column = pa.Array | pa.ChunkedArray
_CARRIER = "latin-1"


def pandas_of(columns: list[Any], names: list[str], carried: str | None) -> tuple[pd.DataFrame, Mask]:
    """Arrow columns as a frame, and in which rows a text could not be decoded in full.

    carried : the encoding of texts whose bytes came as Latin-1 (shapefiles); None: texts are UTF-8, or GBK where not
    """
    count = len(columns[0]) if columns else 0
    garbled = np.zeros(count, dtype=bool)
    made: dict[str, Any] = {}
    for name, column in zip(names, columns, strict=True):
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column, lost = _decoded(column, carried)
            garbled |= lost
        made[name] = _series(column)
    return pd.DataFrame(made), garbled


def geometry_of(column: Any, count: int) -> Flat:
    """Geometries of a column of WKB; of no column, none."""
    if column is None:
        no = np.zeros(count, dtype=bool)
        return Flat(np.full(count, None, dtype=object), no, no.copy(), no.copy(), no.copy())
    return flat(column.to_numpy(zero_copy_only=False))


def _series(column: Any) -> Any:
    """Whole numbers with gaps as Python integers and None; lists as lists; the rest as pandas has it."""
    if pa.types.is_list(column.type) or pa.types.is_struct(column.type) or pa.types.is_map(column.type):
        return pd.Series(column.to_pylist(), dtype=object)
    if pa.types.is_decimal(column.type):
        values = column.to_pylist()
        whole = all(value is None or value == value.to_integral_value() for value in values)
        read = int if whole else float
        return pd.Series([None if value is None else read(value) for value in values], dtype=object)
    if pa.types.is_fixed_size_list(column.type) or pa.types.is_large_list(column.type):
        return pd.Series(column.to_pylist(), dtype=object)
    return column.to_pandas(integer_object_nulls=True, date_as_object=True)


def _decoded(column: Any, carried: str | None) -> tuple[Any, Mask]:
    none = np.zeros(len(column), dtype=bool)
    if carried is None:
        try:
            column.validate(full=True)
            return column, none
        except pa.ArrowInvalid:
            raw = column.cast(pa.binary())
    else:
        if pc.sum(pc.binary_length(column)).as_py() == pc.sum(pc.utf8_length(column)).as_py():
            return column, none  # ASCII, whatever its encoding
        raw = column
    packed = raw.dictionary_encode()
    texts, lost = [], []
    for value in packed.dictionary.to_pylist():
        if carried is None:
            text = cut_text(value, "utf-8")
            text = cut_text(value, "gb18030") if text is None else text
            data = value
        else:
            data = value.encode(_CARRIER)
            text = cut_text(data, carried)
        lost.append(text is None)
        texts.append(data.decode(carried or "gb18030", errors="replace") if text is None else text)
    at = packed.indices
    wrong = pc.fill_null(pa.array(lost, type=pa.bool_()).take(at), False).to_numpy(zero_copy_only=False)
    return pa.array(texts, type=pa.string()).take(at), np.asarray(wrong, dtype=bool)
