"""The private Python environment: refused with what to do, never half made, old ones swept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest

from gis import environment

SCRIPT = Path(environment.__file__)
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.lock"
    path.write_text("")
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "python-3.11-1-2"


def python_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, venv: str, pip: str = "exit 0") -> None:
    """Let the environment be built by a Python whose ``-m venv FOLDER`` and ``-m pip`` run these lines of shell."""
    stand_in = tmp_path / "python3"
    stand_in.write_text(
        f'#!/bin/sh\n[ "$2" = venv ] || {{ {pip}\n}}\nmkdir -p "$3/bin"\ncp "$0" "$3/bin/python"\n{venv}\n'
    )
    stand_in.chmod(0o755)
    monkeypatch.setattr(environment.sys, "executable", str(stand_in))


def half_made(place: Path) -> list[str]:
    """What lies in the cache beside the lock file."""
    return sorted(path.name for path in place.parent.iterdir() if path.name != "python.lock")


def test_it_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Path, lock: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    python_that(tmp_path, monkeypatch, venv="exit 0")
    environment.make(place, lock)
    assert (place / "ready").exists()
    assert half_made(place) == [place.name]
    assert "Python packages ready" in capsys.readouterr().err
    made = place.stat().st_ino
    environment.make(place, lock)
    assert place.stat().st_ino == made
    assert capsys.readouterr().err == ""


def test_two_at_once_make_it_once_and_the_second_says_that_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Path, lock: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = tmp_path / "gate"
    python_that(
        tmp_path, monkeypatch, venv=f'echo >>"{tmp_path}/times"; until [ -e "{gate}" ]; do sleep 0.02; done; exit 0'
    )
    starts = [threading.Thread(target=environment.make, args=(place, lock)) for _ in range(2)]
    for start in starts:
        start.start()
    said, end = "", time.monotonic() + 10
    while "another start is setting up" not in said and time.monotonic() < end:
        said += capsys.readouterr().err
        time.sleep(0.01)
    gate.touch()
    for start in starts:
        start.join()
    assert "another start is setting up" in said
    assert (place / "ready").exists()
    assert (tmp_path / "times").read_text() == "\n"


def test_too_little_space_is_said_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch, place: Path, lock: Path
) -> None:
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda folder: Usage(10**12, 10**12 - 10**9, 10**9))
    with pytest.raises(SystemExit) as caught:
        environment.make(place, lock)
    for words in ("has 1.0 GB free", "needs 1.5 GB", "WANMI_CACHE", "磁盘空间不足"):
        assert words in str(caught.value)
    assert half_made(place) == []


@pytest.mark.parametrize(
    ("output", "mend"),
    [
        ("The virtual environment was not created successfully because ensurepip is not available.", "python3-venv"),
        ("OSError: [Errno 28] No space left on device", "free some space"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "differs from the lock"),
        ("Temporary failure in name resolution", "check the network"),
    ],
)
@pytest.mark.parametrize("step", ["venv", "pip"])
def test_a_failing_step_leaves_nothing_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Path, lock: Path, output: str, mend: str, step: str
) -> None:
    python_that(tmp_path, monkeypatch, **{"venv": "exit 0", "pip": "exit 0", step: f"echo '{output}'; exit 1"})
    with pytest.raises(SystemExit) as caught:
        environment.make(place, lock)
    message = str(caught.value)
    assert f"-m {step}" in message
    assert output in message
    assert mend in message.split("mend:")[1]
    assert half_made(place) == []


def test_an_interrupted_build_leaves_nothing_and_the_next_one_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Path, lock: Path
) -> None:
    python_that(tmp_path, monkeypatch, venv="exit 0")
    run = subprocess.run

    def interrupted(words: list[str], **options: object) -> object:
        if "pip" in words:
            raise KeyboardInterrupt
        return run(words, **options)

    with monkeypatch.context() as within:
        within.setattr(environment.subprocess, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            environment.make(place, lock)
    assert half_made(place) == []
    environment.make(place, lock)
    assert (place / "ready").exists()


def test_what_a_killed_build_left_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Path, lock: Path
) -> None:
    python_that(tmp_path, monkeypatch, venv="exit 0")
    for left in (place, place.with_name(place.name + ".new")):
        (left / "lib").mkdir(parents=True)
    environment.make(place, lock)
    assert half_made(place) == [place.name]
    assert not (place / "lib").exists()


def test_only_environments_that_nobody_used_for_a_month_are_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Path, lock: Path
) -> None:
    python_that(tmp_path, monkeypatch, venv="exit 0")
    day = 24 * 3600
    for name, days in (("python-old", 31), ("python-used", 29)):
        (place.parent / name).mkdir(parents=True)
        (place.parent / name / "ready").touch()
        os.utime(place.parent / name / "ready", (time.time() - days * day,) * 2)
    (place.parent / "python-killed").mkdir()
    (place.parent / "postgis").mkdir()
    environment.make(place, lock)
    assert half_made(place) == ["postgis", place.name, "python-used"]


def test_run_as_the_door_runs_it_a_cache_that_cannot_be_written_is_one_clear_message(
    tmp_path: Path, lock: Path
) -> None:
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-I", str(SCRIPT), str(tmp_path / "file" / "python-x"), str(lock)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "could not be made" in done.stderr
    assert str(tmp_path / "file") in done.stderr
    assert "Traceback" not in done.stderr


def test_a_real_one_runs(place: Path, lock: Path) -> None:
    """With an empty lock: venv and pip themselves, no package index."""
    if shutil.disk_usage(place.parents[1]).free < environment.NEEDED_BYTES:
        pytest.skip("this disk has less free space than the set-up asks for")
    environment.make(place, lock)
    done = subprocess.run(
        [place / "bin" / "python", "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True
    )
    assert done.stdout.strip().startswith(str(place.parent))
