"""Prints the figures of a benchmark and keeps them in results/reference/, with command, date and machine."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"


def record(name: str, lines: Sequence[str]) -> Path:
    """Write results/reference/bench_<name>.txt, whole or not at all, and print it."""
    text = "\n".join([*_heading(), *lines]) + "\n"
    print(text, end="")
    REFERENCE.mkdir(parents=True, exist_ok=True)
    path = REFERENCE / f"bench_{name}.txt"
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
    return path


def _heading() -> list[str]:
    script = Path(sys.argv[0]).name
    return [
        f"command: python scripts/bench/{shlex.join([script, *sys.argv[1:]])}",
        f"date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"machine: {os.cpu_count()} CPU cores, {_cpu_model()}, python {platform.python_version()}, torch {_torch()}",
    ]


def _cpu_model() -> str:
    """As the kernel names it; the architecture where it does not."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _torch() -> str:
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return "not installed"
