"""GeoParquet in batches: geometry as WKB or as the native encodings of version 1.1."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError

from gis.errors import unfit, unreadable
from gis.wkb import Flat, flat

_CRS84 = "OGC:CRS84"  #: of a file that does not say, by its specification


class ParquetLayer:
    """A GeoParquet file, its metadata read."""

    def __init__(self, said: Path, path: Path) -> None:
        """``said`` is the file's name in messages. UnfitFile if it is none or has no geometry."""
        self._said, self._path = said, path
        try:
            with pq.ParquetFile(path) as file:
                schema = file.schema_arrow
                self.rows = int(file.metadata.num_rows)
        except (pa.ArrowException, OSError, ValueError) as bad:
            raise unreadable(said, bad) from bad
        try:
            geo = json.loads((schema.metadata or {}).get(b"geo", b"null"))
            self._shape = str(geo["primary_column"])
            column = geo["columns"][self._shape]
            self._encoding = str(column["encoding"])
            stated = column.get("crs", _CRS84)
            self.crs = None if stated is None else CRS.from_user_input(stated)
            schema.field(self._shape)
        except (ValueError, KeyError, TypeError, CRSError) as bad:
            raise unfit(
                said,
                "is Parquet without the metadata of GeoParquet",
                "是没有 GeoParquet 元数据的 Parquet 文件",
                mend="write it with GDAL, QGIS or GeoPandas",
                mend_zh="请用 GDAL、QGIS 或 GeoPandas 输出",
            ) from bad
        boxes = {one["covering"]["bbox"]["xmin"][0] for one in geo["columns"].values() if "covering" in one}
        self.names = [name for name in schema.names if name != self._shape and name not in boxes]
        self.types = [_type(schema.field(name).type) for name in self.names]

    def batches(self, rows: int) -> Iterator[tuple[list[Any], Flat]]:
        """Columns in the order of ``names``, and the geometries."""
        try:
            with pq.ParquetFile(self._path) as file:
                for batch in file.iter_batches(rows, columns=[*self.names, self._shape]):
                    yield [batch.column(name) for name in self.names], self._geometry(batch.column(self._shape))
        except (pa.ArrowException, OSError, ValueError, NotImplementedError) as bad:
            raise unreadable(self._said, bad) from bad

    def _geometry(self, column: Any) -> Flat:
        if self._encoding.upper() == "WKB":
            return flat(column.to_numpy(zero_copy_only=False))
        field = pa.field("geometry", column.type, metadata={"ARROW:extension:name": f"geoarrow.{self._encoding}"})
        table = pa.Table.from_arrays([column], schema=pa.schema([field]))
        shapes = gpd.GeoDataFrame.from_arrow(table).geometry.to_numpy()
        no = np.zeros(len(shapes), dtype=bool)
        return Flat(shapely.force_2d(shapes), no, shapely.has_z(shapes), no.copy(), no.copy())


def _type(kind: Any) -> str:
    kinds = {
        "yes/no": pa.types.is_boolean,
        "integer": pa.types.is_integer,
        "number": lambda one: pa.types.is_floating(one) or pa.types.is_decimal(one),
        "day": pa.types.is_date,
        "instant": pa.types.is_timestamp,
        "time": pa.types.is_time,
        "binary": lambda one: pa.types.is_binary(one) or pa.types.is_large_binary(one),
        "text": lambda one: pa.types.is_string(one) or pa.types.is_large_string(one) or pa.types.is_dictionary(one),
    }
    return next((name for name, test in kinds.items() if test(kind)), "list")
