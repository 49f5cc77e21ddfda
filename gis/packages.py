"""Parts of the machine without installing them: the distribution's packages, unpacked into a folder.

For Debian and its children: an apt state of our own in which nothing is installed, so that the whole closure of
a package is fetched and unpacked with ``dpkg -x``; no right to install is needed. Other distributions are
refused with the line to type. What is unpacked runs with :func:`library_environment`, and only what is
unpacked: these paths break Python's own wheels.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gis.errors import Unavailable
from gis.locks import file_lock

#: Not unpacked: the machine's own C library must be used, and the others are tools that no program of ours calls.
LEFT_OUT = re.compile(
    r"^(libc6|libc-bin|libcrypt1|libllvm.*|libclang.*|perl.*|libperl.*|python3.*|libpython3.*|dpkg|debconf|adduser|"
    r"passwd|login|base-.*|bash|coreutils|init-system-helpers|systemd.*|udev|ucf|sensible-utils|mount|tar|locales|"
    r"netbase|ssl-cert|openssl|sysvinit-utils|util-linux.*|mawk|sed|grep|gzip|findutils|tzdata|procps|iso-codes)$"
)
LIST_BYTES = 200_000_000  #: for the lists of all packages; what the packages need is known when these are there
Say = Callable[[str, str], None]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A part of the machine in words, for the person whose machine has none and can get none."""

    en: str  #: what it is: "this machine has no …"
    zh: str
    mend: str  #: how else to come by it, a line to type first


POSTGIS = Wanted(
    en="PostgreSQL with PostGIS",
    zh="带 PostGIS 的 PostgreSQL",
    mend="sudo apt install postgresql postgis   (Fedora: sudo dnf install postgresql-server postgis), "
    "or set WANMI_DATABASE_URL to a server that has PostGIS",
)


def newest(pattern: str, state: Path) -> str | None:
    """The name of the package matching ``pattern`` with the highest number in it, or None."""
    listing = _apt(["apt-cache", "pkgnames"], state)
    names = [name for name in listing.split() if re.fullmatch(pattern, name)]
    return max(names, key=lambda name: [int(part) for part in re.findall(r"\d+", name)], default=None)


