"""The same assignment for files of any size: part by part, in bounded memory, taken up again where it was interrupted.

A file is read in parts; each part is assigned by ``assign_frame`` and written to a file of its own, which is there
whole or not at all. A run that is started again leaves out the parts that are there. At the end the parts become the
file or
folder that was asked for. Parts do not depend on each other: several threads, or the workers of a cluster
(:mod:`cases.cluster`), take them as they come.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cases.bulk_read import BATCH_ROWS, Columns, Part, Source, category, floats, points, stream, tables_of
from cases.standing import BORDER, CODES, Standing, assign_frame
from gis.crs import to_city
from gis.errors import Conflict, Invalid, unfit
from gis.locate import OUTSIDE

REASONS = {
    "no_place": "its coordinates are missing or are no place | 坐标缺失或不是有效位置",
    "outside": "outside the grid | 不在网格范围内",
    "unknown_class": "the catalogue has no such class | 目录中没有该类别",
    "unknown_condition": "the class has no such filing condition | 该类别没有此立案条件",
}
Progress = Callable[[int, int | None, float], None]  #: rows done, of how many (None: not known), seconds


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is done with each part, wherever that is."""

    columns: Columns
    keep: tuple[str, ...]  #: columns of the file that are carried over
    answers: tuple[str, ...]  #: of COLUMNS and BORDER of cases.standing
    prefix: str
    folder: str  #: of the parts


@dataclass(kw_only=True)
class BulkReport:
    """What became of a file."""

    rows: int = 0  #: answered
    refused: int = 0
    there: int = 0  #: parts that an earlier run had done
    seconds: float = 0.0
    outputs: tuple[Path, ...] = ()


# ── assigning ────────────────────────────────────────


def assign_table(
    table: pa.Table, plan: Plan, standing: Standing, *, threads: int | None = 1
) -> tuple[pa.Table, pd.DataFrame]:
    """The rows of a table with their answers; and those that are refused: row (from 0), x, y, class_code, reason."""
    columns = plan.columns
    x, y = _numbers(table, columns)
    there = np.isfinite(x) & np.isfinite(y)
    reports: dict[str, Any] = {}
    if columns.srid in (None, standing.srid):
        reports |= {"x": x, "y": y}
    else:
        reports["x"], reports["y"] = to_city(x, y, columns.srid, standing.srid)
        there = np.isfinite(reports["x"])
    for name in ("class_code", "component_code"):
        column = getattr(columns, name)
        if column is not None:
            reports[name] = category(table.column(column))
    unread = np.zeros(len(x), dtype=bool)
    if columns.condition_no is not None:
        numbers = floats(table.column(columns.condition_no))
        said = table.column(columns.condition_no).to_pandas().astype("string").str.strip().fillna("").to_numpy() != ""
        unread = said & ~(numbers == np.floor(numbers))  # said, and no whole number
        reports["condition_no"] = np.where(unread, np.nan, numbers)
    frame = pd.DataFrame(reports, copy=False)
    found = assign_frame(frame, standing, border=bool({*plan.answers} & {*BORDER}), threads=threads)
    unknown, without = standing.strange(frame)
    reason = np.zeros(len(x), dtype=np.int8)  # 0, or the number of one of REASONS; the gravest is written last
    for number, holds in ((4, without | unread), (3, unknown), (2, found.cell == OUTSIDE), (1, ~there)):
        reason[holds] = number
    bad = np.flatnonzero(reason)
    refused = pd.DataFrame(
        {
            "row": bad,
            "x": x[bad],
            "y": y[bad],
            "class_code": frame["class_code"].iloc[bad].astype(object).to_numpy() if "class_code" in frame else None,
            "reason": np.array(list(REASONS), dtype=object)[reason[bad] - 1],
        }
    )
    arrays = [
        pa.array(found.border_m, from_pandas=True) if name == "border_m" else _arrow(*found.column(name))
        for name in plan.answers
    ]
    kept = table.select([name for name in plan.keep if name in table.column_names])
    names = [*kept.column_names, *(plan.prefix + name for name in plan.answers)]
    whole = pa.Table.from_arrays([*kept.columns, *arrays], names=names)
    whole = whole.replace_schema_metadata(_kept_metadata(table, kept))
    return (whole if not len(bad) else whole.filter(pa.array(reason == 0))), refused


