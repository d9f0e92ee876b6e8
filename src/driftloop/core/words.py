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
}  # fmt: skip
"""Gendered word -> neutral word ("" = leave out)."""

AGE = {
    "baby girl": "woman", "baby boy": "man", "toddler girl": "woman", "toddler boy": "man", "young adult": "person",
    "middle-aged adult": "person", "middle aged adult": "person", "baby": "person", "toddler": "person",
    "infant": "person", "child": "person", "children": "people", "kid": "person", "kids": "people",
    "teenager": "person", "teen": "person", "girl": "woman", "boy": "man", "girls": "women", "boys": "men",
    "elderly": "", "middle-aged": "", "middle aged": "", "teenage": "", "young": "", "old": "", "senior": "", "adult": "",
    "aged": "", "youthful": "", "little": "",
}  # fmt: skip
"""Word of age -> word of no age, the gender kept ("girl" -> "woman")."""

# These also describe things ("an old house"): they go only where a person follows within two words.
_OF_THINGS = frozenset({"young", "old", "senior", "adult", "aged", "little"})
_PERSONS = (
    r"(?:person|people|wom[ae]n|m[ae]n|lad(?:y|ies)|gentlem[ae]n|girls?|boys?|child(?:ren)?|kids?|female|male|guy|adult|couple)"
)
_PERSON = rf"(?=(?:\s+[\w-]+){{0,1}}\s+{_PERSONS}\b)"
# "a person woman", left of "a young adult woman" or of "a baby child", says the person twice.
_TWICE = re.compile(rf"\b(?:person|people)\s+(?={_PERSONS}\b)", re.IGNORECASE)

TABLES: Mapping[str, Mapping[str, str]] = {"gender": GENDER, "age": AGE}


def neutral(text: str, attribute: str) -> str:
    """`text` without words that name `attribute` ("gender" or "age"); articles follow ("an elderly man" -> "a man")."""
    for pattern, new in _rules(attribute):
        text = pattern.sub(lambda match, new=new: _said(match, new), text)  # type: ignore[misc]
    text = _TWICE.sub("", text) if attribute == "age" else text
    return re.sub(r"\s{2,}", " ", text).strip()


@cache
def _rules(attribute: str) -> list[tuple[re.Pattern[str], str]]:
    """Longer words first: "baby girl" before "girl"."""
    table = TABLES[attribute]
    return [(_pattern(word, table[word]), table[word]) for word in sorted(table, key=len, reverse=True)]


def _pattern(word: str, new: str) -> re.Pattern[str]:
    person = _PERSON if word in _OF_THINGS else ""
    comma = "" if new else r"(?:,(?=\s+\w))?"  # "an elderly, smiling man"
    return re.compile(
        rf"(?P<article>\b[Aa]n?\s+)?\b(?P<word>{re.escape(word)})\b(?!-\w|['’](?!s\b)\w)"
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
