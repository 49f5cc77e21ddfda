"""The end of a bulk run: the parts become the file or folder that was asked for."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pyogrio
import shapely

from cases.bulk import BulkReport, Plan, parquet_writer, rejected_of
from cases.bulk_read import BATCH_ROWS, floats, points


def finish(plan: Plan, out: Path, report: BulkReport, *, overwrite: bool) -> None:
    """Make the parts the file or folder that was asked for, and the refused rows a table beside it."""
    folder = Path(plan.folder)
    parts = sorted(folder.glob("part-*.parquet"))
    rejected = sorted(folder.glob("part-*.rejected.csv"))
    reject = rejected_of(out)
    outputs = [out]
    if rejected:
        beside = folder / "rejected.csv"
        with beside.open("w", encoding="utf-8", newline="") as file:
            for number, part in enumerate(rejected):
                lines = part.read_text(encoding="utf-8").splitlines(keepends=True)
                file.writelines(lines if number == 0 else lines[1:])
        beside.replace(reject)
        outputs.append(reject)
    else:
        reject.unlink(missing_ok=True)
    beside = folder / f"whole{out.suffix.lower()}"
    if not out.suffix:
        for path in [*folder.glob("*.json"), *rejected, folder / "run.lock"]:
            path.unlink()
        if out.exists() and overwrite:
            shutil.rmtree(out) if out.is_dir() else out.unlink()
        folder.rename(out)
        report.outputs = tuple(outputs)
        return
    if out.suffix.lower() in (".parquet", ".geoparquet"):
        _merge_parquet(parts, beside, plan)
    elif out.suffix.lower() in (".csv", ".txt"):
        _merge_csv(parts, beside, plan)
    else:
        _merge_layer(parts, beside, plan)
    if out.is_dir():
        shutil.rmtree(out)
    beside.replace(out)
    shutil.rmtree(folder)
    report.outputs = tuple(outputs)


def _merge_parquet(parts: Sequence[Path], out: Path, plan: Plan) -> None:
    writer = None
    for part in parts:
        with pq.ParquetFile(part) as file:
            writer = writer or parquet_writer(out, file.schema_arrow)
            for batch in file.iter_batches(BATCH_ROWS):
                writer.write_table(pa.Table.from_batches([batch]).cast(writer.schema))
    if writer is None:
        pq.write_table(pa.table({name: pa.array([], pa.string()) for name in _names(plan)}), out)
    else:
        writer.close()


def _merge_csv(parts: Sequence[Path], out: Path, plan: Plan) -> None:
    with out.open("wb") as sink:
        sink.write("\ufeff".encode())  # so that Excel reads it as UTF-8
        first = True
        if not parts:
            sink.write((",".join(f'"{name}"' for name in _names(plan)) + "\n").encode())
        for part in parts:
            with pq.ParquetFile(part) as file:
                for batch in file.iter_batches(BATCH_ROWS):
                    pa_csv.write_csv(
                        _plain(pa.Table.from_batches([batch])), sink, pa_csv.WriteOptions(include_header=first)
                    )
                    first = False


def _names(plan: Plan) -> list[str]:
    """The columns of what is written."""
    return [*plan.keep, *(plan.prefix + name for name in plan.answers)]


def _plain(table: pa.Table) -> pa.Table:
    """Dictionaries as texts; geometry, which a table of texts cannot have, left out."""
    kept = [field.name for field in table.schema if not pa.types.is_binary(field.type)]
    table = table.select(kept)
    fields = [
        pa.field(field.name, field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))


def _merge_layer(parts: Sequence[Path], out: Path, plan: Plan) -> None:
    columns = plan.columns
    for number, part in enumerate(parts):
        table = pq.read_table(part)
        if columns.geometry is not None:
            x, y = points(table.column(columns.geometry))
            table = table.drop_columns([columns.geometry])
        else:
            x, y = (floats(table.column(name)) for name in (columns.x, columns.y))
        frame = gpd.GeoDataFrame(_plain(table).to_pandas(), geometry=shapely.points(x, y), crs=columns.srid)
        pyogrio.write_dataframe(frame, out, layer="assigned", append=number > 0)
