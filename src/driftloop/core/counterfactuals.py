"""Versions of a caption that differ in one attribute: without the words that name it, and with each of its values named.

Everything else stays: only whole words of perceived gender or age (`core.words`) are taken out, exchanged or put in, and
articles follow. What the versions are depends on what the caption says (`core.mentions`):

- `names` one thing, or is `contradictory`: it gets a version with the words removed and one for each value.
- `silent`: nothing can be removed; it gets one for each value, named on its first person word ("a person" -> "a woman",
  "a chef" has none and gets no version).
- `unclear`: it has such words and names nothing ("a man or a woman", "not old"). No version of it would say what is meant.

Perceived gender is exchanged wherever it stands, pronouns too ("a woman beside her son" -> "a man beside his son"); the age
that a word names beside it stays ("girl" <-> "boy"; removed, "child"). Perceived age is first removed everywhere ("girl" ->
"woman", the word of that gender which names no age) and then named on the first person word: "a girl" -> "an elderly woman",
"an old man" -> "a boy". Where a caption already says just the value, the version is the caption itself.

Some English words have no counterpart that keeps all the rest: without its gender a "daughter" is a "child", which names an
age, and a "schoolgirl" a "pupil", which names none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from driftloop.core.config import digest
from driftloop.core.mentions import FEMALE, mention
from driftloop.core.words import TABLES, found, neutral

VERSION = 1
"""Raised whenever the same caption would get other versions."""

AS_IS, REMOVED = "as_is", "removed"
VALUES: Mapping[str, tuple[str, ...]] = {
    "gender": ("female", "male"),
    "age": ("baby", "child", "young", "middle-aged", "elderly"),
}
"""What is named, in order; of age the words that English has, whatever groups an instrument reads."""

_SAID = {"gender": ("female", "male"), "age": ("0-3", "4-17", "18-39", "40-64", "65+")}
# What a caption must be found to say for each of VALUES to be said already: ages without gaps, so that "teenage" is a child's.

Says = Literal["names", "silent", "contradictory", "unclear"]

_MALE_OF = {
    "woman": "man", "women": "men", "lady": "gentleman", "ladies": "gentlemen", "girl": "boy", "girls": "boys",
    "female": "male", "females": "males", "mother": "father", "mothers": "fathers", "mom": "dad",
    "daughter": "son", "daughters": "sons", "sister": "brother", "sisters": "brothers", "grandmother": "grandfather",
    "grandma": "grandpa", "wife": "husband", "wives": "husbands", "actress": "male actor", "waitress": "male waiter",
    "businesswoman": "businessman", "businesswomen": "businessmen", "policewoman": "policeman", "schoolgirl": "schoolboy",
}  # fmt: skip
_FEMALE_OF = {male: female for female, male in _MALE_OF.items()} | {"guy": "woman", "guys": "women"}
_PRONOUNS = {"she": "he", "he": "she", "hers": "his", "him": "her", "herself": "himself", "himself": "herself"}
# "her book" -> "his book", "beside her" -> "beside him"; "his book" -> "her book", "is his" -> "is hers".
_NOT_OWNED = r"(?:and|or|in|on|at|with|to|from|for|by|as|while|is|was|who|that|of|near|beside|behind)"
_OWNED = re.compile(rf"\s+(?!{_NOT_OWNED}\b)\w")

_ADULTS = {
    "person": ("woman", "man"), "people": ("women", "men"), "parent": ("mother", "father"), "parents": ("mothers", "fathers"),
    "sibling": ("sister", "brother"), "siblings": ("sisters", "brothers"), "grandparent": ("grandmother", "grandfather"),
    "spouse": ("wife", "husband"), "spouses": ("wives", "husbands"),
}  # fmt: skip
_OTHERS = (
    "child", "children", "kid", "kids", "baby", "babies", "toddler", "toddlers", "infant", "infants", "newborn", "teenager",
    "teenagers", "teen", "teens", "adolescent", "adolescents", "adult", "adults", "senior", "seniors", "pupil", "pupils",
    "student", "students", "player", "players", "worker", "workers",
)  # fmt: skip
# What a baby and a child of that word are called: ("baby girl", "girl").
_YOUNGER = {
    **dict.fromkeys(("woman", "lady"), ("baby girl", "girl")), **dict.fromkeys(("women", "ladies"), ("baby girls", "girls")),
    **dict.fromkeys(("man", "gentleman", "guy"), ("baby boy", "boy")),
    **dict.fromkeys(("men", "gentlemen", "guys"), ("baby boys", "boys")),
    "person": ("baby", "child"), "people": ("babies", "children"),
}  # fmt: skip
_BY_NOUN = ("baby", "child")
_PEOPLE = r"(?:fe)?male(?!\s+(?:person|people)\b)"  # as nouns, or before a noun that stands for more ("a male player")
_NOUNS = (*_YOUNGER, "female", "male")


@dataclass(frozen=True, slots=True)
class Versions:
    """What a caption says of an attribute, and its versions: `as_is` first, then `removed`, then the values it can name."""

    says: Says
    texts: dict[str, str] = field(default_factory=dict)


def probe_identity(attributes: Sequence[str]) -> dict[str, object]:
    """What names a folder of probes, beside the run it lies in."""
    return {"version": VERSION, "attributes": list(attributes)}


def probe_folder(attributes: Sequence[str]) -> str:
    """The folder of a run in which probes of these attributes lie."""
    return f"probes/{digest(probe_identity(attributes))[:8]}"


def most_versions(attributes: Sequence[str]) -> int:
    """How many different texts the versions of one caption can be: as it is, and of each attribute removed and every value."""
    return 1 + sum(1 + len(VALUES[attribute]) for attribute in attributes if attribute in VALUES)


def versions(caption: str, attribute: str) -> Versions:
    """The versions of a caption in which `attribute` ("gender" or "age") differs."""
    if attribute not in TABLES:
        raise ValueError(f"captions have versions of {', '.join(TABLES)}; got {attribute!r}")
    said, bare = mention(caption, attribute, _SAID[attribute]), neutral(caption, attribute)
    if said.kind == "silent":
        if found(caption, attribute) or bare != " ".join(caption.split()):
            return Versions("unclear", {AS_IS: caption})
        return Versions("silent", {AS_IS: caption} | _named(caption, bare, attribute))
    named = _named(caption, bare, attribute)
    groups = zip(VALUES[attribute], _SAID[attribute], strict=True)
    own = {value: caption for value, group in groups if said.categories == {group}}
    return Versions(said.kind, {AS_IS: caption, REMOVED: bare} | named | own)


def _named(caption: str, bare: str, attribute: str) -> dict[str, str]:
    """Value -> the caption with it named, for the values that it has a word for; each is then found to name it."""
    if attribute == "gender":
        texts = {value: _of_gender(caption, value) for value in VALUES[attribute]}
    else:
        texts = {value: _of_age(bare, value) for value in VALUES[attribute]}
    groups = dict(zip(VALUES[attribute], _SAID[attribute], strict=True))
    said = {value: mention(text, attribute, _SAID[attribute]) for value, text in texts.items() if text is not None}
    return {value: str(texts[value]) for value in said if groups[value] in said[value].categories}


def _of_gender(caption: str, gender: str) -> str | None:
    words = found(caption, "gender")
    if not words:
        return _with_gender(caption, gender)
    for start, end, word in reversed(words):
        if (word in FEMALE) != (gender == "female"):
            caption = _put(caption, start, end, _counterpart(word, caption[end:]))
    return caption


def _counterpart(word: str, after: str) -> str:
    """The word of the other gender."""
    if word == "her":
        return "his" if _OWNED.match(after) else "him"
    if word == "his":
        return "her" if _OWNED.match(after) else "hers"
    return (_PRONOUNS | (_MALE_OF if word in FEMALE else _FEMALE_OF))[word]


def _with_gender(caption: str, gender: str) -> str | None:
    place = _first(caption, (*_ADULTS, *_OTHERS))
    if place is None:
        return None
    word = place[0].lower()
    new = _ADULTS[word][gender == "male"] if word in _ADULTS else f"{gender} {word}"
    return _put(caption, *place.span(), new)


def _of_age(bare: str, age: str) -> str | None:
    """`bare` names no age; what else a "female player" is called as a child, English does not say."""
    if age not in _BY_NOUN:
        place = _first(bare, _NOUNS)
        return _put(bare, *place.span(), f"{age} {place[0].lower()}") if place else None
    place = _first(bare, (_PEOPLE, *_YOUNGER))
    younger = _YOUNGER.get(place[0].lower()) if place else None
    return _put(bare, *place.span(), younger[_BY_NOUN.index(age)]) if place and younger else None


def _first(text: str, words: Sequence[str]) -> re.Match[str] | None:
    """The first of the words as a whole one; no part of a compound or of an abbreviation."""
    return re.search(rf"(?<![\w-])(?:{'|'.join(words)})(?![\w-])", text, re.IGNORECASE)


def _put(text: str, start: int, end: int, new: str) -> str:
    """`new` in place of a part of the text, with its capital, and the article before it as it then is."""
    new = new.capitalize() if text[start].isupper() else new
    article = "n" if new[0].lower() in "aeiou" else ""
    before = re.sub(r"\b([Aa])n?(\s+)$", rf"\g<1>{article}\g<2>", text[:start])
    return before + new + text[end:]
