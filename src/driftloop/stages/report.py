"""Report: one page that stands alone and its figures as files, from what the stages before have written."""

from __future__ import annotations

from driftloop.core.experiment import Experiment
from driftloop.core.store import Store, write_bytes
from driftloop.core.watch import Watch
from driftloop.report.material import collect, state
from driftloop.report.page import page

INPUTS = "report/inputs.json"
PAGE = "report/index.html"


def report(experiment: Experiment, store: Store, watch: Watch) -> None:
    """Writes report/index.html and figures/*, unless a page made from the same files is already there."""
    inputs = {"state": state(experiment, store)}
    done = store.read_json(INPUTS) == inputs and (store.folder / PAGE).exists()
    watch.start("report", 1, done=int(done))
    if not done:
        text, drawn = page(collect(experiment, store))
        for figure in drawn:
            write_bytes(store.folder / "figures" / f"{figure.name}.svg", figure.file.encode())
            write_bytes(store.folder / "figures" / f"{figure.name}.png", figure.picture)
        write_bytes(store.folder / PAGE, text.encode())
        store.write_json(INPUTS, inputs)
        watch.advance()
