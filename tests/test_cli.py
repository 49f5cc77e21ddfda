"""The command line: every command explains itself, every trouble is one clear message, in both languages."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from api.cli import app
from gis.crs import GCJ02, transform
from gis.db import Access, advisory_lock, database_name
from grids.city import City
from tests.conftest import copy_database
from tests.doorstep import every_command
from tests.hamlet import SRID, at

HOME = Path(__file__).resolve().parents[1]
COMMANDS = sorted(every_command(typer.main.get_command(app)))
CHINESE = re.compile("[\u4e00-\u9fff]")
PROFILE = """
code = "6109"
name_zh = "试验村"
name_en = "Hamlet"
srid = 4545
timezone = "Asia/Shanghai"
edition = "hamlet"
simulated = true
tolerance_m = 20
border_tolerance_m = 10
valid_from = 2026-01-01
"""


@pytest.fixture(scope="module")
def city(server: Access, template: City, worker_id: str) -> str:
    """A loaded city that the command line may work on: a copy of the hamlet."""
    name = f"cli_{worker_id}"
    copy_database(server, database_name(template.id), database_name(name))
    return name


@pytest.fixture
def home(server: Access, city: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with that city's profile; the environment points to it and to the throw-away server."""
    folder = tmp_path / "data" / city
    folder.mkdir(parents=True)
    (folder / "city.toml").write_text(PROFILE, encoding="utf-8")
    for name in [name for name in os.environ if name.startswith(("WANMI_", "LC_", "LANG"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANMI_HOME", str(tmp_path))
    monkeypatch.setenv("WANMI_CITY", city)
    monkeypatch.setenv("WANMI_DATABASE_URL", server.url("postgres"))
    return tmp_path


Run = Callable[..., Any]


@pytest.fixture
def run(home: Path) -> Run:
    """Run a command in this process; what it printed and its exit code."""
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], prog_name="wanmi")


def refused(result: Any, *words: str) -> str:
    """The one message of a command that could not do its work."""
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    message = result.stderr
    assert message.count("wanmi: ") == 1
    assert re.search(r"^  (mend|解决办法): \S", message, re.MULTILINE)
    assert "Traceback" not in message
    assert len(message) < 1500
    for word in words:
        assert word in message
    return str(message)


# ── help ────────────────────────────────────────


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_with_an_example_that_it_understands(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    group: Any = typer.main.get_command(app)
    commands = every_command(group)
    said = commands[name].help
    examples = re.findall(r"Example: wanmi (.+)", said)
    assert said.split("\n")[0].endswith(".")
    assert examples
    called: list[str] = []
    for other, command in commands.items():
        if not hasattr(command, "commands"):
            command.callback = lambda called_=other, **given: called.append(called_)
    for example in examples:
        group.main(shlex.split(example), prog_name="wanmi", standalone_mode=False)
    assert len(called) == len(examples)
    assert all(other.startswith(name) for other in called)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("python", "test")])
def test_help_lists_every_option_with_words(run: Run, name: str) -> None:
    result = run(*name.split(), "--help")
    assert result.exit_code == 0
    assert "Example: wanmi" in result.stdout
    options = re.findall(r"^  (--[a-z]+)(.*)$", result.stdout, re.MULTILINE)
    assert "--help" in [option for option, _ in options]


def test_places_west_of_greenwich_are_numbers_not_options(monkeypatch: pytest.MonkeyPatch) -> None:
    group: Any = typer.main.get_command(app)
    given: dict[str, Any] = {}
    group.commands["locate"].callback = lambda **found: given.update(found)
    words = "locate -77.0365 38.8977 --city washington --class E0102"
    group.main(words.split(), prog_name="wanmi", standalone_mode=False)
    assert (given["x"], given["y"], given["city"]) == (-77.0365, 38.8977, "washington")


# ── answers ────────────────────────────────────────


def test_locate_answers_in_the_language_that_was_chosen(run: Run) -> None:
    x, y = at(50, 250)
    words = ("locate", x, y, "--crs", SRID, "--class", "E0102")
    english, chinese = run(*words), run("--language", "zh", *words)
    assert (english.exit_code, chinese.exit_code) == (0, 0)
    assert "unit        DISTRICT (example)" in english.stdout
    assert "责任单位    DISTRICT（示例）" in chinese.stdout
    assert english.stderr == chinese.stderr == ""


def test_unassigned_lists_the_six_bad_reports_as_csv(run: Run, tmp_path: Path) -> None:
    printed = run("unassigned")
    assert printed.exit_code == 0
    lines = printed.stdout.strip().splitlines()
    assert lines[0].startswith("channel,key,case_no,class_code")
    assert len(lines) == 7
    assert "unknown-condition,,E0102,9,500050.0" in printed.stdout, "a number without a fraction"
    swapped = next(line for line in lines if ",swapped," in line)
    assert swapped.endswith("the northing comes first"), "how else the numbers could be meant"
    assert run("unassigned", "--out", tmp_path / "list.csv").exit_code == 0
    assert (tmp_path / "list.csv").read_text(encoding="utf-8") == printed.stdout


