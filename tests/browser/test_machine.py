"""Where no browser is and none can be had: one sentence and the line to type, which skips the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from gis.errors import Unavailable
from tests.browser import machine
from tests.browser.conftest import look
from tests.conftest import silent


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache on a machine with a script that is no browser, a snap, and no apt."""
    stub = tmp_path / "chromium-browser"
    stub.write_text("#!/bin/sh\necho 'requires the chromium snap to be installed' >&2\nexit 1\n")
    snap = tmp_path / "chromium"
    snap.write_text("#!/bin/sh\necho Chromium 140.0.7339.80 snap\n")
    for program in (stub, snap):
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(machine, "INSTALLED", [name for name in machine.INSTALLED if not name.startswith("/")])
    return tmp_path / "cache"


def test_neither_a_browser_nor_apt(bare: Path, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"^this machine has no Chromium, and no apt to fetch one with$") as caught:
        machine.find_chromium(bare, tmp_path / "home", silent)
    assert caught.value.mend == machine.WANTED.mend


def test_the_tests_are_skipped_saying_why(bare: Path, tmp_path: Path) -> None:
    with pytest.raises(pytest.skip.Exception, match=r"this machine has no Chromium.*sudo apt install chromium"):
        look(bare, tmp_path / "home")
