"""Words that name perceived gender or age in an English caption, and what says the same without them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

GENDER = {
    "woman": "person", "man": "person", "women": "people", "men": "people", "lady": "person", "ladies": "people",
    "gentleman": "person", "gentlemen": "people", "guy": "person", "girl": "child", "boy": "child", "girls": "children",
    "boys": "children", "female": "", "male": "", "she": "they", "he": "they", "her": "their", "his": "their",
    "him": "them", "hers": "theirs", "herself": "themself", "himself": "themself", "mother": "parent", "father": "parent",
    "mom": "parent", "dad": "parent", "daughter": "child", "son": "child", "sister": "sibling", "brother": "sibling",
    "grandmother": "grandparent", "grandfather": "grandparent", "wife": "spouse", "husband": "spouse",
    "actress": "actor", "waitress": "waiter", "businesswoman": "businessperson", "businessman": "businessperson",
    "businesswomen": "businesspeople", "businessmen": "businesspeople", "guys": "people", "females": "people",
    "males": "people",
    "mothers": "parents", "fathers": "parents", "daughters": "children", "sons": "children", "sisters": "siblings",
    "brothers": "siblings", "wives": "spouses", "husbands": "spouses", "grandma": "grandparent", "grandpa": "grandparent",
    "policewoman": "police officer", "policeman": "police officer", "schoolgirl": "pupil", "schoolboy": "pupil",
}  # fmt: skip
"""Gendered word -> neutral word ("" = leave out)."""

AGE = {
    "baby girl": "woman", "baby boy": "man", "toddler girl": "woman", "toddler boy": "man", "young adult": "person",
    "middle-aged adult": "person", "middle aged adult": "person", "baby": "person", "toddler": "person",
    "infant": "person", "child": "person", "children": "people", "kid": "person", "kids": "people",
    "teenager": "person", "teen": "person", "girl": "woman", "boy": "man", "girls": "women", "boys": "men",
    "elderly": "", "middle-aged": "", "middle aged": "", "teenage": "", "young": "", "old": "", "senior": "", "adult": "",
    "aged": "", "youthful": "", "little": "", "older": "", "younger": "", "babies": "people", "toddlers": "people",
    "infants": "people", "newborn": "person", "teenagers": "people", "teens": "people", "adolescent": "person",
    "adolescents": "people", "adults": "people", "seniors": "people", "schoolgirl": "woman", "schoolboy": "man",
}  # fmt: skip
"""Word of age -> word of no age, the gender kept ("girl" -> "woman")."""

# These also describe things ("an old house"): they go only where a person follows within two words.
_OF_THINGS = frozenset({"young", "old", "senior", "adult", "aged", "little", "older", "younger"})
_PERSONS = (
    r"(?:person|people|wom[ae]n|m[ae]n|lad(?:y|ies)|gentlem[ae]n|girls?|boys?|child(?:ren)?|kids?|female|male|guy|adult|couple)"
)
_PERSON = rf"(?=(?:\s+(?:(?:and|or)\s+)?[\w-]+){{0,1}}\s+{_PERSONS}\b)"
# "a person woman", left of "a young adult woman" or of "a baby child", says the person twice.
_TWICE = re.compile(rf"\b(?:person|people)\s+(?={_PERSONS}\b)", re.IGNORECASE)

_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_TEENS = (
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_ONES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NUMBERS: Mapping[str, int] = {
    **{word: number for number, word in enumerate((*_ONES, *_TEENS), 1)},
    **{word: 10 * number for number, word in enumerate(_TENS, 2)},
    **{f"{ten}-{one}": 10 * i + j for i, ten in enumerate(_TENS, 2) for j, one in enumerate(_ONES, 1)},
}
"""Number word -> number, "twenty-one" with a hyphen."""

_NUMBER = rf"(?:\d{{1,3}}|(?:{'|'.join(_TENS)})(?:[\s-](?:{'|'.join(_ONES)}))?|{'|'.join((*_TEENS, *_ONES))})"
_SPAN = rf"(?P<low>{_NUMBER})(?:(?:\s*[-–]\s*|\s(?:to|and|or)\s)(?P<high>{_NUMBER}))?"
_DECADES = r"(?:teens|twenties|thirties|forties|fifties|sixties|seventies|eighties|nineties|[1-9]0['’]?s)"
_PART = r"(?:(?:very\s)?(?:early|mid|middle|late)(?:[\s-]to[\s-](?:mid|late))?[\s-]+)?"
_ABOUT = r"(?:(?:around|about|approximately|roughly|between|maybe)\s)?"
_IS = r"(?:\s(?:of|who\s(?:is|looks|appears\sto\sbe)|who['’]s))?"
# An age before a noun is a person's only where a person follows: "a 50-year-old house".
_WITH_AGE = (
    rf"(?:{_PERSONS}|{'|'.join(GENDER)}|bab(?:y|ies)|toddlers?|infants?|newborn|"
    r"(?:student|pupil|player|worker|artist|actor|patient|person)s?)"
)
_SUBJECT = rf"(?=(?:\s+[\w-]+){{0,2}}?\s+{_WITH_AGE}\b)"
_END = (
    r"(?=\s*(?:$|[.,;:!?)]|(?:and|or|with|in|on|at|by|is|was|has|who|from|of)\b|(?!building|painting|ceiling|being)\w+ing\b))"
)
_YEARS_OLD = rf"{_ABOUT}{_SPAN}[\s-]+(?P<unit>year|yr|month|week|day)s?[\s-]+"

AGES_IN_NUMBERS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), new)
    for pattern, new in (
        (rf"(?P<article>\ban?\s+)?\b(?P<word>{_YEARS_OLD}old){_SUBJECT}(?=\s*(?P<next>\w?))", ""),
        (rf"(?P<article>\ban?\s+)\b(?P<word>{_YEARS_OLD}old)(?!\w){_END}(?=\s*(?P<next>\w?))", "person"),
        (rf"(?P<article>\b[Aa]n?\s+)?\b(?P<word>{_YEARS_OLD}olds)\b(?=\s*(?P<next>\w?))", "people"),
        (rf"(?P<article>\ban?\s+)?(?P<word>,?{_IS}\s?\b{_YEARS_OLD}(?:old|of\sage)){_END}(?=\s*(?P<next>\w?))", ""),
        (
            rf"(?P<article>\ban?\s+)?(?P<word>,?{_IS}\s?(?<![-\w])(?:aged|ages?|(?:at\s)?the\sage\sof)\s{_ABOUT}{_SPAN}"
            r"(?:\s(?P<unit>year|month|week|day)s?)?)\b(?=\s*(?P<next>\w?))",
            "",
        ),
        (
            rf"(?P<article>\ban?\s+)?(?P<word>,?{_IS}\s?\bin\s(?:his|her|their|its)\s{_PART}(?P<decade>{_DECADES})"
            rf"(?:\s(?:to|or|and)\s{_PART}(?P<last>{_DECADES}))?)(?!\w)(?=\s*(?P<next>\w?))",
            "",
        ),
        (
            rf"(?P<article>\ban?\s+)?\b(?P<word>(?P<decade>{'|'.join(_TENS)}|[2-9]0)[\s-]?something){_SUBJECT}(?=\s*(?P<next>\w?))",
            "",
        ),
        (
            rf"(?P<article>\ban?\s+)?\b(?P<word>(?P<decade>{'|'.join(_TENS)}|[2-9]0)[\s-]?something)\b(?=\s*(?P<next>\w?))",
            "person",
        ),
    )
)
"""How a caption gives an age as a number, and what says the same without it ("" = leave out); the first that fits counts."""
# Every pattern above needs both; most captions have neither, and the patterns are slow.
_A_NUMBER = re.compile(rf"\d|{_DECADES}|{'|'.join((*_TENS, *_TEENS, *_ONES))}", re.IGNORECASE)
_OF_AGE = re.compile(r"year|yr|month|week|day|(?<![-\w])age|\bin\s(?:his|her|their|its)\b|something", re.IGNORECASE)

TABLES: Mapping[str, Mapping[str, str]] = {"gender": GENDER, "age": AGE}


def neutral(text: str, attribute: str) -> str:
    """`text` without words that name `attribute` ("gender" or "age"); articles follow ("an elderly man" -> "a man")."""
    for pattern, new in (*(ages_in_numbers(text) if attribute == "age" else ()), *_rules(attribute)):
        text = pattern.sub(lambda match, new=new: _said(match, new), text)  # type: ignore[misc]
    text = _TWICE.sub("", text) if attribute == "age" else text
    return re.sub(r"\s{2,}", " ", text).strip()


def ages_in_numbers(text: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """The patterns of `AGES_IN_NUMBERS`, none of them where none can fit."""
    return AGES_IN_NUMBERS if _A_NUMBER.search(text) and _OF_AGE.search(text) else ()


def found(text: str, attribute: str) -> list[tuple[int, int, str]]:
    """Where the words stand that `neutral` would replace, ages in numbers aside: start, end, word of `TABLES`, in order."""
    there = set(re.findall(r"\w+", text.lower()))
    taken: list[tuple[int, int, str]] = []
    for word, pattern in _patterns(attribute):
        for match in pattern.finditer(text) if word in there else ():
            start, end = match.span("word")
            if all(end <= other[0] or start >= other[1] for other in taken):
                taken.append((start, end, match["word"].lower()))
    return sorted(taken)


@cache
def _patterns(attribute: str) -> list[tuple[str, re.Pattern[str]]]:
    """The patterns of `_rules`, each behind the first part of its word, which a text must hold."""
    words = sorted(TABLES[attribute], key=len, reverse=True)
    return [(re.split(r"\W", word)[0], pattern) for word, (pattern, _) in zip(words, _rules(attribute), strict=True)]


@cache
def _rules(attribute: str) -> list[tuple[re.Pattern[str], str]]:
    """Longer words first: "baby girl" before "girl"."""
    table = TABLES[attribute]
    return [(_pattern(word, table[word]), table[word]) for word in sorted(table, key=len, reverse=True)]


def _pattern(word: str, new: str) -> re.Pattern[str]:
    person = _PERSON if word in _OF_THINGS else ""
    comma = "" if new else r"(?:,(?=\s+\w))?"  # "an elderly, smiling man"
    return re.compile(
        rf"(?P<article>\b[Aa]n?\s+)?\b(?P<word>{re.escape(word)})\b(?!-\w|['’](?!(?:s|ll|d)\b)\w)"
        rf"{person}{comma}(?=\s*(?P<next>\w?))",
        re.IGNORECASE,
    )


def _said(match: re.Match[str], new: str) -> str:
    if match["word"][0].isupper():
        new = new.capitalize()
    if match["article"] is None:
        return new
    article = "an" if (new or match["next"])[:1].lower() in tuple("aeiou") else "a"
    article = article.capitalize() if match["article"][0].isupper() else article
    return f"{article} {new}"