# ── trouble ────────────────────────────────────────


def test_an_unknown_city_is_refused_with_those_that_there_are(run: Run, city: str) -> None:
    refused(run("locate", 1, 2, "--class", "E0102", "--city", "atlantis"), "no city 'atlantis'", city)
    refused(run("load", "../../etc"), "no city '../../etc'")
    refused(run("--language", "zh", "demo", "--city", "atlantis"), "没有名为 'atlantis' 的城市", "找不到")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("srid = 4545", "city.toml"),
        ("srid = 4545", "srid"),
        ('timezone = "Asia/Shanghai"', "timezone"),
        ("tolerance_m = 20", "tolerance_m"),
    ],
)
def test_a_profile_that_lacks_a_line_is_refused_by_its_name(
    run: Run, home: Path, city: str, line: str, word: str
) -> None:
    (home / "data" / city / "city.toml").write_text(PROFILE.replace(f"\n{line}", "", 1), encoding="utf-8")
    refused(run("unassigned"), word)


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("srid = 4545", "srid = 4326"),
        ("srid = 4545", "srid = 910002"),
        ("srid = 4545", "srid = 7"),
        ("srid = 4545", 'srid = "none"'),
        ("srid = 4545", "srid = "),
        ('timezone = "Asia/Shanghai"', 'timezone = "Asia/Atlantis"'),
        ('timezone = "Asia/Shanghai"', "timezone = 8"),
        ("tolerance_m = 20", "tolerance_m = -1"),
    ],
)
def test_a_profile_with_a_bad_line_is_refused(run: Run, home: Path, city: str, line: str, instead: str) -> None:
    file = home / "data" / city / "city.toml"
    file.write_text(PROFILE.replace(line, instead, 1), encoding="utf-8")
    refused(run("unassigned"), str(file))


