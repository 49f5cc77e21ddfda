"""Locks on files: the kernel gives them back when a process ends, however it ends."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def file_lock(path: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Hold the exclusive lock of a file, made if need be; when somebody has it, call ``wait`` once, then wait."""
    with path.open("a") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wait()
            fcntl.flock(guard, fcntl.LOCK_EX)
        yield