def _kept_metadata(table: pa.Table, kept: pa.Table) -> dict[bytes, bytes] | None:
    """What makes a table GeoParquet, if its geometry is carried over."""
    said = (table.schema.metadata or {}).get(b"geo")
    if said is None or json.loads(said)["primary_column"] not in kept.column_names:
        return None
    return {b"geo": said}


def _numbers(table: pa.Table, columns: Columns) -> tuple[Any, Any]:
    if columns.geometry is not None:
        return points(table.column(columns.geometry))
    return tuple(floats(table.column(name)) for name in (columns.x, columns.y))


def _arrow(numbers: Any, names: Sequence[str]) -> pa.DictionaryArray:
    lacking = numbers < 0
    return pa.DictionaryArray.from_arrays(
        pa.array(numbers, mask=lacking if lacking.any() else None), pa.array(names, pa.string())
    )


# ── parts ────────────────────────────────────────


def work_part(part: Part, plan: Plan, standing: Standing) -> tuple[int, int]:
    """Assign a part of a Parquet file and write it; answered and refused rows. What is there already is left."""
    wanted = _wanted(plan)
    texts = [name for name in (plan.columns.class_code, plan.columns.component_code) if name is not None]
    return _write_part(part.number, part.path, part.first_row, tables_of(part, wanted, texts), plan, standing)


def _wanted(plan: Plan) -> list[str]:
    asked = asdict(plan.columns)
    said = [name for field, name in asked.items() if field != "srid" and name is not None]
    return list(dict.fromkeys([*plan.keep, *said]))


def _write_part(
    number: int, path: str, first_row: int, tables: Iterable[pa.Table], plan: Plan, standing: Standing
) -> tuple[int, int]:
    folder = Path(plan.folder)
    good, done = folder / f"part-{number:06}.parquet", folder / f"part-{number:06}.json"
    beside = folder / f".part-{number:06}-{os.getpid()}-{time.monotonic_ns()}"
    rows, refusals, writer = 0, [], None
    try:
        for table in tables:
            answered, refused = assign_table(table, plan, standing)
            if writer is None:
                writer = parquet_writer(beside, answered.schema)
            writer.write_table(answered.cast(writer.schema))
            rows += len(answered)
            if len(refused):
                refusals.append(refused.assign(row=refused["row"] + first_row, file=Path(path).name))
            first_row += len(table)
        if writer is not None:
            writer.close()
            writer = None
            beside.replace(good)
        count = 0
        if refusals:
            together = pd.concat(refusals, ignore_index=True)
            count = len(together)
            together.to_csv(beside, index=False)
            beside.replace(folder / f"part-{number:06}.rejected.csv")
        beside.write_text(json.dumps({"rows": rows, "refused": count}))
        beside.replace(done)  # only now the part is there
    finally:
        if writer is not None:
            writer.close()
        beside.unlink(missing_ok=True)
    return rows, count


def parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """For tables of some columns; without least and greatest of texts, which take more than half of the writing."""
    texts = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    others = [name for name in schema.names if name not in texts]
    return pq.ParquetWriter(path, schema, compression="lz4", use_dictionary=texts, write_statistics=others)


def parts_there(folder: Path) -> dict[int, tuple[int, int]]:
    """The parts that an earlier run has done: number → answered, refused."""
    found = {}
    for path in folder.glob("part-*.json"):
        facts = json.loads(path.read_text())
        found[int(path.stem.removeprefix("part-"))] = (facts["rows"], facts["refused"])
    return found


def refuse_out(source: Source, out: Path, keep: Sequence[str], *, overwrite: bool) -> None:
    """Raise Conflict where ``out`` or its table of refused rows is there, or lies in what is read; UnfitFile where it
    cannot be written, Invalid where its format cannot hold a column.
    """
    if source.path.resolve() in (out.resolve(), *out.resolve().parents):
        raise Conflict(
            f"{out} is what is read, or lies in it",
            f"{out} 即输入数据，或位于其中",
            mend="choose a name elsewhere",
            mend_zh="请将结果写到别处",
            file=out,
        )
    for path in (out, rejected_of(out)):
        if path.exists() and not overwrite:
            raise Conflict(
                f"{path} is there already",
                f"{path} 已存在",
                mend="choose another name, or give --overwrite",
                mend_zh="请换一个名称，或加 --overwrite",
                file=path,
            )
    if not out.parent.is_dir():
        raise unfit(out, f"cannot be written: there is no folder {out.parent}", f"无法写入：目录 {out.parent} 不存在",
                    mend="make the folder first", mend_zh="请先建立该目录")  # fmt: skip
    nested = [name for name in keep if name in source.nested]
    if nested and out.suffix.lower() not in ("", ".parquet", ".geoparquet"):
        raise Invalid(
            f"{out.suffix} cannot hold the column {nested[0]!r}, which is nested",
            f"{out.suffix} 无法保存嵌套列 {nested[0]!r}",
            mend="write .parquet, or leave it out with --keep",
            mend_zh="请输出为 .parquet，或用 --keep 不保留该列",
            field=nested[0],
        )


