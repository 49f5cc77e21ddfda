"""Files of any size: every format gives the same answers, interrupted runs are taken up again, bad files are named."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shapely import LineString, Point
from sqlalchemy import Connection

from cases import bulk, bulk_read
from cases.bulk import BulkReport, Plan, alone, assign_file, prepare
from cases.bulk_read import Columns, Source, columns_of, open_source
from cases.bulk_write import finish
from cases.cluster import assign_on_cluster
from cases.standing import COLUMNS, Standing, read_standing
from gis.crs import GEODETIC, transform
from gis.errors import Conflict, Invalid, Unavailable, UnfitCoordinates, UnfitFile
from grids.city import City
from tests.hamlet import SRID
from tests.laws.test_assign_law import Question, assigned, enriched, questions
from tests.test_standing import reports_of

ROWS = 4_000


@pytest.fixture
def standing(conn: Connection, template: City) -> Standing:
    enriched(conn, random.Random(5))
    return read_standing(conn, template)


@pytest.fixture
def asked(conn: Connection, standing: Standing) -> list[Question]:
    """Questions that would be answered: of classes and conditions of the catalogue, inside."""
    chance = random.Random(5)
    world = type("World", (), {"components": list(standing.components.index)})
    known = [
        replace(one, class_code=chance.choice(["C0101", "E0101", "E0102"]), condition_no=None)
        for one in questions(chance, world)
    ]  # type: ignore[arg-type]
    inside = [one for one, answer in zip(known, assigned(conn, known), strict=True) if answer.cell_code]
    return [inside[n % len(inside)] for n in range(ROWS)]


def table(asked: list[Question], **more: Any) -> pd.DataFrame:
    frame = reports_of(asked).rename(columns={"class_code": "class", "component_code": "component"})
    return frame.drop(columns="condition_no").assign(id=range(len(frame)), said="说明 words", **more)


def run(
    source: Path, out: Path, standing: Standing, *, said: Columns | None = None, part_rows: int = 900, **more: Any
) -> BulkReport:
    file = open_source(source, part_rows=part_rows)
    meant = columns_of(file, said or Columns(srid=SRID), SRID)
    keep = (*file.names, *([file.geometry] if file.geometry else []))
    plan = prepare(
        file, out, Plan(columns=meant, keep=keep, answers=COLUMNS, prefix="", folder=""), standing.mark, overwrite=False
    )
    work = more.pop("work", assign_file)
    with alone(plan):
        report: BulkReport = work(file, plan, standing, progress=lambda *_: None, **more)
        finish(plan, out, report, overwrite=False)
    return report


def answers_of(path: Path) -> pd.DataFrame:
    if path.suffix == ".csv":
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    elif path.suffix == ".gpkg":
        frame = pd.DataFrame(gpd.read_file(path))
    else:
        frame = pq.read_table(path).to_pandas()
    plain = frame.sort_values("id", key=lambda column: column.astype(int))[list(COLUMNS)].astype(object)
    return plain.where(plain.notna(), "").astype(str).reset_index(drop=True)


# ── the same answers ────────────────────────────────────────


@pytest.mark.parametrize("made", ["file.parquet", "folder", "geo.parquet", "utf8.csv", "gbk.csv", "points.gpkg"])
@pytest.mark.parametrize("wanted", ["out.parquet", "out"])
def test_every_format_gives_the_answers_of_postgis(
    conn: Connection, standing: Standing, asked: list[Question], tmp_path: Path, made: str, wanted: str
) -> None:
    frame, path = table(asked), tmp_path / made
    points = gpd.GeoDataFrame(
        frame.drop(columns=["x", "y"]), geometry=gpd.points_from_xy(frame["x"], frame["y"]), crs=SRID
    )
    if made == "folder":
        path.mkdir()
        for n in range(3):
            frame.iloc[n::3].to_parquet(path / f"{n}.parquet")
    elif made == "file.parquet":
        pq.write_table(pa.Table.from_pandas(frame), path, row_group_size=700)
    elif made == "geo.parquet":
        points.to_parquet(path)
    elif made.endswith(".csv"):
        frame.to_csv(path, index=False, encoding="gb18030" if made == "gbk.csv" else "utf-8-sig")
    else:
        points.to_file(path)
    out = tmp_path / wanted
    said = Columns() if made in ("geo.parquet", "points.gpkg") else None
    report = run(path, out, standing, said=said)
    assert (report.rows, report.refused, report.outputs) == (ROWS, 0, (out,))
    found = answers_of(out)
    expected = assigned(conn, asked)
    for name, of in (
        ("cell_code", "cell_code"),
        ("unit", "unit"),
        ("rule", "rule"),
        ("basis", "basis"),
        ("placed", "placed"),
    ):
        assert found[name].tolist() == [getattr(one, of) or "" for one in expected], name
    assert found["assisting"].tolist() == [";".join(one.assisting) for one in expected]
    assert found["street_code"].tolist() == [one.cell_code[:9] for one in expected if one.cell_code]
    whole = pq.read_table(out).to_pandas()
    assert set(whole["said"]) == {"说明 words"}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([made, wanted]), "nothing is left behind"
    if made == "geo.parquet" and wanted == "out.parquet":
        assert gpd.read_parquet(out).crs == SRID


@pytest.mark.parametrize("wanted", ["out.csv", "out.gpkg"])
def test_answers_go_out_as_a_table_or_a_layer(
    standing: Standing, asked: list[Question], tmp_path: Path, wanted: str
) -> None:
    table(asked).to_parquet(tmp_path / "in.parquet")
    run(tmp_path / "in.parquet", tmp_path / "same.parquet", standing)
    run(tmp_path / "in.parquet", tmp_path / wanted, standing)
    pd.testing.assert_frame_equal(answers_of(tmp_path / wanted), answers_of(tmp_path / "same.parquet"))


def test_degrees_and_a_named_column_give_the_same_cells(
    standing: Standing, asked: list[Question], tmp_path: Path
) -> None:
    inner = [one for one in asked if 3 < one.east_m % 100 < 97 and 3 < one.north_m % 100 < 97][:200]
    frame = table(inner)
    frame["lng"], frame["lat"] = transform(frame.pop("x"), frame.pop("y"), SRID, GEODETIC)
    frame.rename(columns={"class": "kind of it"}).to_parquet(tmp_path / "degrees.parquet")
    table(inner).to_parquet(tmp_path / "metres.parquet")
    run(tmp_path / "degrees.parquet", tmp_path / "a", standing, said=Columns(class_code="kind of it", srid=GEODETIC))
    run(tmp_path / "metres.parquet", tmp_path / "b", standing)
    pd.testing.assert_frame_equal(answers_of(tmp_path / "a"), answers_of(tmp_path / "b"))


def test_bad_rows_go_to_a_table_with_row_and_reason(standing: Standing, asked: list[Question], tmp_path: Path) -> None:
    frame = table(asked[:1000])
    for row, name, value in ((3, "x", np.nan), (500, "x", 1e6), (501, "class", "X9"), (900, "y", np.inf)):
        frame.loc[row, name] = value
    frame["condition"] = 1
    frame.loc[frame["class"] != "E0102", "condition"] = None
    frame.loc[10, ["class", "condition"]] = ["E0102", 77]
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "in.parquet", row_group_size=300)
    report = run(tmp_path / "in.parquet", tmp_path / "out.parquet", standing)
    assert (report.rows, report.refused) == (995, 5)
    assert report.outputs[1].name == "out.rejected.csv"
    told = pd.read_csv(report.outputs[1])
    assert list(zip(told["row"], told["reason"], strict=True)) == [
        (4, "no_place"), (11, "unknown_condition"), (501, "outside"), (502, "unknown_class"), (901, "no_place"),
    ]  # fmt: skip
    assert set(told["file"]) == {"in.parquet"}


# ── interrupted ────────────────────────────────────────


@pytest.mark.parametrize("made", ["in.parquet", "in.csv"])
def test_an_interrupted_run_is_taken_up_where_it_was(
    standing: Standing, asked: list[Question], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    frame = table(asked)
    if made == "in.csv":
        frame.to_csv(tmp_path / made, index=False)
        monkeypatch.setattr(bulk, "BATCH_ROWS", 500)
        monkeypatch.setattr(bulk_read, "CSV_BLOCK", 20_000)
    else:
        pq.write_table(pa.Table.from_pandas(frame), tmp_path / made, row_group_size=500)
    real, calls = bulk.assign_table, iter(range(100))

    def fails(*args: Any, **more: Any) -> Any:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return real(*args, **more)

    monkeypatch.setattr(bulk, "assign_table", fails)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / made, tmp_path / "out.parquet", standing, part_rows=500, threads=1)
    assert not (tmp_path / "out.parquet").exists(), "nothing half done is seen"
    parts = tmp_path / ".out.parquet.parts"
    there = len(list(parts.glob("part-*.json")))
    assert 3 <= there < 8
    monkeypatch.setattr(bulk, "assign_table", real)
    report = run(tmp_path / made, tmp_path / "out.parquet", standing, part_rows=500)
    assert (report.there, report.rows) == (there, ROWS)
    assert not parts.exists()
    run(tmp_path / made, tmp_path / "again.parquet", standing, part_rows=500)
    pd.testing.assert_frame_equal(answers_of(tmp_path / "out.parquet"), answers_of(tmp_path / "again.parquet"))


def test_parts_of_another_run_are_not_mixed_in(
    standing: Standing, asked: list[Question], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table(asked).to_parquet(tmp_path / "in.parquet")
    monkeypatch.setattr(bulk, "assign_table", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "in.parquet", tmp_path / "out", standing)
    monkeypatch.undo()
    table(asked[:-1]).to_parquet(tmp_path / "in.parquet")
    with pytest.raises(Conflict, match="parts of another run"):
        run(tmp_path / "in.parquet", tmp_path / "out", standing)


def test_a_full_disk_leaves_no_half_part(
    standing: Standing, asked: list[Question], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table(asked).to_parquet(tmp_path / "in.parquet")

    class Full(pq.ParquetWriter):
        def write_table(self, *args: Any, **more: Any) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(bulk.pq, "ParquetWriter", Full)
    with pytest.raises(OSError, match="No space"):
        run(tmp_path / "in.parquet", tmp_path / "out", standing)
    assert [path.name for path in (tmp_path / ".out.parts").iterdir() if path.suffix != ".lock"] == ["run.json"]
    monkeypatch.undo()
    assert run(tmp_path / "in.parquet", tmp_path / "out", standing).rows == ROWS


def test_two_runs_at_once_and_what_is_there_already_are_refused(
    standing: Standing, asked: list[Question], tmp_path: Path
) -> None:
    table(asked[:100]).to_parquet(tmp_path / "in.parquet")

    def meanwhile(file: Source, plan: Plan, standing: Standing, **more: Any) -> BulkReport:
        with pytest.raises(Conflict, match="another run"):
            run(tmp_path / "in.parquet", tmp_path / "out", standing)
        return assign_file(file, plan, standing, **more)

    assert run(tmp_path / "in.parquet", tmp_path / "out", standing, work=meanwhile).rows == 100
    (tmp_path / "other.rejected.csv").write_text("somebody's")
    for out in ("out", "other.parquet"):
        with pytest.raises(Conflict, match="is there already"):
            run(tmp_path / "in.parquet", tmp_path / out, standing)
    assert (tmp_path / "other.rejected.csv").read_text() == "somebody's"


def test_what_is_read_is_never_written_over(standing: Standing, asked: list[Question], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / ".hidden").mkdir(parents=True)
    table(asked[:100]).to_parquet(folder / "a.parquet")
    table(asked[:50]).to_parquet(folder / ".hidden" / "b.parquet")
    assert open_source(folder).rows == 100
    for out in (folder, folder / "out.parquet", folder / "a.parquet"):
        with pytest.raises(Conflict, match="what is read"):
            run(folder if out != folder / "a.parquet" else out, out, standing)


# ── bad files ────────────────────────────────────────


@pytest.mark.parametrize(
    ("columns", "said", "words"),
    [
        ({"east": [1.0]}, Columns(srid=SRID), "does not say where its reports are: it has east"),
        ({"x": [1.0], "y": [1.0]}, Columns(), "does not say its coordinate system"),
        ({"x": [1.0], "y": [1.0]}, Columns(srid=SRID, class_code="no"), "has no column 'no'; it has x, y"),
        ({"x": [1.0], "y": [1.0]}, Columns(srid=SRID, x="y"), "the same column"),
    ],
)
def test_what_a_file_does_not_say_is_asked_for(tmp_path: Path, columns: Any, said: Columns, words: str) -> None:
    pd.DataFrame(columns).to_parquet(tmp_path / "in.parquet")
    with pytest.raises(Invalid, match=words):
        columns_of(open_source(tmp_path / "in.parquet"), said, SRID)


@pytest.mark.parametrize(
    "kind", ["missing", "empty folder", "no parquet", "a part is broken", "other columns", "no csv", "no gpkg"]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "in.parquet"
    if kind in ("empty folder", "a part is broken", "other columns"):
        path = tmp_path / "folder"
        path.mkdir()
    if kind in ("a part is broken", "other columns"):
        pd.DataFrame({"x": [1.0], "y": [1.0]}).to_parquet(path / "0.parquet")
        pd.DataFrame({"x": [1.0], "z": [1.0]}).to_parquet(path / "1.parquet")
    if kind == "a part is broken":
        (path / "1.parquet").write_bytes((path / "1.parquet").read_bytes()[:-20])
    elif kind == "no parquet":
        path.write_text("x,y\n")
    elif kind == "no csv":
        path = tmp_path / "in.csv"
        path.write_text("")
    elif kind == "no gpkg":
        path = tmp_path / "in.gpkg"
        path.write_text("nothing")
    named = "1.parquet" if kind in ("a part is broken", "other columns") else path.name
    with pytest.raises(UnfitFile, match=named):
        open_source(path)


@pytest.mark.parametrize("srid", [99_999, 4978])
def test_a_system_that_is_none_is_refused_as_such(tmp_path: Path, srid: int) -> None:
    pd.DataFrame({"x": [1.0], "y": [1.0]}).to_parquet(tmp_path / "in.parquet")
    with pytest.raises(UnfitCoordinates):
        columns_of(open_source(tmp_path / "in.parquet"), Columns(srid=srid), SRID)


def test_lines_columns_said_twice_and_nested_ones_are_refused_before_any_work(
    standing: Standing, asked: list[Question], tmp_path: Path
) -> None:
    lines = gpd.GeoDataFrame(geometry=[LineString([(0, 0), (1, 1)])], crs=SRID)
    lines.to_file(tmp_path / "lines.gpkg")
    lines.to_parquet(tmp_path / "lines.parquet")
    for name in ("lines.gpkg", "lines.parquet"):
        with pytest.raises(UnfitFile, match="not points"):
            open_source(tmp_path / name)
    (tmp_path / "twice.csv").write_text("x,y,y\n1,2,3\n")
    with pytest.raises(UnfitFile, match="'y' twice"):
        run(tmp_path / "twice.csv", tmp_path / "out", standing)
    table(asked[:3], many=[[1], [2], [3]]).to_parquet(tmp_path / "nested.parquet")
    with pytest.raises(Invalid, match="'many', which is nested"):
        run(tmp_path / "nested.parquet", tmp_path / "out.csv", standing)
    assert not list(tmp_path.glob(".*"))


def test_empty_points_and_conditions_that_are_no_numbers_are_refused_row_by_row(
    standing: Standing, asked: list[Question], tmp_path: Path
) -> None:
    frame = table(asked[:4], condition=["x", "1.5", None, " "]).assign(**{"class": "E0102"})
    frame.to_parquet(tmp_path / "in.parquet")
    assert run(tmp_path / "in.parquet", tmp_path / "out.parquet", standing).refused == 2
    points = [Point(*frame.loc[0, ["x", "y"]]), None, Point()]
    gpd.GeoDataFrame({"id": [0, 1, 2]}, geometry=points, crs=SRID).to_file(tmp_path / "in.gpkg")
    report = run(tmp_path / "in.gpkg", tmp_path / "points.parquet", standing, said=Columns())
    assert (report.rows, report.refused) == (1, 2)


def test_a_part_that_breaks_while_it_is_read_is_named(
    standing: Standing, asked: list[Question], tmp_path: Path
) -> None:
    frame = table(asked)
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "in.parquet", compression="none")
    content = bytearray((tmp_path / "in.parquet").read_bytes())
    content[4:2000] = b"\xff" * 1996
    (tmp_path / "in.parquet").write_bytes(content)
    with pytest.raises(UnfitFile, match=r"in\.parquet"):
        run(tmp_path / "in.parquet", tmp_path / "out", standing)


def test_an_empty_file_has_no_answers(standing: Standing, asked: list[Question], tmp_path: Path) -> None:
    table(asked[:1]).iloc[:0].to_parquet(tmp_path / "in.parquet")
    report = run(tmp_path / "in.parquet", tmp_path / "out.parquet", standing)
    assert (report.rows, report.refused) == (0, 0)
    assert set(COLUMNS) < set(pq.read_schema(tmp_path / "out.parquet").names)
    run(tmp_path / "in.parquet", tmp_path / "out.csv", standing)
    assert "cell_code" in (tmp_path / "out.csv").read_text()


# ── on a cluster ────────────────────────────────────────


def on_cluster(file: Source, plan: Plan, standing: Standing, **more: Any) -> BulkReport:
    return assign_on_cluster(file, plan, standing, **{"scheduler": None, **more})


@pytest.fixture
def cluster() -> Iterator[Any]:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", protocol="tcp"
    ) as made:
        yield made


def test_workers_give_the_same_answers_also_when_one_is_killed(
    standing: Standing, asked: list[Question], tmp_path: Path, cluster: Any
) -> None:
    import os
    import signal

    frame = pd.concat([table(asked)] * 30, ignore_index=True)
    frame["id"] = range(len(frame))
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "in.parquet", row_group_size=1000)
    run(tmp_path / "in.parquet", tmp_path / "local.parquet", standing, part_rows=1000)
    seen: list[int] = []

    def kill_one(done: int, *_: Any) -> None:
        seen.append(done)
        if len(seen) == 5:
            os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)

    def work(file: Source, plan: Plan, standing: Standing, **_: Any) -> BulkReport:
        return assign_on_cluster(file, plan, standing, scheduler=cluster.scheduler_address, progress=kill_one)

    report = run(tmp_path / "in.parquet", tmp_path / "far.parquet", standing, part_rows=1000, work=work)
    assert (report.rows, len(seen)) == (len(frame), len(frame) // 1000)
    pd.testing.assert_frame_equal(answers_of(tmp_path / "far.parquet"), answers_of(tmp_path / "local.parquet"))


def test_a_scheduler_that_is_not_there_and_a_file_without_parts_are_refused(
    standing: Standing, asked: list[Question], tmp_path: Path
) -> None:
    table(asked[:10]).to_parquet(tmp_path / "in.parquet")
    table(asked[:10]).to_csv(tmp_path / "in.csv", index=False)
    with pytest.raises(Unavailable, match="no scheduler answers"):
        run(tmp_path / "in.parquet", tmp_path / "a", standing, work=on_cluster, scheduler="tcp://127.0.0.1:9")
    with pytest.raises(Invalid, match="cannot be taken in parts"):
        run(tmp_path / "in.csv", tmp_path / "b", standing, work=on_cluster)
