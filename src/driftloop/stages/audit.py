"""Audit: draws pictures of both rounds for people to label, and writes the page on which they do it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from driftloop.audit.labels import FOLDER, files
from driftloop.audit.page import page
from driftloop.audit.sample import DESIGN, SAMPLE, design_id, draw_sample, make_design
from driftloop.core.batches import batches
from driftloop.core.errors import ConfigError
from driftloop.core.packs import encode
from driftloop.core.store import write_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from driftloop.core.experiment import Experiment
    from driftloop.core.store import Store
    from driftloop.core.watch import Watch

PAGE = "audit/index.html"
IMAGES = "audit/images"
AT_ONCE = 64


def audit(experiment: Experiment, store: Store, watch: Watch) -> Path:
    """Writes audit/sample.parquet, audit/images/*.png and audit/index.html, and returns the page.

    A sample stays what it is once labels were given: asking for another one then is refused.
    """
    design, before = make_design(experiment, store), store.read_json(DESIGN)
    if before and before != design and files(store):
        changed = ", ".join(name for name in design if before.get(name) != design[name])
        raise ConfigError(
            f"the sample {design_id(before)} of {store.run_id} has labels and is kept; another {changed} would draw "
            f"another one. Ask as before, or move {store.folder / FOLDER} away."
        )
    if before != design or not (store.folder / PAGE).exists():
        sample = draw_sample(store, design)
        page(design, sample)  # what cannot be asked is told before anything is written
        _write_images(store, dict(zip(sample["item"], sample["image"], strict=True)), watch)
        store.write_table(SAMPLE, sample)
        store.write_json(DESIGN, design)
    write_bytes(store.folder / PAGE, page(design, store.read_table(SAMPLE)).encode())
    return store.folder / PAGE


def _write_images(store: Store, keys: Mapping[str, str], watch: Watch) -> None:
    """Beside the page, under names that say nothing; those of another sample go."""
    folder = store.folder / IMAGES
    kept = {path.stem for path in folder.glob("*.png")} & set(keys)
    for path in folder.glob("*.png"):
        if path.stem not in keys:
            path.unlink()
    watch.start("audit", len(keys), len(kept))
    for items in batches([item for item in keys if item not in kept], AT_ONCE):
        watch.stop_if_asked()
        for item, image in zip(items, store.images([keys[item] for item in items]), strict=True):
            write_bytes(folder / f"{item}.png", encode(image))
        watch.advance(len(items))
