"""The grid and files at the command line, and its two sheets: whole, labelled, readable, or refused in one message."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from PIL import Image
from sqlalchemy import Connection, Engine

from api.gridfiles import Imported, cells_at, check_city, commit_file, export_file, instant, read_file
from api.gridsheets import Words, community_sheet, quality, quality_sheet
from api.lettering import lettering
from api.paper import SCALES, Labels, laid_out
from gis.db import Access
from gis.errors import Invalid, NotFound, UnfitFile
from gis.formats import write_vector
from grids.areas import CELLS
from grids.check import check, errors_of
from grids.city import City
from tests.conftest import copied
from tests.hamlet import SRID, square
from tests.plats import block, sound
from tests.test_cli import Run, city, home, refused, run  # noqa: F401

COMMUNITY = "610999001001"
WORDS = Words(city=("试验市", "Testville"), srid=SRID, as_of="2026-11-23", simulated=True, source="made up")


def named(areas: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    return areas.assign(name_zh="试验社区", name_en="Test Community", data_source="made up")


def no_ground() -> gpd.GeoDataFrame:
    columns = ["kind", "grade", "name_zh", "name_en", "width_m", "data_source"]
    return gpd.GeoDataFrame({name: pd.Series(dtype=object) for name in columns}, geometry=[], crs=SRID)


def some_ground() -> gpd.GeoDataFrame:
    rows = [
        (
            "street",
            "street",
            "长路",
            "Long Street",
            12.0,
            shapely.LineString([(500_000, 3_600_250), (500_500, 3_600_250)]),
        ),
        ("street", "lane", None, None, None, shapely.LineString([(500_150, 3_600_000), (500_150, 3_600_500)])),
        ("water", "pond", "塘", "Pond", None, block(300, 300, 80, 80)),
        ("green", None, None, None, None, block(20, 20, 60, 60)),
        ("building", None, None, None, None, block(220, 120, 30, 12)),
        ("rail", None, None, None, None, shapely.LineString([(500_000, 3_600_480), (500_500, 3_600_400)])),
        ("wall", None, None, None, None, shapely.LineString([(500_100, 3_600_020), (500_180, 3_600_020)])),
    ]
    frame = pd.DataFrame(rows, columns=["kind", "grade", "name_zh", "name_en", "width_m", "geometry"])
    return gpd.GeoDataFrame(frame.assign(data_source="made up"), geometry="geometry", crs=SRID)


def pixels(path: Path) -> Any:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


# ── the map of a community ────────────────────────────────────────


@pytest.mark.parametrize("ground", [no_ground, some_ground])
def test_the_map_shows_magenta_borders_and_numbers_on_a_whole_sheet(tmp_path: Path, ground: Any) -> None:
    cells, areas = sound(1, 5, wobble_m=15)
    path = tmp_path / "map.png"
    community_sheet(path, COMMUNITY, cells=cells, areas=named(areas), barriers=ground(), words=WORDS)
    picture = pixels(path)
    assert sorted(picture.shape[:2]) == [1240, 1753]  # A4 at 150 dots an inch
    magenta = (picture[..., 0] > 150) & (picture[..., 1] < 60) & (picture[..., 2] > 80) & (picture[..., 2] < 160)
    rows, columns = np.nonzero(magenta)
    assert np.ptp(rows) > 0.5 * picture.shape[0] or np.ptp(columns) > 0.5 * picture.shape[1]
    assert (picture == 255).all(axis=2).mean() < 0.9
    assert list(tmp_path.iterdir()) == [path]


def test_a_pdf_has_one_page_of_the_size_of_the_paper(tmp_path: Path) -> None:
    cells, areas = sound(1, 5)
    path = tmp_path / "map.pdf"
    community_sheet(path, COMMUNITY, cells=cells, areas=named(areas), barriers=some_ground(), words=WORDS)
    content = path.read_bytes()
    assert content.startswith(b"%PDF-")
    assert content.rstrip().endswith(b"%%EOF")
    assert re.search(rb"/Type /Pages[^>]*/Count 1\b|/Count 1\b", content)
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", content)
    assert box
    assert sorted(round(float(side) / 72, 1) for side in box.groups()) == [8.3, 11.7]


def test_the_same_map_is_the_same_file(tmp_path: Path) -> None:
    cells, areas = sound(1, 3)
    for name in ("a.pdf", "b.pdf", "a.png", "b.png"):
        community_sheet(tmp_path / name, COMMUNITY, cells=cells, areas=named(areas), barriers=no_ground(), words=WORDS)
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("size_m", [(80, 60), (400, 900), (2000, 700), (9000, 8000), (90_000, 400)])
def test_a_place_of_any_size_fits_its_sheet_at_a_round_scale(size_m: tuple[int, int]) -> None:
    paper = laid_out((0, 0, *size_m), side=0.55, head=1.25, foot=1.05)
    west, south, east, north = paper.window
    assert west <= 0
    assert south <= 0
    assert east >= size_m[0]
    assert north >= size_m[1]
    assert paper.scale in SCALES or paper.scale % 50_000 == 0
    assert (east - west) / (paper.box[2] * 0.0254) == pytest.approx(paper.scale)


def test_labels_do_not_overlap() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 4))
    canvas: Any = FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 100), ylim=(0, 100))
    labels = Labels(ax, canvas.get_renderer(), lettering([]), np.zeros((0, 4)))
    written = [labels.inside(shapely.box(10 * n, 0, 10 * n + 30, 30), f"{n:03}", (12, 8, 6)) for n in range(8)]
    assert any(written)
    assert not labels.inside(shapely.box(0, 0, 1, 1), "far too long", (12,))
    boxes = labels.taken
    over = (boxes[:, None, :2] < boxes[None, :, 2:]).all(2) & (boxes[None, :, :2] < boxes[:, None, 2:]).all(2)
    assert over.sum() == len(boxes)


def test_a_city_that_is_simulated_says_so(tmp_path: Path) -> None:
    cells, areas = sound(1, 3)
    red = []
    for simulated in (True, False):
        words = Words(city=WORDS.city, srid=SRID, as_of="2026-11-23", simulated=simulated)
        path = tmp_path / f"{simulated}.png"
        community_sheet(path, COMMUNITY, cells=cells, areas=named(areas), barriers=no_ground(), words=words)
        picture = pixels(path)[: pixels(path).shape[0] // 8]
        red.append(int(((picture[..., 0] > 130) & (picture[..., 1] < 60) & (picture[..., 2] < 60)).sum()))
    assert red[0] > 500
    assert red[1] == 0


@pytest.mark.parametrize("code", ["610999001", "610999001009", "nonsense", ""])
def test_a_code_that_is_no_community_is_refused(tmp_path: Path, code: str) -> None:
    cells, areas = sound(1, 3)
    with pytest.raises(NotFound) as caught:
        community_sheet(tmp_path / "a.png", code, cells=cells, areas=named(areas), barriers=no_ground(), words=WORDS)
    assert caught.value.mend
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.jpg", "a", "none/a.png"])
def test_neither_sheet_is_written_as_another_format(tmp_path: Path, name: str) -> None:
    cells, areas = sound(1, 3)
    with pytest.raises(UnfitFile):
        quality_sheet(tmp_path / name, cells=cells, areas=named(areas), findings=[], words=WORDS)


# ── the report ────────────────────────────────────────


@pytest.mark.parametrize("size", [(1, 3), (3, 4)])
@pytest.mark.parametrize("damaged", [False, True])
def test_the_report_is_one_page(tmp_path: Path, size: tuple[int, int], damaged: bool) -> None:
    cells, areas = sound(*size, wobble_m=10)
    cells = cells.iloc[1:] if damaged else cells
    findings = check(cells, areas)
    assert bool(errors_of(findings)) == damaged
    for name in ("report.pdf", "report.png"):
        quality_sheet(tmp_path / name, cells=cells, areas=named(areas), findings=findings, words=WORDS)
    assert b"/Count 1" in (tmp_path / "report.pdf").read_bytes()
    quality_sheet(tmp_path / "none.png", cells=cells, areas=named(areas), findings=[], words=WORDS)
    pictures = [pixels(tmp_path / name) for name in ("report.png", "none.png")]
    assert (pictures[0] < 250).any(axis=2).mean() > 0.02
    red, none = ((abs(picture - np.array([198, 40, 40])) < 12).all(axis=2).sum() for picture in pictures)
    assert (red > none) == damaged


def test_the_figures_are_those_of_the_grid() -> None:
    cells, _ = sound(2, 3)
    figures = {en: number for _, en, number in quality(cells)}
    assert figures["cells"] == "36"
    assert figures["communities"] == "4"
    assert figures["total area"] == "0.360 km²"
    assert figures["compactness, median"] == "0.79"
    odd = cells.copy()
    odd.loc[0, "geometry"] = block(0, 0, 10, 10)
    assert "97.2%" in [number for _, _, number in quality(odd)]
    assert quality(cells.iloc[:0]) == [("网格数", "cells", "0")]


# ── with the database ────────────────────────────────────────


def test_the_hamlet_is_sound(conn: Connection, template: City) -> None:
    cells, findings = check_city(conn, template)
    assert len(cells) == 16
    assert errors_of(findings) == []


def test_the_layer_measures_as_python_does(conn: Connection) -> None:
    from grids.measures import measures

    served = CELLS.read(conn, SRID)
    for name, column in measures(served).items():
        assert np.allclose(served[name], column, rtol=1e-12)


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet", ".shp", ".zip", ".geojson", ".fgb"])
def test_an_export_is_the_grid_to_the_last_bit(conn: Connection, template: City, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"grid{suffix}"
    assert export_file(conn, template, path) == 16
    again = read_file(conn, template, path, mapping={})
    assert again.table[["new", "changed", "gone"]].to_numpy().sum() == 0
    assert again.table["same"].sum() == 16
    assert errors_of(again.findings) == []


def test_the_standards_fields_go_into_a_shapefile_and_ours_into_a_geopackage(
    conn: Connection, template: City, tmp_path: Path
) -> None:
    export_file(conn, template, tmp_path / "a.shp", communities=[COMMUNITY])
    export_file(conn, template, tmp_path / "a.gpkg", communities=[COMMUNITY])
    standard = ["BGCode", "BGName", "Area", "ORDate", "CHDate", "DEDate", "Note"]
    assert list(pyogrio.read_info(tmp_path / "a.shp")["fields"]) == standard
    ours = list(pyogrio.read_info(tmp_path / "a.gpkg", layer="cells")["fields"])
    assert {"code", "community_code", "area_class", "area_m2", "perimeter_m", "compactness"} <= set(ours)
    assert len(pyogrio.read_dataframe(tmp_path / "a.shp")) == 4


def test_nothing_held_before_the_city_began(conn: Connection, template: City, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        export_file(conn, template, tmp_path / "a.gpkg", at=instant("2020-01-01", template))
    with pytest.raises(NotFound):
        export_file(conn, template, tmp_path / "a.gpkg", communities=["610999009009"])
    with pytest.raises(Invalid):
        instant("yesterday", template)
    assert instant("2026-01-01T00:00", template).isoformat() == "2025-12-31T16:00:00+00:00"


@pytest.fixture
def own(server: Access, template: City, worker_id: str) -> Iterator[Engine]:
    """A copy of the hamlet that the test may change."""
    engine = copied(server, template, f"sheets_{worker_id}")
    yield engine
    engine.dispose()


def redrawn(conn: Connection, template: City) -> gpd.GeoDataFrame:
    """The first community with two of its cells merged and a border moved by ten metres."""
    cells = cells_at(conn, template, communities=[COMMUNITY])[["code", "area_class", "geometry"]]
    shapes = dict(zip(cells["code"], cells.geometry, strict=True))
    shapes[f"{COMMUNITY}001"] = square(0, 100, 90, 100)
    shapes[f"{COMMUNITY}002"] = square(90, 100, 110, 100)
    del shapes[f"{COMMUNITY}003"], shapes[f"{COMMUNITY}004"]
    shapes[f"{COMMUNITY}005"] = square(0, 0, 200, 100)
    return gpd.GeoDataFrame({"BGCode": list(shapes)}, geometry=list(shapes.values()), crs=SRID)


def test_a_grid_from_a_file_becomes_the_grid(own: Engine, template: City, tmp_path: Path) -> None:
    with own.begin() as conn:
        write_vector(redrawn(conn, template), tmp_path / "new.shp")
        read = read_file(conn, template, tmp_path / "new.shp", mapping={}, heal_m=0.05)
        assert errors_of(read.findings) == []
        row = read.table.set_index("community").loc[COMMUNITY]
        assert row.to_dict() == {"new": 1, "changed": 2, "same": 0, "gone": 2}
        commit_file(conn, read, actor="tester", note="from a file")
    with own.connect() as conn:
        now = cells_at(conn, template, communities=[COMMUNITY])
        assert list(now["code"]) == [f"{COMMUNITY}{serial}" for serial in ("001", "002", "005")]
        assert now.area.tolist() == [9_000.0, 11_000.0, 20_000.0]
        assert len(cells_at(conn, template)) == 15
        again = read_file(conn, template, tmp_path / "new.shp", mapping={})
        assert again.table[["new", "changed", "gone"]].to_numpy().sum() == 0
        before = now["since"].max() - pd.Timedelta(seconds=1)
        assert len(cells_at(conn, template, before.to_pydatetime(), [COMMUNITY])) == 4
        # its retired numbers may not come back
        back = cells_at(conn, template, before.to_pydatetime(), [COMMUNITY])
        write_vector(back[["code", "geometry"]], tmp_path / "old.gpkg")
        found = read_file(conn, template, tmp_path / "old.gpkg", mapping={}).findings
        assert {f.code for f in found if f.rule == "code_retired"} == {f"{COMMUNITY}003", f"{COMMUNITY}004"}


def test_a_grid_with_errors_is_not_taken_over(conn: Connection, template: City, tmp_path: Path) -> None:
    write_vector(redrawn(conn, template).iloc[1:], tmp_path / "new.gpkg")
    read: Imported = read_file(conn, template, tmp_path / "new.gpkg", mapping={})
    assert {finding.rule for finding in errors_of(read.findings)} == {"gap"}
    with pytest.raises(Invalid, match="1 errors"):
        commit_file(conn, read, actor="tester", note="")


# ── the command line ────────────────────────────────────────


def test_check_says_what_it_found(run: Run, tmp_path: Path) -> None:  # noqa: F811
    done = run("--language", "en", "grid", "check", "--out", tmp_path / "f.gpkg")
    assert done.exit_code == 0, done.output
    assert "16 cells in 4 communities" in done.stdout
    assert "no errors: fit to publish" in done.stdout
    assert (tmp_path / "f.gpkg").exists()
    assert "无错误" in run("--language", "zh", "grid", "check").stdout


def test_a_file_goes_out_is_damaged_and_is_found_out(run: Run, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "grid.gpkg"
    assert run("grid", "export", file).exit_code == 0
    refused(run("grid", "export", file), "is there already", "--overwrite")
    assert run("grid", "export", file, "--overwrite", "--names", "standard").exit_code == 0
    assert "BGCode" in pyogrio.read_info(file)["fields"]
    cells = gpd.read_file(file)
    write_vector(cells.iloc[1:], tmp_path / "bad.geojson")
    done = run("grid", "check", tmp_path / "bad.geojson", "--out", tmp_path / "f.gpkg")
    assert done.exit_code == 1
    assert "10,000.00 m² of community" in done.stdout
    assert pyogrio.read_dataframe(tmp_path / "f.gpkg", layer="findings_polygons")["rule"].tolist() == ["gap"]
    done = run("grid", "import", file)
    assert done.exit_code == 0
    assert "16 the same" in done.stdout
    assert "--commit" in done.stdout
    refused_late = run("grid", "import", tmp_path / "bad.geojson", "--commit")
    assert refused_late.exit_code == 1
    assert "was not taken over" in refused_late.stderr


def test_import_commits_and_lists_what_was_healed(run: Run, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "grid.gpkg"
    run("grid", "export", file, "--community", COMMUNITY)
    cells = gpd.read_file(file)
    cells.loc[0, "geometry"] = square(0, 100, 99.75, 100)
    write_vector(cells, file, overwrite=True)
    assert run("grid", "import", file).exit_code == 1
    done = run("grid", "import", file, "--heal", "0.3", "--moves", tmp_path / "moves.csv", "--commit", "--actor", "me")
    assert done.exit_code == 0, done.output
    assert pd.read_csv(tmp_path / "moves.csv")["what"].tolist()[:1] == ["gap"]


@pytest.mark.parametrize("name", ["map.png", "map.pdf"])
def test_map_and_report_are_drawn(run: Run, tmp_path: Path, name: str) -> None:  # noqa: F811
    for words in (("grid", "map", COMMUNITY), ("grid", "report")):
        done = run(*words, tmp_path / name)
        assert done.exit_code == 0, done.output
        assert (tmp_path / name).stat().st_size > 10_000


def test_trouble_is_one_message(run: Run, tmp_path: Path) -> None:  # noqa: F811
    refused(run("grid", "map", "610999009009", tmp_path / "a.pdf"), "there is no community 610999009009")
    refused(run("grid", "map", COMMUNITY, tmp_path / "a.doc"), "neither a PDF nor a PNG")
    refused(run("grid", "report", tmp_path / "a.doc"), "neither a PDF nor a PNG")
    refused(run("grid", "import", tmp_path / "none.shp"), "is not there")
    refused(run("grid", "check", tmp_path / "none.shp", "--map", "code"), "NAME=FIELD")
    refused(run("grid", "export", tmp_path / "a.xyz"), "extension")
    refused(run("grid", "export", tmp_path / "a.shp", "--names", "nice"), "field names")
    refused(run("grid", "export", tmp_path / "a.shp", "--at", "soon"), "no instant")