def test_a_wrong_setting_is_refused_by_its_name(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(run("--language", "fr", "unassigned"), "WANMI_LANGUAGE", "'fr'")
    monkeypatch.setenv("WANMI_CITY", "Not A City")
    refused(run("unassigned"), "WANMI_CITY", "docs/settings.md")
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert CHINESE.search(refused(run("unassigned"), "设置 WANMI_CITY 不可用"))


def test_a_data_folder_that_cannot_be_is_refused(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANMI_DATABASE_URL")
    (home / "file").touch()
    refused(run("--data", home / "file", "unassigned"), str(home / "file"), "--data FOLDER")


def test_a_wrong_database_address_is_refused_without_its_password(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for address, word in (
        ("nonsense", "not the address"),
        ("postgresql://me:sesame@127.0.0.1:1/x", "no server answers"),
    ):
        monkeypatch.setenv("WANMI_DATABASE_URL", address)
        for language in ("en", "zh"):
            message = refused(run("--language", language, "unassigned"), "WANMI_DATABASE_URL")
            assert "sesame" not in message
            assert word in message or language == "zh"


def test_a_city_that_is_not_loaded_is_refused_with_the_command_that_loads_it(
    run: Run, home: Path, server: Access, city: str, blank: str
) -> None:
    empty = f"{city}_empty"
    copy_database(server, blank, database_name(empty))
    (home / "data" / empty).mkdir()
    (home / "data" / empty / "city.toml").write_text(PROFILE, encoding="utf-8")
    refused(run("unassigned", "--city", empty), f"wanmi demo --city {empty}")
    (home / "data" / empty / "city.toml").write_text(PROFILE.replace("true", "false"), encoding="utf-8")
    refused(run("unassigned", "--city", empty), f"wanmi load {empty} --from FOLDER")


@pytest.mark.parametrize(
    ("place", "srid", "words"),
    [
        (at(50, 50)[::-1], SRID, "the northing comes first"),
        (tuple(float(axis) for axis in transform(*at(50, 50), SRID, 4326))[::-1], 4326, "swapped"),
        (tuple(float(axis) for axis in transform(*at(200, 200), SRID, GCJ02)), 4326, "GCJ-02 degrees"),
        (at(50, -500), SRID, "outside the grid of Hamlet"),
        ((float("nan"), 32.5), 4326, "two finite numbers"),
    ],
    ids=["northing first", "swapped", "gcj02", "outside", "nan"],
)
def test_a_place_that_is_none_of_the_city_is_one_clear_message(
    run: Run, place: tuple[float, float], srid: int, words: str
) -> None:
    refused(run("locate", *place, "--crs", srid, "--class", "E0102"), words)


def test_an_unknown_class_is_one_clear_message(run: Run) -> None:
    words = ("locate", *at(50, 50), "--crs", SRID, "--class", "E0103")
    refused(run(*words), "no class 'E0103'", "E0102 exposed refuse", "field: class")
    refused(run("--language", "zh", *words), "目录中没有类别 'E0103'", "暴露垃圾")


def test_a_file_that_is_no_backup_and_a_folder_that_is_not_there_are_refused(run: Run, tmp_path: Path) -> None:
    refused(run("restore", tmp_path / "nothing.tar"), "there is no file")
    refused(run("backup", tmp_path / "nowhere" / "x.tar"), "there is no folder")
    refused(run("unassigned", "--out", tmp_path / "nowhere" / "x.csv"), "nowhere")


def test_a_defect_of_ours_is_not_dressed_as_the_users_mistake(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*words: object, **options: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("api.locate.answer", broken)
    result = run("locate", *at(50, 50), "--crs", SRID, "--class", "E0102")
    assert isinstance(result.exception, ZeroDivisionError)


# ── interrupted ────────────────────────────────────────


@pytest.mark.parametrize(("language", "words"), [("en", "nothing is half done"), ("zh", "没有留下未完成的内容")])
def test_ctrl_c_says_that_nothing_is_half_done(
    run: Run, monkeypatch: pytest.MonkeyPatch, language: str, words: str
) -> None:
    def interrupted(*given: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("api.city.load_city", interrupted)
    result = run("--language", language, "demo", "--once")
    assert result.exit_code == 130
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_ctrl_c_reaches_a_command_that_waits_for_another(home: Path, server: Access, city: str) -> None:
    engine = server.engine(database_name(city))
    with advisory_lock(engine, "load"), started("demo", "--once", "--city", city) as command:
        assert command.stderr is not None
        said = command.stderr.readline()
        command.send_signal(signal.SIGINT)
        _, rest = command.communicate(timeout=20)
    engine.dispose()
    assert "another command is loading this city; waiting for it" in said
    assert command.returncode == 130
    assert "nothing is half done" in rest
    assert "Traceback" not in rest


@contextmanager
def started(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A command in a process of its own, as the door would start it; ended with the block."""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "api.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HOME), "PYTHONUTF8": "1"},
    ) as command:
        try:
            yield command
        finally:
            command.kill()


def test_a_script_gets_the_database_of_the_city(home: Path, server: Access, city: str) -> None:
    with started("python", "-c", "import os; print(os.environ['WANMI_DATABASE_URL'])") as command:
        out, error = command.communicate(timeout=30)
    assert (command.returncode, error) == (0, "")
    assert out.strip() == server.url(database_name(city))


# ── the door ────────────────────────────────────────


@pytest.fixture
def door(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs ``wanmi`` with a cache whose environment stands in for the real one: it is this very interpreter."""
    cache = tmp_path / "cache"
    version = "{}.{}".format(*sys.version_info)
    for lock in ("requirements.lock", "requirements-dev.lock"):
        sum_and_size = subprocess.run(["cksum"], input=(HOME / lock).read_bytes(), capture_output=True).stdout.decode()
        place = cache / f"python-{version}-{sum_and_size.strip().replace(' ', '-')}"
        (place / "bin").mkdir(parents=True)
        (place / "bin" / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        (place / "bin" / "python").chmod(0o755)
        (place / "ready").touch()

    def run(script: Path, *words: str, cwd: Path = tmp_path, **environment: str) -> subprocess.CompletedProcess[str]:
        here = {**os.environ, "WANMI_CACHE": str(cache), "WANMI_PYTHON": sys.executable, **environment}
        return subprocess.run([str(script), *words], cwd=cwd, capture_output=True, text=True, env=here, timeout=60)

    return run


def test_the_door_is_a_sound_posix_script() -> None:
    subprocess.run(["sh", "-n", str(HOME / "wanmi")], check=True)
    assert os.access(HOME / "wanmi", os.X_OK)
    assert (HOME / "wanmi").read_text(encoding="utf-8").startswith("#!/bin/sh\n")


def test_the_door_opens_from_any_folder_and_through_links(door: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a folder" / "city").symlink_to(HOME / "wanmi")
    (tmp_path / "relative").symlink_to(Path("a folder") / "city")
    for script, cwd in ((HOME / "wanmi", Path("/")), (tmp_path / "relative", tmp_path / "a folder")):
        done = door(script, "--help", cwd=cwd)
        assert (done.returncode, done.stderr) == (0, "")
        assert "Example: wanmi demo --once" in done.stdout


def test_the_door_passes_words_as_they_are_and_its_own_home(door: Callable[..., Any]) -> None:
    done = door(
        HOME / "wanmi", "locate", "1", "2", "--class", "a b'c\"$HOME", "--city", "atlantis", WANMI_HOME="/nowhere"
    )
    assert done.returncode == 1
    assert "no city 'atlantis'" in done.stderr
    assert "ankang" in done.stderr, "the cities of its own checkout"


def test_without_a_python_the_door_says_what_to_install(door: Callable[..., Any], tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "dirname", "readlink", "cksum", "tr", "id", "touch"):
        found = next(Path(folder) / tool for folder in ("/usr/bin", "/bin") if (Path(folder) / tool).exists())
        (tools / tool).symlink_to(found)
    done = door(HOME / "wanmi", "--help", PATH=str(tools), WANMI_PYTHON="/nowhere/python3")
    assert done.returncode == 69
    assert "python3-venv" in done.stderr
    assert "WANMI_PYTHON" in done.stderr
    assert CHINESE.search(done.stderr)
