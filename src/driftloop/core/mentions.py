"""Whether an English caption names perceived gender or age, and which category of an instrument it names.

Words count wherever they stand: of a woman beside her son the caption names two genders and is contradictory. Whole words
alone count, possessives and contractions included ("man's", "she'll"), parts of compounds not ("man-made", "snowman").
Pronouns (he, she, his, her, him, hers, himself, herself) are gender words: a generator sees them as it sees "woman".
Nouns that name one gender by form alone and another by use ("actor", "waiter") are none. Hedges name what they hedge
("what seems to be a woman"); denied words ("not a man", "without a woman"), alternatives ("a man or a woman", "he/she") and
what follows "unsure whether" do not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from typing import Literal

from driftloop.core.words import AGE, GENDER, NUMBERS, TABLES, ages_in_numbers, found

Years = tuple[float, float]
"""From this age on, and younger than that."""

OLDEST = 120.0

FEMALE = frozenset({
    "woman", "women", "lady", "ladies", "girl", "girls", "female", "females", "she", "her", "hers", "herself", "mother",
    "mothers", "mom", "daughter", "daughters", "sister", "sisters", "grandmother", "grandma", "wife", "wives", "actress",
    "waitress", "businesswoman", "businesswomen", "policewoman", "schoolgirl",
})  # fmt: skip
MALE = frozenset(GENDER) - FEMALE

WORD_YEARS: dict[str, Years] = {
    **dict.fromkeys(
        (
            "baby girl",
            "baby boy",
            "toddler girl",
            "toddler boy",
            "baby",
            "babies",
            "infant",
            "infants",
            "newborn",
            "toddler",
            "toddlers",
        ),
        (0, 4),
    ),
    **dict.fromkeys(("child", "children", "kid", "kids"), (4, 13)),
    **dict.fromkeys(("girl", "girls", "boy", "boys", "schoolgirl", "schoolboy"), (4, 18)),
    **dict.fromkeys(("teenager", "teenagers", "teen", "teens", "teenage", "adolescent", "adolescents"), (13, 20)),
    **dict.fromkeys(("young", "younger", "youthful", "young adult"), (18, 40)),
    **dict.fromkeys(("adult", "adults"), (18, OLDEST)),
    **dict.fromkeys(("middle-aged", "middle aged", "middle-aged adult", "middle aged adult"), (40, 65)),
    **dict.fromkeys(("elderly", "old", "older", "aged", "senior", "seniors"), (65, OLDEST)),
}
"""The ages an English age word stands for, roughly: which groups of an instrument it names follows from these.

"little" is dropped with an age (`words.neutral`) and names none.
"""

GROUP_YEARS: dict[str, Years] = {"baby": (0, 3), "child": (3, 15), "young": (15, 30), "adult": (30, 65), "senior": (65, OLDEST)}
"""Age groups that are called by a word: PHASE's."""

_DECADES: dict[str, Years] = {
    word: (10.0 * place, 10.0 * place + 10) for place, word in enumerate(
        ("teens", "twenties", "thirties", "forties", "fifties", "sixties", "seventies", "eighties", "nineties"), 1)
}  # fmt: skip
_A_YEAR = {"month": 12.0, "week": 52.0, "day": 365.0}
_INFANT = frozenset(word for word, years in WORD_YEARS.items() if years == (0, 4))
_BY_GENDER = frozenset({"girl", "girls", "boy", "boys"})
_MINOR = frozenset(word for word, years in WORD_YEARS.items() if years[1] <= 20)
_YOUNG = frozenset({"young", "younger", "youthful", "young adult"})
_DENYING = frozenset({"no", "not", "without", "never", "neither", "nor", "isn't", "aren't", "wasn't", "weren't", "cannot"})
# What may stand between a denial and what it denies; "not only a man" and "not far from a man" deny nothing of the kind.
_PASSED = frozenset(" ".join((*GENDER, *AGE)).split()) | frozenset(
    {"a", "an", "the", "any", "single", "clearly", "visible", "visibly", "identifiable", "or", "be", "person"}
)
_UNSURE = re.compile(
    r"\b(?:unsure|uncertain|unclear|not (?:sure|clear|known)|(?:hard|difficult|impossible) to (?:tell|say)|"
    r"(?:cannot|can't|could not|couldn't) (?:tell|say)) (?:whether|if)\b[^.;]*"
)
_OR = re.compile(r"(?:\s*/\s*|,?\s+or\s+)(?:an?\s+|the\s+)?")
_TOKEN = re.compile(r"[a-z]+(?:['-][a-z]+)*|[^\sa-z]")
Found = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class Mention:
    """What a caption says of one attribute: `silent`, `names` one thing, which fits these `categories`, or `contradictory`.

    A word may fit several narrow categories ("young" and "20-29", "30-39") or none an instrument has.
    """

    kind: Literal["silent", "names", "contradictory"]
    categories: frozenset[str] = frozenset()


SILENT = Mention("silent")


def readable(attribute: str, categories: Sequence[str]) -> bool:
    """Whether captions can be held against an instrument's `categories` of this attribute, `unsure` left out."""
    if attribute == "gender":
        return {gender_of(category) for category in categories} >= {"female", "male"}
    return attribute == "age" and all(years_of(category) for category in categories if category.casefold() != "unsure")


