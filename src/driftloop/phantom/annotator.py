"""The command `scripts/phantom_audit`: plays the people who label an audit, in a run of exact pictures.

They see what a picture truly shows (its stamp), and err or cannot tell as often as they are asked to. The files are those
of the audit page, in the run's own folder for them.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Sequence
from pathlib import Path

from driftloop.core.config import digest
from driftloop.core.errors import DriftloopError
from driftloop.core.rng import derive, generator
from driftloop.core.store import Store, write_bytes
from driftloop.phantom.render import read_stamp

COLUMNS = ["run", "design", "item", "attribute", "label", "annotator", "at"]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="phantom_audit", description=__doc__)
    parser.add_argument("run", type=Path, help="a run folder with audit/sample.parquet")
    parser.add_argument("--annotators", type=int, default=2, help="how many label every picture (default 2)")
    parser.add_argument("--error", type=float, default=0.0, help="how often each of them says something else (default 0)")
    parser.add_argument("--unsure", type=float, default=0.0, help="how often each of them cannot tell (default 0)")
    asked = parser.parse_args(arguments)
    try:
        for number in range(asked.annotators):
            path = write_labels(Store(asked.run), f"annotator {number + 1}", error=asked.error, unsure=asked.unsure)
            print(path)  # noqa: T201
    except (DriftloopError, OSError) as reason:
        parser.exit(2, f"phantom_audit: {reason}\n")


def write_labels(store: Store, annotator: str, *, error: float = 0.0, unsure: float = 0.0) -> Path:
    """Labels every sampled picture into audit/labels/<annotator>.csv, and returns it."""
    sample = store.read_table("audit/sample.parquet")
    design = store.read_json("audit/design.json")
    head = {"run": design["run"], "design": digest(design)[:8], "annotator": annotator}
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    for row in sample.to_dict("records"):
        shown = read_stamp(store.image(str(row["image"])))
        if shown is None:
            raise DriftloopError(f"{row['image']} carries no truth: only runs of the exact models can be labelled by this")
        for attribute, categories in design["attributes"].items():
            draw = derive(0, annotator, str(row["item"]), attribute)
            label = said(shown.attributes[attribute], categories, draw, error, unsure)
            writer.writerow({**head, "item": row["item"], "attribute": attribute, "label": label, "at": ""})
    path = store.folder / "audit" / "labels" / f"{annotator.replace(' ', '_')}.csv"
    write_bytes(path, text.getvalue().encode())
    return path


def said(truth: str, categories: Sequence[str], seed: int, error: float, unsure: float) -> str:
    """The truth, another category with chance `error`, "cannot tell" with chance `unsure`."""
    draw = generator(seed)
    if draw.random() < unsure:
        return "cannot tell"
    others = [name for name in categories if name != truth]
    return str(draw.choice(others)) if draw.random() < error else truth


if __name__ == "__main__":
    main()
