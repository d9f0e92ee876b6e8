"""The command in fresh processes: its wall, its exit, and what it imports."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

DRIFTLOOP = str(Path(sys.executable).with_name("driftloop"))


def wall(command: Sequence[str], repeats: int) -> tuple[float, list[float]]:
    """Median and every single wall of a command, in seconds; it must end well. What it says on stderr is let through."""
    walls = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        walls.append(time.perf_counter() - started)
    return median(walls), walls


def imported(arguments: Sequence[str]) -> set[str]:
    """The top-level modules that `python <arguments>` imports, as the interpreter itself reports them."""
    command = [sys.executable, "-X", "importtime", *arguments]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    names = [line.rsplit("|", 1)[1].strip() for line in told.splitlines() if line.startswith("import time:")]
    return {name.split(".")[0] for name in names}


def told(walls: Sequence[float]) -> str:
    return ", ".join(f"{seconds:.2f}" for seconds in walls)
