"""Whether a run in the built-in world does what its models were made to do, all rounds taken together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from driftloop.report import words
from driftloop.report.material import Material
from driftloop.report.parts import Section, Text

COLUMNS = ["attribute", "hypothesis", "n_seeds", "p_value", "power"]


def section(material: Material) -> Section | None:
    rows = material.table("closed_form", COLUMNS).drop_duplicates(["attribute", "hypothesis"])
    right = rows[rows["hypothesis"] == "card"].set_index("attribute")
    if right.empty:
        return None
    whole = "all" if "all" in right.index else str(right.index[0])
    false = rows[(rows["attribute"] == whole) & (rows["hypothesis"] != "card")].set_index("hypothesis")
    parts, powers = _named(right["p_value"].drop(whole)), _named(false["power"])
    joint = right.loc[[whole]].iloc[0]
    text = told(float(joint["p_value"]), parts, powers, int(joint["n_seeds"]), material.level)
    return Section("closed_form", "Made to do", "Does it do what it was made to do?", [Text(words.readable(text, 1000))])


def _named(values: pd.Series[Any]) -> dict[str, float]:
    return {str(name): float(value) for name, value in values.items()}


def told(joint: float, parts: Mapping[str, float], powers: Mapping[str, float], n: int, level: float) -> str:
    """p-values of the joint test over all attributes and of each one; `powers`: false hypothesis -> chance to reject it."""
    if math.isnan(joint):
        return (
            f"Whether this run departs from what these models were made to do cannot be tested on {words.counted(n, 'seed')}."
        )
    found = "it departs" if joint < 1 - level else "no departure is found"
    each = "".join(f"; {name} alone {words.p_text(p_value)}" for name, p_value in parts.items())
    text = (
        f"Taken over all rounds at once, {found} from what these models were made to do "
        f"({words.p_text(joint)}, {words.counted(n, 'seed')}{each})."
    )
    noticed = [f"{name} in {words.percent(power)}" for name, power in powers.items() if not math.isnan(power)]
    return (
        f"{text} Had they been otherwise, as many seeds would tell: {words.joined(noticed)} of such runs." if noticed else text
    )
