"""The private Python environment: made from a lock with hashes, beside its place, renamed under a lock.

Called by the door ``./wanmi`` as a script, before any package is there: the standard library only.
The folder's name carries the lock's checksum and the Python version, so that a changed lock makes a new
environment while running commands keep theirs; those unused for thirty days are swept.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import time
from pathlib import Path

UNUSED_S = 30 * 24 * 3600
NEEDED_BYTES = 1_500_000_000


def make(place: Path, lock: Path) -> None:
    """Make the environment at ``place`` from ``lock``, once, whoever else is at it too.

    Raises SystemExit with one message that says what to do; leaves nothing half-made behind.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / "python.lock").open("w") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another start is setting up; waiting for it", "另一个进程正在准备环境,请稍候")
            fcntl.flock(guard, fcntl.LOCK_EX)
        if (place / "ready").exists() and (place / "bin" / "python").exists():
            return
        free = shutil.disk_usage(place.parent).free
        if free < NEEDED_BYTES:
            _refuse(
                f"{place.parent} has {free / 1e9:.1f} GB free, the set-up needs {NEEDED_BYTES / 1e9:.1f} GB",
                "磁盘空间不足",
                "free some space, or set WANMI_CACHE to a folder on another disk",
            )
        beside = place.with_name(place.name + ".new")
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(place, ignore_errors=True)
        try:
            _build(beside, lock)
            (beside / "ready").touch()
            beside.rename(place)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        _sweep(place)


def _build(beside: Path, lock: Path) -> None:
    started = time.monotonic()
    _say("setting up the Python packages (once; one to three minutes)", "正在准备 Python 环境(仅首次)")
    steps = [[sys.executable, "-m", "venv", str(beside)]]
    install = [str(beside / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input"]
    install += ["--disable-pip-version-check", "--require-hashes", "--no-deps", "--only-binary", ":all:"]
    steps.append([*install, "-r", str(lock)])
    for step in steps:
        done = subprocess.run(step, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            tail = "\n".join("    " + line for line in done.stdout.strip().splitlines()[-6:])
            _refuse(f"{' '.join(step[1:4])} failed:\n{tail}", "准备 Python 环境失败", _mend(done.stdout))
    _say(f"Python packages ready after {time.monotonic() - started:.0f} s", "Python 环境已就绪")


def _mend(output: str) -> str:
    if "ensurepip" in output:
        return "sudo apt install python3-venv   (or set WANMI_PYTHON to a Python that has venv and pip)"
    if "No space left" in output:
        return "free some space, or set WANMI_CACHE to a folder on another disk"
    if "HASH" in output.upper() and "do not match" in output.lower():
        return "a package differs from the lock: check the package index that pip is set to"
    return "the first start needs a package index: check the network or pip's settings, then start again"


def _sweep(place: Path) -> None:
    """Remove environments of older locks that nobody has started for a while."""
    for other in place.parent.glob("python-*"):
        ready = other / "ready"
        if other != place and (not ready.exists() or time.time() - ready.stat().st_mtime > UNUSED_S):
            shutil.rmtree(other, ignore_errors=True)


def _say(en: str, zh: str) -> None:
    print(f"wanmi: {en} ({zh}) …", file=sys.stderr, flush=True)


def _refuse(en: str, zh: str, mend: str) -> None:
    sys.exit(f"wanmi: {en}\n  ({zh})\n  mend: {mend}")


if __name__ == "__main__":
    try:
        make(Path(sys.argv[1]), Path(sys.argv[2]))
    except KeyboardInterrupt:
        sys.exit("wanmi: interrupted; nothing is half-made, start again when you like (已中断,可重新启动)")
    except OSError as error:
        sys.exit(f"wanmi: the environment could not be made: {error} (无法准备环境)")
