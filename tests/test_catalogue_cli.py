"""``wanmi catalogue …`` as a person types it."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.cli import app
from gis.db import Access, database_name
from grids.city import City
from tests.conftest import copy_database
from tests.sheets import EVENTS, PARTS, workbook
from tests.test_cli import PROFILE

Run = Callable[..., Any]


@pytest.fixture
def run(server: Access, template: City, worker_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command on a fresh copy of the hamlet."""
    name = f"catalogue_cli_{worker_id}"
    copy_database(server, database_name(template.id), database_name(name))
    folder = tmp_path / "data" / name
    folder.mkdir(parents=True)
    (folder / "city.toml").write_text(PROFILE, encoding="utf-8")
    for setting in [setting for setting in os.environ if setting.startswith(("WANMI_", "LC_", "LANG"))]:
        monkeypatch.delenv(setting)
    monkeypatch.setenv("WANMI_HOME", str(tmp_path))
    monkeypatch.setenv("WANMI_CITY", name)
    monkeypatch.setenv("WANMI_DATABASE_URL", server.url("postgres"))
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], prog_name="wanmi")


def test_from_the_sheet_to_the_edition_and_back(run: Run, tmp_path: Path) -> None:
    assert "* hamlet" in run("catalogue", "list").stdout
    sheet = tmp_path / "sheet.xlsx"
    assert "5 rows" in run("catalogue", "export", sheet).stdout
    refused = run("catalogue", "export", sheet)
    assert refused.exit_code == 1
    assert "--overwrite" in refused.stderr
    assert "nothing differs from hamlet" in run("catalogue", "import", sheet, "--commit").stdout
    changed = workbook(tmp_path / "changed.xlsx", [[*PARTS[0][:8], "4小时"], PARTS[1]], EVENTS)
    dry = run("catalogue", "import", changed, "--code", "second")
    assert dry.exit_code == 0
    assert "C0101 / 1  2紧急工作时 → 4工作时" in dry.stdout
    assert "second" not in run("catalogue", "list").stdout
    done = run("catalogue", "import", changed, "--code", "second", "--note", "new manual", "--actor", "lin", "--commit")
    assert "second is in force since" in done.stdout, done.output
    listed = run("catalogue", "list").stdout
    assert "* second" in listed
    assert "lin: new manual" in listed
    assert "4 working hours: missing" in run("catalogue", "show", "c0101").stdout
    assert "2 urgent hours: missing" in run("catalogue", "show", "C0101", "--edition", "hamlet").stdout
    assert (
        "2紧急工作时:缺失 → 恢复" in run("--language", "zh", "catalogue", "show", "C0101", "--edition", "hamlet").stdout
    )
    pairs = list(csv.DictReader(io.StringIO(run("catalogue", "map", "hamlet", "second").stdout)))
    assert [pairs[0][name] for name in ("from_code", "relation", "reviewed")] == ["C0101", "same", "1"]
    out = tmp_path / "differences.csv"
    assert "--commit puts hamlet in force" in run("catalogue", "use", "hamlet", "--out", out).stdout
    assert "4工作时,2紧急工作时" in out.read_text(encoding="utf-8-sig")
    assert "hamlet is in force since" in run("catalogue", "use", "hamlet", "--commit").stdout
    assert "* hamlet" in run("catalogue", "list").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show", "C0999"), "edition hamlet has no class 'C0999'"),
        (("show", "C0101", "--edition", "x"), "there is no edition 'x'"),
        (("use", "x"), "there is no edition 'x'"),
        (("use", "hamlet", "--commit"), "hamlet is in force"),
        (("map", "hamlet", "x"), "there is no edition 'x'"),
        (("map", "hamlet", "CJT214-2007"), "there is no mapping between"),
        (("import", "nowhere.xlsx"), "there is no file"),
        (("import", "nowhere.xlsx", "--kind", "thing"), "'thing' is no kind of class"),
        (("export", "sheet.pdf"), "written as .xlsx or .csv"),
    ],
)
def test_what_cannot_be_done_is_one_clear_message(run: Run, words: tuple[str, ...], message: str) -> None:
    result = run("catalogue", *words)
    assert result.exit_code == 1
    assert message in result.stderr
    assert "mend: " in result.stderr
    assert "Traceback" not in result.output


def test_a_sheet_with_errors_is_shown_and_refused(run: Run, tmp_path: Path) -> None:
    faulty = workbook(tmp_path / "faulty.xlsx", [[*PARTS[0][:8], "立即"]], EVENTS)
    result = run("catalogue", "import", faulty, "--commit", "--out", tmp_path / "findings.csv")
    assert result.exit_code == 1
    assert "no limit that can be read" in result.stdout
    assert "部件 2  处置时限  '立即'" in result.stdout
    assert "mend the errors first" in result.stdout
    assert "limit_unknown" in (tmp_path / "findings.csv").read_text(encoding="utf-8-sig")
    assert "* hamlet" in run("catalogue", "list").stdout
