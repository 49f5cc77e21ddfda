"""Packages unpacked beside the machine: once, whole or not at all, refused with what to do."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from gis import packages
from gis.errors import Unavailable
from gis.packages import Wanted, unpack
from tests.conftest import silent

Usage = namedtuple("Usage", "total used free")
MILL = Wanted(en="mill", zh="磨", mend="sudo apt install mill")
SAID = "After this operation, 1,234 kB of additional disk space will be used."


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A distribution that offers mill-9 and mill-10, which need libgrain and perl, through stand-ins for apt."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("this machine has no dpkg-deb to make packages with")
    debs = tmp_path / "debs"
    for name in ("mill-9", "mill-10", "libgrain", "perl"):
        source = tmp_path / "sources" / name
        (source / "DEBIAN").mkdir(parents=True)
        (source / "DEBIAN" / "control").write_text(
            f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: for a test\n"
        )
        (source / "usr").mkdir()
        (source / "usr" / name).write_text(name)
        debs.mkdir(exist_ok=True)
        words = ["dpkg-deb", "--build", "--root-owner-group", str(source), str(debs / f"{name}_1_all.deb")]
        subprocess.run(words, check=True, capture_output=True)

    def offer(*, said: str = SAID, size: int = 5_000_000, download: str = "exit 0") -> Path:
        programs = tmp_path / "programs"
        programs.mkdir(exist_ok=True)
        (programs / "apt-cache").write_text("#!/bin/sh\nprintf '%s\\n' mill mill-9 mill-10 mill-10-doc perl\n")
        (programs / "apt-get").write_text(
            "#!/bin/sh\n"
            "for word; do last=$word; case $word in -oDir::Cache::archives=*) into=${word#*=} ;; esac; done\n"
            "case $last in\n"
            f"--print-uris) echo \"'http://x/m' m_1_all.deb {size} MD5Sum:0\"; echo '{said}' ;;\n"
            f'--download-only) echo >>"{tmp_path}/downloads"\n'
            f'  for name in mill-10 libgrain perl; do cp "{debs}/${{name}}_1_all.deb" "$into"; done\n'
            f"  {download} ;;\n"
            "esac\n"
        )
        for program in programs.iterdir():
            program.chmod(0o755)
        monkeypatch.setenv("PATH", str(programs), prepend=":")
        return tmp_path / "cache" / "mill"

    return offer


def beside(tree: Path) -> list[str]:
    """What lies in the cache but the lock."""
    return sorted(path.name for path in tree.parent.iterdir() if path.name != "packages.lock")


def test_the_newest_is_unpacked_once_with_what_it_needs_but_tools(apt: Callable[..., Path], tmp_path: Path) -> None:
    tree, words = apt(), []
    assert unpack("mill-[0-9]+", tree, lambda en, zh: words.append(en), wanted=MILL) == tree
    assert sorted(path.name for path in (tree / "usr").iterdir()) == ["libgrain", "mill-10"]
    assert (tree / "ready").read_text() == "mill-10\n"
    assert "fetching mill-10 and what it needs (5 MB)" in words
    assert beside(tree) == ["mill"]
    unpack("mill-[0-9]+", tree, silent, wanted=MILL)
    assert (tmp_path / "downloads").read_text() == "\n"


def test_two_at_once_unpack_once(apt: Callable[..., Path], tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    tree, words = apt(download=f'until [ -e "{gate}" ]; do sleep 0.02; done'), []
    starts = [
        threading.Thread(target=unpack, args=("mill-10", tree, lambda en, zh: words.append(en))) for _ in range(2)
    ]
    for start in starts:
        start.start()
    end = time.monotonic() + 20
    while not any("waiting for it" in said for said in words) and time.monotonic() < end:
        time.sleep(0.01)
    gate.touch()
    for start in starts:
        start.join()
    assert any("waiting for it" in said for said in words)
    assert (tree / "ready").exists()
    assert (tmp_path / "downloads").read_text() == "\n"


@pytest.mark.parametrize("said", [SAID, "  Space needed: 1234 kB / 9,9 GB available"])
def test_what_apt_foretells_must_fit_before_it_is_fetched(
    apt: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    free = packages.LIST_BYTES + 1
    tree = apt(said=said, size=free - 1_234_000 + 1)
    monkeypatch.setattr(packages.shutil, "disk_usage", lambda folder: Usage(10**12, 10**12 - free, free))
    with pytest.raises(Unavailable, match=r"has 0\.2 GB free; unpacking needs 0\.2 GB") as caught:
        unpack("mill-10", tree, silent, wanted=MILL)
    assert "WANMI_CACHE" in str(caught.value.mend)
    assert not (tmp_path / "downloads").exists()
    assert beside(tree) == []
    tree = apt(said=said, size=free - 1_234_000)
    unpack("mill-10", tree, silent, wanted=MILL)
    assert beside(tree) == ["mill"]


def test_words_of_apt_that_nobody_knows_are_no_hindrance(apt: Callable[..., Path]) -> None:
    assert (unpack("mill-10", apt(said="Have fun."), silent, wanted=MILL) / "ready").exists()


def test_what_fails_leaves_nothing(apt: Callable[..., Path]) -> None:
    tree = apt(download="echo 'No space left on device' >&2; exit 100")
    with pytest.raises(Unavailable, match="apt-get install failed: No space left") as caught:
        unpack("mill-10", tree, silent, wanted=MILL)
    assert caught.value.mend == "free some space"
    assert beside(tree) == []

    def finish(tree: Path) -> None:
        raise KeyboardInterrupt

    tree = apt()
    with pytest.raises(KeyboardInterrupt):
        unpack("mill-10", tree, silent, finish=finish)
    assert beside(tree) == []


def test_a_package_that_is_not_offered_is_refused_with_the_line_to_type(apt: Callable[..., Path]) -> None:
    with pytest.raises(Unavailable, match="offer no windmill") as caught:
        unpack("windmill", apt(), silent, wanted=MILL)
    assert "check the network" in str(caught.value.mend)
    assert MILL.mend in str(caught.value.mend)


def test_without_apt_the_words_are_of_the_part_that_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="no mill, and no apt") as caught:
        unpack("mill-10", tmp_path / "mill", silent, wanted=MILL)
    assert caught.value.mend == MILL.mend
    with pytest.raises(Unavailable, match="no PostgreSQL with PostGIS, and no apt") as caught:
        unpack("postgresql-15-postgis-3", tmp_path / "postgis", silent)
    assert "WANMI_DATABASE_URL" in str(caught.value.mend)
    assert beside(tmp_path / "mill") == []
