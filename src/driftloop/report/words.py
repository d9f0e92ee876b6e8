"""The sentences of a report: plain text, from plain numbers. Perceived attributes only, as an instrument has them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WOMEN = frozenset({"female", "woman", "women", "f"})
MEN = frozenset({"male", "man", "men", "m"})
ABSOLUTE = re.compile(r"(?<![\w/.<])(?:~?/|[A-Za-z]:\\)[\w.@+~-]+(?:[/\\][\w.@+~-]+)*[/\\]?")
TESTS = {
    "mcnemar_midp": "mid-p McNemar test",
    "bonferroni": "smallest p of the categories, Bonferroni",
    "stuart_maxwell": "Stuart–Maxwell test",
    "stuart_maxwell_swaps": "Stuart–Maxwell statistic against swapped rounds",
    "bhapkar": "Bhapkar test",
}
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One category from the baseline to a later round: shares among the seeds read at each, shift on those read at both.

    `audited`: as people label the pictures; then `n_first` and `n_last` are pictures labelled.
    """

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
    audited: bool = False


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


@dataclass(frozen=True, kw_only=True)
class Estimate:
    value: float
    low: float
    high: float


# Numbers -------------------------------------------------------------------------------------------------------------


def percent(share: float) -> str:
    return "unknown" if math.isnan(share) else f"{100 * share:.1f} %"


def points(shift: float) -> str:
    """A shift in percentage points, signed: +21.3, −4.0, 0.0."""
    rounded = round(100 * shift, 1) + 0.0
    return "unknown" if math.isnan(shift) else "0.0" if rounded == 0 else f"{rounded:+.1f}".replace("-", "−")


def signed_years(years: float) -> str:
    """A shift in years, signed: +2.1, −0.4, 0.0."""
    return points(years / 100)


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


def safe(text: str, most: int) -> str:
    """What a machine said, without its folders."""
    return without_paths(readable(text, most))


# Sentences -----------------------------------------------------------------------------------------------------------


def span(change: Change) -> str:
    """ "in 5 rounds"; a chain seeded by text has its first picture in round 1."""
    rounds = counted(change.round - change.baseline_round, "round")
    start = change.baseline_round
    return f"in {rounds}" if start == 0 else f"in {rounds} (from round {start}, the first picture, to round {change.round})"


def interval(change: Change, level: float) -> str:
    return f"{level_text(level)} interval {points(change.low)} to {points(change.high)}; {rests_on(change)}"


def rests_on(change: Change) -> str:
    if not change.audited:
        return f"{counted(change.n_pairs, 'seed')} read at both ends"
    rounds = f"round {change.baseline_round} and {change.n_last:,} of round {change.round}"
    return f"people labelled {change.n_first:,} pictures of {rounds}"


def estimated(estimate: Estimate, level: float) -> str:
    """ "−20.5 points (95 % interval −33.2 to −7.3)" """
    told = f"{points(estimate.value)} points"
    if math.isnan(estimate.low):
        return told
    return f"{told} ({level_text(level)} interval {points(estimate.low)} to {points(estimate.high)})"


def two_answer(change: Change, level: float) -> str:
    """The answer for an attribute of two categories."""
    if math.isnan(change.shift):
        return nothing(change.attribute)
    of, seen = ("", ", as people label the pictures") if change.audited else (" of readings", "")
    went = (
        f"{subject(change.attribute, change.category)} went from {percent(change.first)} to {percent(change.last)}{of} "
        f"{span(change)}{seen}"
    )
    if math.isnan(change.low):
        return f"{went}: {few(change)}."
    return f"{went}: {shifted(change, level)}."


def shifted(change: Change, level: float) -> str:
    if change.low <= 0 <= change.high:
        return f"no shift can be told apart from chance ({points(change.shift)} points, {interval(change, level)})"
    return f"a shift of {points(change.shift)} points ({interval(change, level)})"


def many_answer(change: Change, tested: Tested | None, level: float) -> str:
    """The answer for an attribute of several categories; `change` is of the one that moved most."""
    if math.isnan(change.shift):
        return nothing(change.attribute)
    p_value = tested.p_value if tested else math.nan
    if math.isnan(p_value) or math.isnan(change.low):
        on = f"on {counted(change.n_pairs, 'seed')} read at both ends"
        return f"Whether perceived {change.attribute} shifted {span(change)} cannot be tested {on}."
    if p_value >= 1 - level:
        return f"No shift of perceived {change.attribute} can be told apart from chance {span(change)} ({p_text(p_value)})."
    return f"Perceived {change.attribute} shifted {span(change)} ({p_text(p_value)}): {largest(change, level)}"


def audited_answer(change: Change, level: float) -> str:
    """The answer of people's labels for several categories; `change` is of the one that moved most."""
    if change.low <= 0 <= change.high:
        most = f"the largest is that of {change.category} ({points(change.shift)} points, {interval(change, level)})"
        return (
            f"As people label the pictures, no shift of a group of perceived {change.attribute} can be told apart from chance "
            f"{span(change)}: {most}."
        )
    told = largest(change, level)
    return f"As people label the pictures, perceived {change.attribute} shifted {span(change)}: {told}"


def why_audited(attribute: str, raw: Change, level: float) -> str:
    """Why the labels of people are told first, and what the instrument by itself says."""
    subject_ = lowered(subject(attribute, raw.category))
    return (
        "Told first is the audited estimate, because people labelled a random sample of pictures of both rounds: what the "
        "instrument misreads does not count as drift there. Read by the instrument alone (raw), "
        f"{subject_} went from {percent(raw.first)} to {percent(raw.last)}: {shifted(raw, level)}."
    )


