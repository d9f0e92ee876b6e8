"""The page on which a person labels the pictures: one file that needs no server and no network."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined

from driftloop.audit.labels import CANNOT_TELL
from driftloop.audit.sample import Design, design_id, shown_in_turn
from driftloop.core.errors import ConfigError

KEYS = "123456789abcdfgh"
"""The keys of the categories, in order. 0, e, j, n and u have other work."""


def page(design: Design, sample: pd.DataFrame) -> str:
    """The page for pictures that lie beside it as images/<item>.png."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    text = (files("driftloop.audit") / "template.html.j2").read_text(encoding="utf-8")
    return environment.from_string(text).render(run=design["run"], data=data(design, sample)) + "\n"


def data(design: Design, sample: pd.DataFrame) -> dict[str, Any]:
    """What the page's script knows: nothing of rounds, concepts and readings. ConfigError for more answers than keys."""
    for attribute, names in design["attributes"].items():
        if len(names) > len(KEYS):
            raise ConfigError(f"the audit page has keys for {len(KEYS)} answers; {attribute} has {len(names)} categories")
    return {
        "run": design["run"],
        "design": design_id(design),
        "cannotTell": CANNOT_TELL,
        "items": list(shown_in_turn(sample)),
        "questions": [
            {
                "attribute": attribute,
                "title": f"Perceived {title(attribute)}",
                "categories": [{"label": name, "key": key} for name, key in zip(names, KEYS, strict=False)],
            }
            for attribute, names in design["attributes"].items()
        ],
    }


def title(attribute: str) -> str:
    return "age group" if attribute == "age" else attribute.replace("_", " ")
