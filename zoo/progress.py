"""Progress that can be read anywhere: rich bars on a terminal, a plain line every ten seconds elsewhere (CI, logs).

All of it goes to standard error, so that standard output stays what a command was asked for.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Item = TypeVar("Item")
PLAIN_SECONDS = 10.0
"""Between two plain lines."""


def console() -> Console:
    """The console progress is drawn on: standard error, as it is now (tests and notebooks replace it)."""
    return Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """One plain line for the reader, such as where something was written."""
    print(text, file=sys.stderr, flush=True)


class Bar:
    """One counter: ``with Bar("frames", total=200) as bar: bar.advance()``; `note` shows short facts such as a loss."""

    def __init__(self, description: str, total: int | None, start: int = 0) -> None:
        self.description, self.total, self.count = description, total, start
        self._start, self._note = start, ""
        self._rich: Progress | None = None

    def __enter__(self) -> Bar:
        self._began = self._spoke = time.monotonic()
        screen = console()
        if screen.is_terminal:
            drawn = self._rich = Progress(*_columns(), console=screen)
            drawn.start()
            self._task = drawn.add_task(self.description, total=self.total, completed=self.count, note="")
        return self

    def advance(self, amount: int = 1, note: str | None = None) -> None:
        """Count on."""
        self.count += amount
        self._note = self._note if note is None else note
        if self._rich is not None:
            self._rich.update(self._task, completed=self.count, note=self._note)
        elif time.monotonic() - self._spoke >= PLAIN_SECONDS:
            self._spoke = time.monotonic()
            say(self.line())

    def line(self) -> str:
        """``train generator 120/1000 · loss 0.41 · 3.9/s · 3:45 left``"""
        seconds = max(time.monotonic() - self._began, 1e-9)
        rate = (self.count - self._start) / seconds
        parts = [f"{self.description} {self.count}/{self.total or '?'}", self._note, f"{rate:.3g}/s"]
        if self.total and rate > 0 and self.count < self.total:
            parts.append(f"{_clock((self.total - self.count) / rate)} left")
        elif self.count == self.total:
            parts.append(f"{_clock(seconds)} taken")
        return " · ".join(part for part in parts if part)

    def __exit__(self, *error: object) -> None:
        if self._rich is not None:
            self._rich.stop()
        elif self.count > self._start and time.monotonic() - self._began >= 1.0:
            say(self.line())


def track(iterable: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Yield from `iterable` and show how far it is; `total` is its length unless given."""
    if total is None and hasattr(iterable, "__len__"):
        total = len(iterable)  # type: ignore[arg-type]
    with Bar(description, total) as bar:
        for item in iterable:
            yield item
            bar.advance()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _columns() -> tuple[ProgressColumn, ...]:
    return (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )


class _Rate(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.3g}/s", style="progress.data.speed")
