"""The sentences of a report: plain text, from plain numbers. Perceived attributes only, as an instrument has them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

WOMEN = frozenset({"female", "woman", "women", "f"})
MEN = frozenset({"male", "man", "men", "m"})
ABSOLUTE = re.compile(r"(?<![\w/.<])(?:~?/|[A-Za-z]:\\)[\w.@+~-]+(?:[/\\][\w.@+~-]+)*[/\\]?")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One category from the baseline to a later round: shares among the seeds read at each, shift on those read at both."""

    attribute: str
    category: str
    baseline_round: int
    round: int
    first: float
    last: float
    shift: float
    low: float
    high: float
    n_first: int
    n_last: int
    n_pairs: int


@dataclass(frozen=True, kw_only=True)
class Apart:
    """A distance between two rounds with its interval, and the band that swapping the rounds at random gives."""

    value: float
    low: float
    high: float
    null_low: float
    null_high: float


@dataclass(frozen=True, kw_only=True)
class Tested:
    """One omnibus test; `family` is confirmatory or exploratory."""

    name: str
    p_value: float
    p_adjusted: float
    family: str


# Numbers -------------------------------------------------------------------------------------------------------------


def percent(share: float) -> str:
    return "unknown" if math.isnan(share) else f"{100 * share:.1f} %"


def points(shift: float) -> str:
    """A shift in percentage points, signed: +21.3, −4.0, 0.0."""
    rounded = round(100 * shift, 1) + 0.0
    return "unknown" if math.isnan(shift) else "0.0" if rounded == 0 else f"{rounded:+.1f}".replace("-", "−")


def p_text(p_value: float) -> str:
    if math.isnan(p_value):
        return "p unknown"
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def level_text(level: float) -> str:
    return f"{100 * level:g} %"


def counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def joined(words: Sequence[str]) -> str:
    """a; a and b; a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


# Names ---------------------------------------------------------------------------------------------------------------


def subject(attribute: str, category: str) -> str:
    """The people whose share is told: "Perceived women", "Perceived age 20-39"."""
    if attribute == "gender" and category.lower() in WOMEN | MEN:
        return "Perceived women" if category.lower() in WOMEN else "Perceived men"
    return f"Perceived {attribute} {category}"


def told_of_two(categories: Sequence[str]) -> str:
    """Which of two categories is told (the other is its mirror): women where there are, else the first."""
    return next((name for name in categories if name.lower() in WOMEN), categories[0])


def name_of(concept: str) -> str:
    """A concept as a reader meets it."""
    return {"all": "all seeds", "all_standardised": "concepts weighted alike"}.get(concept, concept)


def readable(text: str, most: int = 400) -> str:
    """Untrusted text on one line: no control characters, not endless."""
    flat = CONTROL.sub("\ufffd", " ".join(text.split()))
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


def without_paths(text: str) -> str:
    """Absolute paths shortened to their last part: a page travels further than the machine it was made on."""
    return ABSOLUTE.sub(lambda match: "…/" + re.split(r"[/\\]", match[0].rstrip("/\\"))[-1], text)


# Sentences -----------------------------------------------------------------------------------------------------------


def span(change: Change) -> str:
    """ "in 5 rounds"; a chain seeded by text has its first picture in round 1."""
    rounds = counted(change.round - change.baseline_round, "round")
    start = change.baseline_round
    return f"in {rounds}" if start == 0 else f"in {rounds} (from round {start}, the first picture, to round {change.round})"


def interval(change: Change, level: float) -> str:
    read = f"{counted(change.n_pairs, 'seed')} read at both ends"
    return f"{level_text(level)} interval {points(change.low)} to {points(change.high)}; {read}"


def two_answer(change: Change, level: float) -> str:
    """The answer for an attribute of two categories."""
    if math.isnan(change.shift):
        return nothing(change.attribute)
    went = (
        f"{subject(change.attribute, change.category)} went from {percent(change.first)} to {percent(change.last)} "
        f"of readings {span(change)}"
    )
    if math.isnan(change.low):
        return f"{went}: {few(change)}."
    if change.low <= 0 <= change.high:
        return f"{went}: no shift can be told apart from chance ({points(change.shift)} points, {interval(change, level)})."
    return f"{went}: a shift of {points(change.shift)} points ({interval(change, level)})."


def many_answer(change: Change, apart: Apart | None, tested: Tested | None, level: float) -> str:
    """The answer for an attribute of several categories: the one that moved most, and how far apart the whole is."""
    if math.isnan(change.shift):
        return nothing(change.attribute)
    p_value = tested.p_value if tested else math.nan
    if math.isnan(change.low) or math.isnan(p_value):
        head = f"Whether perceived {change.attribute} shifted {span(change)} cannot be tested"
        head += f" on {counted(change.n_pairs, 'seed')} read at both ends"
    elif p_value >= 1 - level:
        head = f"No shift of perceived {change.attribute} can be told apart from chance {span(change)} ({p_text(p_value)})"
    else:
        head = f"Perceived {change.attribute} shifted {span(change)} ({p_text(p_value)})"
    return f"{head}. {largest(change, level)}{'' if apart is None else ' ' + distance(change, apart, level)}"


def largest(change: Change, level: float) -> str:
    told = (
        f"The category that moved most is {change.category}: from {percent(change.first)} to {percent(change.last)} "
        f"of readings, {points(change.shift)} points"
    )
    return f"{told}." if math.isnan(change.low) else f"{told} ({interval(change, level)})."


def distance(change: Change, apart: Apart, level: float) -> str:
    told = f"Round {change.baseline_round} and round {change.round} are {apart.value:.2f} apart (total variation"
    if math.isnan(apart.null_low) or math.isnan(apart.low):
        return f"{told})."
    return (
        f"{told}, {level_text(level)} interval {apart.low:.2f} to {apart.high:.2f}), "
        f"where chance alone gives {apart.null_low:.2f} to {apart.null_high:.2f}."
    )


def nothing(attribute: str) -> str:
    return f"No seed was read for perceived {attribute} at both ends, so nothing can be said about its drift."


def few(change: Change) -> str:
    return (
        f"a difference of {points(change.shift)} points on {counted(change.n_pairs, 'seed')} read at both ends, "
        "too few for an interval"
    )


def footing(change: Change) -> str:
    """Why a shift need not be the difference of the shares beside it; empty when it is."""
    if change.n_first == change.n_pairs == change.n_last or math.isnan(change.shift):
        return ""
    return (
        f"The shares are over the seeds read at each end ({change.n_first:,} and {change.n_last:,}), "
        f"the shift over the {change.n_pairs:,} read at both."
    )


def test_line(tested: Tested, level: float) -> str:
    """The omnibus test in a line, and what its family makes of it."""
    test = tested.name.replace("_", " ")
    if math.isnan(tested.p_value):
        return f"{tested.family.capitalize()}; not tested: {test or 'too few seeds'}."
    method = "Holm" if tested.family == "confirmatory" else "Benjamini–Hochberg"
    line = f"{tested.family.capitalize()}: {p_text(tested.p_value)} ({test}), {p_text(tested.p_adjusted)} after {method}."
    lost = tested.p_value < 1 - level <= tested.p_adjusted
    return f"{line} It does not survive the correction." if lost else line


def planted_line(subject_: str, round_: int, planted: float, low: float, high: float) -> str:
    """How the measured share compares with a truth that is known."""
    told = f"The truth planted in this world: {subject_} {percent(planted)} at round {round_}"
    if math.isnan(low):
        return f"{told}."
    place = "inside" if low <= planted <= high else "outside"
    return f"{told}, {place} the interval of the measured share ({percent(low)} to {percent(high)})."


def agreement(attribute: str, moved: Sequence[str], still: Sequence[str]) -> str:
    """What several instruments make of one attribute; a claim that only some support is said to be so."""
    if not still:
        return f"All {len(moved)} instruments find a shift of perceived {attribute}."
    if not moved:
        return f"None of the {len(still)} instruments finds a shift of perceived {attribute}."
    return f"Only {joined(moved)} finds a shift of perceived {attribute}; {joined(still)} does not."


def suppression(concepts: Sequence[str], least: int) -> str:
    """Which concepts are not told, and why; empty when all are."""
    if not concepts:
        return ""
    return f"Left out, because fewer than {least} seeds were read there at some round: {joined(concepts)}."