def prepare(source: Source, out: Path, plan: Plan, mark: str, *, overwrite: bool) -> Plan:
    """Make the folder of the parts beside ``out``, or find the one of an interrupted run of the very same.

    ``mark`` tells apart what answers rest on. Conflict where the parts are those of another run.
    """
    refuse_out(source, out, plan.keep, overwrite=overwrite)
    folder = out.parent / f".{out.name}.parts"
    files = sorted({part.path for part in source.parts}) or [str(source.path)]
    stats = [Path(file).stat() for file in files]
    facts = [[Path(file).name, said.st_size, said.st_mtime_ns] for file, said in zip(files, stats, strict=True)]
    said = {**asdict(plan), "folder": "", "files": facts, "mark": mark, "parts": len(source.parts)}
    fingerprint = hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()
    token = folder / "run.json"
    if token.exists() and json.loads(token.read_text())["fingerprint"] != fingerprint:
        raise Conflict(
            f"{folder.name} holds parts of another run: another file, other columns, or a grid or rules of before",
            f"{folder.name} 中是另一次运行的分块（文件、列、网格或规则不同）",
            mend=f"remove {folder} to begin anew",
            mend_zh=f"如需重新开始，请删除 {folder}",
            folder=folder,
        )
    folder.mkdir(exist_ok=True)
    token.write_text(json.dumps({"fingerprint": fingerprint}))
    return Plan(**{**vars(plan), "folder": str(folder)})


def rejected_of(out: Path) -> Path:
    """The table of the rows that are refused."""
    return out.with_name(f"{out.stem}.rejected.csv")


@contextmanager
def alone(plan: Plan) -> Iterator[None]:
    """Nobody else works on the same parts while the block runs; Conflict where somebody does."""
    folder = Path(plan.folder)
    with (folder / "run.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                "another run is at the same file",
                "另一进程正在处理同一文件",
                mend="wait for it, or choose another name",
                mend_zh="请等待其完成，或换一个名称",
                folder=folder,
            ) from None
        for stray in folder.glob(".part-*"):  # of one that was killed
            stray.unlink(missing_ok=True)
        yield


def assign_file(
    source: Source, plan: Plan, standing: Standing, *, progress: Progress, threads: int | None = None
) -> BulkReport:
    """Assign all parts of a file that are not there yet, on several threads; the parts stay in the plan's folder."""
    folder = Path(plan.folder)
    done = parts_there(folder)
    report = BulkReport(there=len(done))
    report.rows, report.refused = (sum(count[n] for count in done.values()) for n in (0, 1))
    started = time.monotonic()
    warm(standing, plan)
    threads = threads or len(os.sched_getaffinity(0))

    def jobs() -> Iterator[Callable[[], tuple[int, int]]]:
        if source.kind == "parquet":
            for part in source.parts:
                if part.number not in done:
                    yield partial(work_part, part, plan, standing)
            return
        for number, first, table in stream(source, BATCH_ROWS):
            if number not in done:
                yield partial(_write_part, number, str(source.path), first, [table], plan, standing)

    def take(finished: Iterable[Future[tuple[int, int]]]) -> None:
        for future in finished:
            rows, refused = future.result()
            report.rows, report.refused = report.rows + rows, report.refused + refused
            progress(report.rows + report.refused, source.rows, time.monotonic() - started)

    waiting: set[Future[tuple[int, int]]] = set()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for job in jobs():
                waiting.add(pool.submit(job))
                if len(waiting) > threads:  # no more of the file in memory than is worked on
                    finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    take(finished)
            take(waiting)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    report.seconds = time.monotonic() - started
    return report


def warm(standing: Standing, plan: Plan) -> None:
    """Make what all threads share, before they are there."""
    _ = standing.locator, standing.zones, standing.contexts, standing._pairs, standing._near, standing._plain
    _ = standing.zone_sets_of_cells, standing._tree
    for level in CODES:
        standing.names_of(level)
    if {*plan.answers} & {*BORDER}:
        _ = standing._near_borders