def unpack(
    pattern: str,
    tree: Path,
    say: Say,
    *,
    wanted: Wanted = POSTGIS,
    finish: Callable[[Path], None] = lambda tree: None,
    sound: Callable[[Path], bool] = lambda tree: (tree / "ready").exists(),
) -> Path:
    """The closure of the newest package matching ``pattern`` unpacked at ``tree``, made once, proved by ``finish``;
    one that is not ``sound`` is made again.

    Made beside and renamed under a lock: two at once wait for each other, an interrupted one leaves nothing.
    Raises Unavailable when this machine has no apt, no network, no such package or no space.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise Unavailable(
            f"this machine has no {wanted.en}, and no apt to fetch one with",
            f"本机没有{wanted.zh},也没有 apt 可用来获取",
            mend=wanted.mend,
        )
    tree.parent.mkdir(parents=True, exist_ok=True)

    def wait() -> None:
        say("another start is unpacking; waiting for it", "另一个进程正在解包,请稍候")

    with file_lock(tree.parent / "packages.lock", wait):
        if sound(tree):
            return tree
        _check_space(tree.parent, LIST_BYTES)
        started = time.monotonic()
        work = tree.with_name(tree.name + ".new")
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(tree, ignore_errors=True)
        try:
            state = work / "state"
            say("asking the distribution for its packages", "正在查询系统软件源")
            _prepare(state)
            _apt(["apt-get", "update", "-q"], state, tolerate=True)
            package = newest(pattern, state)
            if package is None:
                raise Unavailable(
                    f"the distribution's package sources offer no {pattern} (or could not be reached)",
                    "系统软件源中没有所需的软件包,或无法访问软件源",
                    mend=f"check the network and /etc/apt; or {wanted.mend}",
                )
            install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", package]
            fetched, unpacked = _sizes(_apt([*install, "--print-uris"], state))
            _check_space(tree.parent, fetched + unpacked)
            say(
                f"fetching {package} and what it needs ({fetched / 1e6:.0f} MB)",
                f"正在下载 {package} 及其依赖({fetched / 1e6:.0f} MB)",
            )
            _apt([*install, "--download-only"], state)
            _extract(sorted((state / "archives").glob("*.deb")), work, say)
            shutil.rmtree(state)
            finish(work)
            work.chmod(0o755)
            (work / "ready").write_text(package + "\n")
            work.rename(tree)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        say(f"unpacked after {time.monotonic() - started:.0f} s", "解包完成")
    return tree


def library_environment(tree: Path) -> dict[str, str]:
    """The variables that programs of ``tree`` need; never to be set for Python itself."""
    libraries = [path for path in (tree / "usr/lib").glob("*-linux-gnu*") if path.is_dir()]
    folders = [tree / "usr/lib", tree / "lib"]
    for path in [*libraries, *(tree / "lib").glob("*-linux-gnu*")]:
        folders += [path, path / "blas", path / "lapack"]
    return {
        "LD_LIBRARY_PATH": ":".join(str(folder) for folder in folders if folder.is_dir()),
        "PROJ_DATA": str(tree / "usr/share/proj"),
        "PROJ_LIB": str(tree / "usr/share/proj"),
        "GDAL_DATA": str(tree / "usr/share/gdal"),
    }


def _sizes(listing: str) -> tuple[int, int]:
    """The bytes to fetch and the bytes they take unpacked, from what ``apt-get install --print-uris`` says."""
    fetched = sum(int(size) for size in re.findall(r"^'\S+' \S+ (\d+) ", listing, re.MULTILINE))
    said = re.search(r"(?:After this operation,|Space needed:) ([\d.,]+) ([kMG]?)B", listing)
    if said is None:  # apt has changed its words
        return fetched, 4 * fetched
    return fetched, int(float(said[1].replace(",", "")) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[said[2]])


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise Unavailable(
            f"{folder} has {free / 1e9:.1f} GB free; unpacking needs {needed / 1e9:.1f} GB",
            "磁盘空间不足",
            mend="free some space, or set WANMI_CACHE to a folder on another disk",
            folder=folder,
        )


def _prepare(state: Path) -> None:
    for folder in ("lists/partial", "archives/partial", "log"):
        (state / folder).mkdir(parents=True)
    (state / "status").touch()


def _apt(command: list[str], state: Path, *, tolerate: bool = False) -> str:
    options = {
        "Dir::State": state,
        "Dir::State::Lists": state / "lists",
        "Dir::State::status": state / "status",
        "Dir::Cache": state,
        "Dir::Cache::archives": state / "archives",
        "Dir::Log": state / "log",
        "Debug::NoLocking": "1",
        "APT::Sandbox::User": "",
        "Acquire::Retries": "2",
        "Acquire::Languages": "none",
        "APT::Install-Recommends": "false",
        "APT::Get::Assume-Yes": "true",
    }
    words = [command[0], *(f"-o{key}={value}" for key, value in options.items()), *command[1:]]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=environment,
    )
    if done.returncode and not tolerate:
        full = "No space left" in done.stderr
        tail = " / ".join(line for line in done.stderr.strip().splitlines()[-3:])
        raise Unavailable(
            f"{' '.join(command[:2])} failed: {tail}",
            "从系统软件源获取软件包失败",
            mend="free some space" if full else "check the network and /etc/apt, then start again",
        )
    return done.stdout


def _extract(archives: list[Path], into: Path, say: Say) -> None:
    say(f"unpacking {len(archives)} packages", f"正在解包 {len(archives)} 个软件包")
    for archive in archives:
        if LEFT_OUT.match(archive.name.split("_")[0]):
            continue
        done = subprocess.run(["dpkg", "-x", str(archive), str(into)], capture_output=True, text=True)
        if done.returncode:
            raise Unavailable(
                f"{archive.name} could not be unpacked: {done.stderr.strip()[-200:]}",
                "软件包解包失败",
                mend="free some space (or set WANMI_CACHE to another disk), then start again",
            )
    for useless in ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "var"):
        shutil.rmtree(into / useless, ignore_errors=True)
    for bitcode in into.glob("usr/lib/postgresql/*/lib/bitcode"):
        shutil.rmtree(bitcode)
