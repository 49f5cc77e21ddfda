"""Locks on files: the kernel gives them back when a process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def open_private(path: Path, *, empty: bool = False) -> IO[str]:
    """A file for appending (made if need be, emptied if asked) that nobody else may read, or lock."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if empty else os.O_APPEND)
    return os.fdopen(os.open(path, flags, 0o600), "a")


@contextmanager
def file_lock(path: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Hold the exclusive lock of a file, made if need be; when somebody has it, call ``wait`` once, then wait."""
    with open_private(path) as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wait()
            fcntl.flock(guard, fcntl.LOCK_EX)
        yield
