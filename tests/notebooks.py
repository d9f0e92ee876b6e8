"""Runs the cells of a notebook in this process, which takes a kernel's start less, and gives what they show."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import matplotlib
import nbformat


def shown(path: Path) -> list[Any]:
    """The values that its code cells end with, and then its figures."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.close("all")
    known: dict[str, Any] = {}
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    values = [_ran(f"{path.name}, cell {number}", str(cell.source), known) for number, cell in enumerate(cells)]
    return [*values, *(plt.figure(number) for number in plt.get_fignums())]


def _ran(name: str, source: str, known: dict[str, Any]) -> Any:
    """Executes a cell; the value of its last line, if that is an expression."""
    *body, last = ast.parse(source).body
    ends = isinstance(last, ast.Expr)
    exec(compile(ast.Module(body if ends else [*body, last], []), name, "exec"), known)  # noqa: S102 (our own notebooks)
    return eval(compile(ast.Expression(last.value), name, "eval"), known) if isinstance(last, ast.Expr) else None  # noqa: S307