def mention(text: str, attribute: str, categories: Sequence[str]) -> Mention:
    """What `text` says of `attribute` ("gender" or "age") in the words of an instrument's `categories`."""
    if attribute not in TABLES:
        raise ValueError(f"mentions are known of {', '.join(TABLES)}; got {attribute!r}")
    return _mention(text, attribute, tuple(categories))


@lru_cache(maxsize=1 << 18)  # a millisecond or two each, and several tables ask about the same captions
def _mention(text: str, attribute: str, categories: tuple[str, ...]) -> Mention:
    text = _UNSURE.sub(" ", text.replace("’", "'").lower())
    said = _genders(text, categories) if attribute == "gender" else _ages(text, categories)
    if not said:
        return SILENT
    common = frozenset.intersection(*said)
    return Mention("contradictory") if not common and len(set(said)) > 1 else Mention("names", common)


def gender_of(category: str) -> str | None:
    """ "female" or "male" as an instrument may write it; None for what is neither."""
    word = category.casefold()
    return "female" if word in FEMALE | {"f"} else "male" if word in MALE | {"m"} else None


@cache
def years_of(category: str) -> Years | None:
    """The ages of an age group: "20-39", "70+", "more than 70", "under 18", or a word for it; None where it says none."""
    numbers = [float(number) for number in re.findall(r"\d+", category)]
    if len(numbers) == 2:
        return (numbers[0], numbers[1] + 1) if numbers[0] <= numbers[1] else None
    if len(numbers) == 1:
        below = re.search(r"under|below|younger|less|<", category.casefold())
        return (0.0, numbers[0]) if below else (numbers[0], OLDEST)
    word = category.casefold()
    return GROUP_YEARS.get(word) or WORD_YEARS.get(word)


def _genders(text: str, categories: Sequence[str]) -> list[frozenset[str]]:
    """The categories that each gender word fits."""
    said = ["female" if word in FEMALE else "male" for _, _, word in _asserted(text, "gender")]
    return [frozenset(category for category in categories if gender_of(category) == gender) for gender in said]


def _ages(text: str, categories: Sequence[str]) -> list[frozenset[str]]:
    """The categories that each age, in numbers or in words, fits."""
    numbers: list[Years] = []
    for pattern, _ in ages_in_numbers(text):
        numbers += [years for match in pattern.finditer(text) if (years := _in_years(match.groupdict()))]
        text = pattern.sub(" person ", text)
    words = _settled(_asserted(text, "age"), text, bool(numbers))
    return [_fitting(years, categories) for years in (*numbers, *(WORD_YEARS[word] for word in words))]


def _asserted(text: str, attribute: str) -> list[Found]:
    """The words of an attribute that are neither denied nor alternatives to each other."""
    words = found(text, attribute)
    either = {word for one, other in pairwise(words) if _are_alternatives(text, one, other, attribute) for word in (one, other)}
    return [word for word in words if word not in either and not _is_denied(text[: word[0]])]


def _are_alternatives(text: str, one: Found, other: Found, attribute: str) -> bool:
    if not _OR.fullmatch(text[one[1] : other[0]]):
        return False
    return attribute == "age" or (one[2] in FEMALE) != (other[2] in FEMALE)


def _is_denied(before: str) -> bool:
    """Whether a denial stands before, with nothing between but articles and the like."""
    for token in reversed(_TOKEN.findall(before)):
        if token in _DENYING:
            return True
        if token not in _PASSED:
            return False
    return False


def _settled(words: Sequence[Found], text: str, in_numbers: bool) -> list[str]:
    """Without the words that another one decides: a baby girl is a baby, a young girl a child, a girl of 20 is 20."""
    minor = any(word in _MINOR for _, _, word in words)
    after = {other for one, other in pairwise(words) if one[2] in _INFANT and not text[one[1] : other[0]].strip()}
    left = [word for word in words if word not in after and not (minor and word[2] in _YOUNG)]
    return [word for _, _, word in left if word in WORD_YEARS and not (in_numbers and word in _BY_GENDER)]


def _in_years(groups: Mapping[str, str | None]) -> Years | None:
    """The ages of a match of `words.AGES_IN_NUMBERS`; None for what nobody is."""
    if decade := groups.get("decade"):
        last = groups.get("last") or decade
        return min(_decade(decade)[0], _decade(last)[0]), max(_decade(decade)[1], _decade(last)[1])
    low = _number(groups["low"] or "")
    high = _number(groups.get("high") or groups["low"] or "")
    a_year = _A_YEAR.get(groups.get("unit") or "", 1.0)
    years = min(low, high) // a_year, max(low, high) // a_year + 1
    return years if years[1] <= OLDEST else None


def _decade(word: str) -> Years:
    """Of "thirties", "30s" or the "thirty" of "thirty-something"."""
    if word in _DECADES:
        return _DECADES[word]
    start = float(NUMBERS.get(word) or re.sub(r"\D", "", word))
    return start, start + 10


def _number(text: str) -> float:
    return float(text) if text.isdigit() else float(NUMBERS[re.sub(r"\s", "-", text)])


def _fitting(years: Years, categories: Sequence[str]) -> frozenset[str]:
    """The age groups that share at least half of the shorter span with `years`."""
    return frozenset(category for category in categories if (group := years_of(category)) and _overlap(years, group) >= 0.5)


def _overlap(one: Years, other: Years) -> float:
    common = min(one[1], other[1]) - max(one[0], other[0])
    return common / min(one[1] - one[0], other[1] - other[0])