def lowered(text: str) -> str:
    return f"{text[:1].lower()}{text[1:]}"


def largest(change: Change, level: float) -> str:
    of = "" if change.audited else " of readings"
    told = f"{change.category} moved most, from {percent(change.first)} to {percent(change.last)}{of}"
    if math.isnan(change.low):
        return f"{told}, by {points(change.shift)} points."
    return f"{told}, a shift of {points(change.shift)} points ({interval(change, level)})."


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
    if change.audited or change.n_first == change.n_pairs == change.n_last or math.isnan(change.shift):
        return ""
    return (
        f"The shares are over the seeds read at each end ({change.n_first:,} and {change.n_last:,}), "
        f"the shift over the {change.n_pairs:,} read at both."
    )


def test_line(tested: Tested, level: float) -> str:
    """The omnibus test in a line, and what its family makes of it."""
    test = TESTS.get(tested.name, tested.name.replace("_", " "))
    if math.isnan(tested.p_value):
        return f"{tested.family.capitalize()}; not tested: {test or 'too few seeds'}."
    method = "Holm" if tested.family == "confirmatory" else "Benjamini–Hochberg"
    line = f"{tested.family.capitalize()}: {p_text(tested.p_value)} ({test}), {p_text(tested.p_adjusted)} after {method}."
    lost = tested.p_value < 1 - level <= tested.p_adjusted
    return f"{line} It does not survive the correction." if lost else line


def planted_line(subject_: str, round_: int, planted: float, low: float, high: float) -> str:
    """How the measured share compares with a truth that is known: by the options of exact models, the card of trained ones."""
    told = f"Expected from what these models were made to do: {subject_} {percent(planted)} at round {round_}"
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


# Under figures -------------------------------------------------------------------------------------------------------


def n_range(counts: Iterable[float]) -> str:
    """ "96 seeds", "88 to 96 seeds"."""
    known = sorted({int(n) for n in counts if not math.isnan(n)})
    if not known:
        return "no seeds"
    return counted(known[0], "seed") if len(known) == 1 else f"{known[0]:,} to {known[-1]:,} seeds"


def subjects(attribute: str, categories: Sequence[str]) -> str:
    return subject(attribute, categories[0]) if len(categories) == 1 else f"Perceived {attribute}"


def forest_caption(n: str, level: float, *, audited: bool) -> str:
    on = "" if audited else f", on the seeds read at both ends (n = {n})"
    labelled = f" Marked audited: as people label the pictures (n = {n} labelled at both)." if audited else ""
    return f"Shift of each category from the baseline to the last round, in points{on}.{labelled} {bars(level)}"


def bars(level: float) -> str:
    return f"Bars are {level_text(level)} intervals over seeds; blue where the interval leaves out 0."


def curve_caption(what: str, n: str, level: float, *, planted: bool, audited: bool) -> str:
    labelled = " Diamonds with bars: as people label the pictures." if audited else ""
    return f"{what}, share of readings by round, over all seeds (n = {n}). {band(level)}{dashed(planted=planted)}{labelled}"


def concept_caption(what: str, kind: str, n: str, level: float, *, planted: bool) -> str:
    return f"{what}, by {kind} (n = {n} each); grey: all seeds. {band(level)}{dashed(planted=planted)}"


def stack_caption(what: str, kind: str, n: str) -> str:
    return f"{what}, composition of readings at every round, by {kind} (n = {n} each). Intervals are in the table below."


def distance_caption(what: str, n: str, level: float, *, ordered: bool) -> str:
    return (
        f"How far {what} has moved from the baseline, over the seeds read at both (n = {n}); coloured band: "
        f"{level_text(level)} interval over seeds. Grey: mean and {level_text(level)} band of the same distance when the "
        "rounds of each seed are swapped at random. A distance is never below 0: compare it with that band, not with 0. "
        "Jensen–Shannon is the divergence, in bits."
        f"{' Wasserstein counts how many groups a reading moves on average.' if ordered else ''}"
    )


def band(level: float) -> str:
    return f"Band: {level_text(level)} interval over seeds, at each round by itself."


def dashed(*, planted: bool) -> str:
    return " Dashed: expected from what these models were made to do." if planted else ""


def limits(*, cartoon: bool, licensed: bool) -> list[str]:
    """What the numbers do not say."""
    told = [
        "Everything here is a perceived attribute: what an instrument reads off a picture, in the instrument's own "
        "categories. Nothing is said about who anybody is, and generated people have no identity.",
        "Drift is raw unless it is marked audited, adjusted or em: the same classifier with the same locator reads every "
        "round, the baseline included. Errors of that instrument that are alike in all rounds cancel only in part, and errors "
        "that differ between photographs and generated pictures look like drift. Human labels are not mixed in.",
        "Shares are over readings that succeeded; what was not read is counted under coverage, with the bounds it leaves open.",
        "Seeds are what is independent. Intervals speak of seeds like these and of these models with these settings.",
        "Bands hold at each round by itself, not for the whole curve. Only tests marked confirmatory were declared "
        "beforehand; the rest, single concepts above all, is exploratory.",
        "A curve shows that a loop drifts, not which model or which feature of a picture moves it.",
    ]
    if cartoon:
        told.append("The seeds are drawn by the built-in world, a cartoon of known make-up. It checks the instrument; it "
                    "says nothing about people or about any larger model.")  # fmt: skip
    if licensed:
        told.append("The seeds belong to a data set with terms of its own. Check them before this page is passed on.")
    return told
