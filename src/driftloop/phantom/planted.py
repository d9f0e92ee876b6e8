"""Planted errors: rates and confusion matrices, alike for all pictures or split by origin and by perceived gender.

An option is a plain value (a rate, or a row-stochastic matrix), {"seed": option, "generated": option}, or
{"female": option, "male": option}; the two splits may be nested either way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any, TypeVar

from driftloop.phantom.world import CATEGORIES, Row, checked_row

ORIGINS = ("seed", "generated")
Group = tuple[str, str]
"""Origin of the picture ("seed" or "generated") and the gender it truly shows."""
Matrix = tuple[Row, ...]
GROUPS: tuple[Group, ...] = tuple(product(ORIGINS, CATEGORIES["gender"]))

T = TypeVar("T")


def planted_rates(option: Any, attributes: Sequence[str], name: str) -> dict[str, dict[Group, float]]:
    """Attribute -> group -> rate. `option` maps attributes to rates, or is one rate for all `attributes`."""
    if not isinstance(option, Mapping):
        option = dict.fromkeys(attributes, option or 0.0)
    _check_attributes(option, name)
    return {attribute: _split(option.get(attribute, 0.0), f"{name} of {attribute}", _rate) for attribute in CATEGORIES}


def planted_confusion(option: Mapping[str, Any] | None, name: str) -> dict[str, dict[Group, Matrix]]:
    """Attribute -> group -> matrix P(said | true), rows and columns in the order of CATEGORIES; identity by default."""
    option = option or {}
    _check_attributes(option, name)
    return {
        attribute: _split(option.get(attribute), f"{name} of {attribute}", partial(_matrix, size=len(values)))
        for attribute, values in CATEGORIES.items()
    }


def _split(option: Any, name: str, leaf: Callable[[Any, str], T]) -> dict[Group, T]:
    """The value of every group."""
    if not isinstance(option, Mapping):
        value = leaf(option, name)
        return dict.fromkeys(GROUPS, value)
    for position, keys in enumerate((ORIGINS, CATEGORIES["gender"])):
        if set(option) == set(keys):
            parts = {key: _split(option[key], f"{name} ({key})", leaf) for key in keys}
            return {group: parts[group[position]][group] for group in GROUPS}
    raise ValueError(f"{name} may be split by seed and generated or by female and male; got {sorted(map(str, option))}")


def _rate(value: Any, name: str) -> float:
    if not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a probability in 0..1, got {value!r}")
    return float(value)


def _matrix(value: Any, name: str, size: int) -> Matrix:
    if value is None:
        return tuple(tuple(float(row == column) for column in range(size)) for row in range(size))
    if len(value) != size:
        raise ValueError(f"{name} must have {size} rows, got {len(value)}")
    return tuple(checked_row(row, size, f"a row of the {name}") for row in value)


def _check_attributes(option: Mapping[str, Any], name: str) -> None:
    if unknown := set(option) - set(CATEGORIES):
        raise ValueError(f"{name} must be keyed by {', '.join(CATEGORIES)}; got {sorted(map(str, unknown))}")
