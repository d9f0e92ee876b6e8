"""What a person sees while driftloop works: bars on a terminal, a line now and then in a batch log."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from driftloop.core.watch import Watch

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

LINE_SECONDS = 15.0


def watch() -> Watch:
    """Bars when standard error is a terminal, lines when it is not."""
    return Bars() if sys.stderr.isatty() else Lines()


class Lines(Watch):
    """One line when a stage begins and ends, and every LINE_SECONDS between."""

    def __init__(self) -> None:
        super().__init__()
        self._stage, self._total, self._done = "", 0, 0
        self._began = self._said = time.monotonic()
        self._found = 0

    def start(self, stage: str, total: int, done: int = 0) -> None:
        if stage == self._stage:
            self._total, self._done, self._found = self._total + total, self._done + done, self._found + done
            return
        self._stage, self._total, self._done, self._found = stage, total, done, done
        self._began = self._said = time.monotonic()
        self._say("all done before" if done >= total else f"{done} done before" if done else "starts")

    def advance(self, count: int = 1) -> None:
        if not count:
            return
        self._done += count
        finished = self._done >= self._total
        if finished or time.monotonic() - self._said >= LINE_SECONDS:
            self._said = time.monotonic()
            self._say(rate(self._done - self._found, self._total - self._done, self._said - self._began))

    def _say(self, what: str) -> None:
        print(f"{self._stage:<24} {self._done}/{self._total}  {what}", file=sys.stderr, flush=True)  # noqa: T201


class Bars(Watch):
    """A bar a stage, with rate and time left."""

    def __init__(self) -> None:
        super().__init__()
        self._progress: Progress | None = None
        self._stage = ""
        self._task: TaskID | None = None

    def start(self, stage: str, total: int, done: int = 0) -> None:
        progress = self._shown()
        if stage == self._stage and self._task is not None:
            task = progress.tasks[self._task]
            progress.update(self._task, total=(task.total or 0) + total, completed=task.completed + done)
            return
        self._stage, self._task = stage, progress.add_task(stage, total=total, completed=done)

    def advance(self, count: int = 1) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, count)

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()

    def _shown(self) -> Progress:
        if self._progress is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("{task.description:<24}"),
                BarColumn(),
                MofNCompleteColumn(),
                _rate_column(),
                TimeRemainingColumn(),
            )
            self._progress = Progress(*columns, console=Console(stderr=True))
            self._progress.start()
        return self._progress


def _rate_column() -> ProgressColumn:
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f}/s" if task.speed else "")

    return Rate()


def rate(done: int, left: int, seconds: float) -> str:
    """'12.3/s, 40 s left', or the seconds it took."""
    if left <= 0:
        return f"done in {seconds:.1f} s"
    speed = done / seconds if seconds > 0 else 0.0
    return f"{speed:.1f}/s, {left / speed:.0f} s left" if speed else ""
