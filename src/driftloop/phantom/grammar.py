"""The small English of the built-in world: writes captions from attributes and parses them back, exactly.

Any attribute may be silent. "a woman" tells the gender and not the age, "a child" the age and not the gender. The words
are ordinary ones, so a wrapper that swaps or drops gender or age words ("woman" -> "person", no "elderly") leaves
captions that still parse. Unknown words are skipped; what contradicts itself counts as silent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from driftloop.core.rng import derive, generator
from driftloop.phantom.world import CATEGORIES

PERSONS: dict[tuple[str | None, str | None], tuple[str, ...]] = {
    (None, None): ("person",),
    ("female", None): ("woman", "female person", "lady"),
    ("male", None): ("man", "male person"),
    (None, "0-3"): ("baby", "toddler", "baby child"),
    ("female", "0-3"): ("baby girl", "female baby", "toddler girl"),
    ("male", "0-3"): ("baby boy", "male baby", "toddler boy"),
    (None, "4-19"): ("child", "teenager", "teenage child"),
    ("female", "4-19"): ("girl", "teenage girl", "female child"),
    ("male", "4-19"): ("boy", "teenage boy", "male child"),
    (None, "20-39"): ("young person", "young adult"),
    ("female", "20-39"): ("young woman", "young lady", "young female person"),
    ("male", "20-39"): ("young man", "young male person"),
    (None, "40-69"): ("middle-aged person", "middle-aged adult"),
    ("female", "40-69"): ("middle-aged woman", "middle-aged lady", "middle-aged female person"),
    ("male", "40-69"): ("middle-aged man", "middle-aged male person"),
    (None, "70+"): ("elderly person", "old person", "senior person"),
    ("female", "70+"): ("elderly woman", "old woman", "senior lady", "elderly female person"),
    ("male", "70+"): ("elderly man", "old man", "senior man", "elderly male person"),
}
"""(gender, age), None where silent -> words for the person; the first is the plain one."""

EMOTIONS: dict[str, tuple[str, ...]] = {
    "surprise": ("surprised", "astonished"),
    "fear": ("scared", "frightened"),
    "disgust": ("disgusted", "revolted"),
    "happiness": ("happy", "cheerful"),
    "sadness": ("sad", "crying"),
    "anger": ("angry", "furious"),
    "neutral": ("calm", "neutral"),
}

ACTIVITIES: dict[str, tuple[str, ...]] = {
    "reading": ("reading a book", "reading"),
    "drinking": ("drinking coffee", "drinking a mug of coffee"),
    "cooking": ("cooking an egg", "cooking with a pan"),
    "football": ("playing football", "holding a football"),
    "repairing": ("holding a hammer", "repairing with a hammer"),
    "dancing": ("dancing", "dancing with raised arms"),
}

_MEANINGS: dict[str, dict[str, frozenset[str]]] = {
    "gender": {
        "female": frozenset({"woman", "girl", "female", "lady"}),
        "male": frozenset({"man", "boy", "male", "gentleman"}),
    },
    "age": {
        "0-3": frozenset({"baby", "toddler", "infant"}),
        "4-19": frozenset({"child", "kid", "girl", "boy", "teenager", "teenage"}),
        "20-39": frozenset({"young"}),
        "40-69": frozenset({"middle-aged"}),
        "70+": frozenset({"elderly", "old", "senior"}),
    },
    "emotion": {emotion: frozenset(words) for emotion, words in EMOTIONS.items()},
    "activity": {
        "reading": frozenset({"reading", "book"}),
        "drinking": frozenset({"drinking", "coffee", "mug"}),
        "cooking": frozenset({"cooking", "egg", "pan"}),
        "football": frozenset({"football"}),
        "repairing": frozenset({"repairing", "hammer"}),
        "dancing": frozenset({"dancing"}),
    },
}

WORDS: dict[str, frozenset[str]] = {name: frozenset().union(*m.values()) for name, m in _MEANINGS.items()}
"""Attribute -> every word that tells it. "girl" and "boy" tell gender and age."""

_TEMPLATES = (
    "{described} {activity}",
    "a photo of {described} {activity}",
    "a picture of {person} {activity} {looking}",
    "{person} {looking} {activity}",
    "a portrait of {described} {activity}",
)


def plain(attributes: Mapping[str, str]) -> str:
    """The shortest, fixed phrasing: "a sad elderly woman reading a book"."""
    person = PERSONS[attributes.get("gender"), attributes.get("age")][0]
    activity = ACTIVITIES[attributes["activity"]][0] if "activity" in attributes else ""
    emotion = EMOTIONS[attributes["emotion"]][0] if "emotion" in attributes else ""
    return _filled(_TEMPLATES[0], person, emotion, activity)


def write(attributes: Mapping[str, str], seed: int) -> str:
    """A caption that tells exactly these attributes, in a phrasing drawn from `seed`."""
    _check(attributes)
    draw = generator(derive(seed, "write"))
    person, emotion, activity, template = (int(number) for number in draw.integers(1 << 30, size=4))
    persons = PERSONS[attributes.get("gender"), attributes.get("age")]
    emotions = EMOTIONS.get(attributes.get("emotion", ""), ("",))
    activities = ACTIVITIES.get(attributes.get("activity", ""), ("",))
    return _filled(
        _TEMPLATES[template % len(_TEMPLATES)],
        persons[person % len(persons)],
        emotions[emotion % len(emotions)],
        activities[activity % len(activities)],
    )


def parse(text: str) -> dict[str, str]:
    """The attributes that `text` tells, in the order of CATEGORIES; silent or contradictory ones are absent."""
    words = set(_words(text))
    found = {name: _categories(words, meanings) for name, meanings in _MEANINGS.items()}
    found["age"] = _settled_age(found["age"])
    return {name: categories.pop() for name, categories in found.items() if len(categories) == 1}


def vocabulary() -> list[str]:
    """Every word the grammar can write or read, sorted."""
    texts = [*_TEMPLATES, *(t for table in (PERSONS, EMOTIONS, ACTIVITIES) for row in table.values() for t in row)]
    words = {word for text in texts for word in _words(re.sub(r"{\w+}", " ", text))}
    return sorted(words.union(*WORDS.values(), {"a", "an", "looking"}))


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+(?:-[a-z]+)*", text.lower().replace("middle aged", "middle-aged"))


def _categories(words: set[str], meanings: Mapping[str, frozenset[str]]) -> set[str]:
    return {category for category, told in meanings.items() if told & words}


def _settled_age(ages: set[str]) -> set[str]:
    """A baby girl is a baby, a young girl a child: the younger noun decides over "girl", "child" and "young"."""
    if "0-3" in ages:
        return ages - {"4-19", "20-39"}
    return ages - {"20-39"} if "4-19" in ages else ages


def _filled(template: str, person: str, emotion: str, activity: str) -> str:
    filled = template.format(
        person=_with_article(person),
        described=_with_article(f"{emotion} {person}".strip()),
        looking=f"looking {emotion}" if emotion else "",
        activity=activity,
    )
    return " ".join(filled.split())


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _check(attributes: Mapping[str, str]) -> None:
    for name, value in attributes.items():
        allowed = CATEGORIES.get(name)
        if allowed is None or value not in allowed:
            raise ValueError(f"cannot write {name}={value!r}; allowed: {allowed or tuple(CATEGORIES)}")
