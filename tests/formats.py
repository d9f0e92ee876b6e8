"""A small copy of every data set that must be given, in its real format, for the tests that try every option."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from PIL import Image

from driftloop.datasets.phantom import PhantomDataset
from driftloop.phantom import export


def every_format(folder: Path) -> dict[str, str]:
    """Option of conf/dataset -> root."""
    seeds = PhantomDataset(n=16, concept_kind="emotion").load()
    for write in (export.raf_db, export.phase, export.fairface, export.utkface):
        write(seeds, folder / write.__name__)
    for malformed in (*(folder / "utkface").rglob("61_1_2*"), *(folder / "utkface").rglob("53__0_*")):
        malformed.unlink()  # warned of where they are read, and warnings are errors in tests
    export.telephone_game(seeds[:3], folder / "telephone_game", rounds=1)
    _with_tables(folder)
    _saved(folder / "huggingface")
    return {path.name: str(path) for path in folder.iterdir()}


def _with_tables(folder: Path) -> None:
    tables = {"folder/labels.csv": "image,concept\na.png,fear\n", "recorded/rounds.csv": "seed_id,round,image\na,0,a.png\n"}
    for name, content in tables.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(content)
        Image.new("RGB", (8, 8), "white").save((folder / name).with_name("a.png"))


def _saved(folder: Path) -> None:
    library = import_module("datasets")
    features = library.Features({"image": library.Image(), "label": library.ClassLabel(names=["fear"])})
    rows = {"image": [Image.new("RGB", (8, 8), "white")], "label": [0]}
    library.Dataset.from_dict(rows, features).save_to_disk(str(folder))
