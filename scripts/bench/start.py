"""Seconds until `driftloop --help` and `import driftloop` are there, in fresh processes, and whether they import torch.

python scripts/bench/start.py              # seven times each, the median counts
python scripts/bench/start.py --repeats 3
"""

from __future__ import annotations

import argparse
import sys

from _command import DRIFTLOOP, imported, told, wall
from _record import record

BAR = 1.5
HELP = [DRIFTLOOP, "--help"]
IMPORT = ["-c", "import driftloop"]


def line(name: str, command: list[str], arguments: list[str], repeats: int) -> str:
    """`command` is timed; `arguments` are the same for the interpreter, to see what is imported."""
    middle, walls = wall(command, repeats)
    torch = "torch imported" if "torch" in imported(arguments) else "no torch imported"
    return f"{name} {middle:.2f} s, median of {told(walls)}; {torch} (bar: below {BAR} s, no torch)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    record(
        "start",
        [
            line("driftloop --help", HELP, HELP, options.repeats),
            line("import driftloop", [sys.executable, *IMPORT], IMPORT, options.repeats),
        ],
    )


if __name__ == "__main__":
    main()
