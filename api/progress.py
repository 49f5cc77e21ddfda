"""Progress of long work: a bar on a terminal, a line a stage elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


@dataclass
class Stages:
    """Tells how far the work is, and keeps how long each stage took."""

    language: str
    screen: Console
    seconds: dict[str, float] = field(default_factory=dict)  #: by stage key
    _bar: Progress | None = None
    _task: TaskID | None = None
    _text: str = ""

    @contextmanager
    def stage(self, key: str, en: str, zh: str) -> Iterator[None]:
        """One stage of the work, timed under ``key``."""
        started = time.monotonic()
        title = zh if self.language == "zh" else en
        if self.screen.is_terminal and not self.screen.is_dumb_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
            with Progress(*columns, TimeElapsedColumn(), console=self.screen, transient=True) as self._bar:
                self._task = self._bar.add_task(title, total=1.0)
                yield
            self._bar = self._task = None
        else:
            yield
        self._text = ""
        self.seconds[key] = time.monotonic() - started
        self.screen.print(f"  {title}: {self.seconds[key]:.1f} s", markup=False)

    def note(self, en: str, zh: str) -> None:
        """A figure that belongs to the stage just ended."""
        self.screen.print(f"    {zh if self.language == 'zh' else en}", markup=False)

    def __call__(self, text: str, fraction: float) -> None:
        """Within a stage: what is being done (``English | 中文``), and which part of the stage is done (0 … 1)."""
        en, _, zh = text.partition(" | ")
        said = zh if self.language == "zh" and zh else en
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=min(fraction, 1.0), description=said or None)
        elif said and said != self._text:
            self.screen.print(f"    {fraction:4.0%}  {said}", markup=False)
        self._text = said
