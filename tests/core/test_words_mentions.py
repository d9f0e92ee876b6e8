"""What captions say of perceived gender and age: a table made by hand, and the built-in world's own grammar."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftloop.core.mentions import FEMALE, MALE, WORD_YEARS, gender_of, mention, readable, years_of
from driftloop.core.words import AGE, AGES_IN_NUMBERS, GENDER, TABLES, ages_in_numbers, found, neutral

GENDERS = ("female", "male")
RAF = ("0-3", "4-19", "20-39", "40-69", "70+")
FAIRFACE = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70+")
PHASE = ("baby", "child", "young", "adult", "senior", "unsure")

# Caption -> the gender it names, "" where silent, "two" where it contradicts itself; then the age group of RAF-DB's.
CAPTIONS = [
    ("a person reading a book", "", ""),
    ("", "", ""),
    ("a woman", "female", ""),
    ("A MAN.", "male", ""),
    ("Two women and a girl", "female", "4-19"),
    ("a man and a woman", "two", ""),
    ("a man's hat", "male", ""),
    ("a man’s hat", "male", ""),
    ("a woman's hand holding a pan", "female", ""),
    ("men's shoes on a shelf", "male", ""),
    ("a snowman, a mannequin and a human hand", "", ""),
    ("a man-made lake", "", ""),
    ("a manhole on the theme of a hero", "", ""),
    ("a person with her book", "female", ""),
    ("she'll read to him", "two", ""),
    ("the person raises his arm", "male", ""),
    ("he's cooking", "male", ""),
    ("a person holding their phone", "", ""),
    ("not a man", "", ""),
    ("this is not a young man", "", ""),
    ("a room without a woman", "", ""),
    ("there is no man, a woman sits there", "female", ""),
    ("neither a man nor a woman", "", ""),
    ("not a man but a woman", "female", ""),
    ("not only a man", "male", ""),
    ("a person without a hat, holding her bag", "female", ""),
    ("a person who isn't a woman", "", ""),
    ("unsure", "", ""),
    ("a person of unknown gender", "", ""),
    ("unsure whether it is a man or a woman. A dog sits beside", "", ""),
    ("it is unclear if the person is a man", "", ""),
    ("a man or a woman in a coat", "", ""),
    ("a person with his/her dog", "", ""),
    ("he or she reads", "", ""),
    ("what appears to be a woman", "female", ""),
    ("a waiter and an actor", "", ""),
    ("an actress and her mother", "female", ""),
    ("a male nurse", "male", ""),
    ("a policewoman", "female", ""),
    ("an elderly woman", "female", "70+"),
    ("an old man in an old house", "male", "70+"),
    ("an old house", "", ""),
    ("a senior discount on little things", "", ""),
    ("an older couple", "", "70+"),
    ("a young woman", "female", "20-39"),
    ("a young girl", "female", "4-19"),
    ("a baby girl", "female", "0-3"),
    ("a female baby", "female", "0-3"),
    ("a toddler", "", "0-3"),
    ("a teenage boy", "male", "4-19"),
    ("kids at school", "", "4-19"),
    ("a middle-aged man", "male", "40-69"),
    ("middle-aged 2 men", "male", "40-69"),
    ("a middle aged lady", "female", "40-69"),
    ("a young adult", "", "20-39"),
    ("an elderly man and a child", "male", "two"),
    ("young people and old people", "", "two"),
    ("a young or middle-aged person", "", ""),
    ("not a child", "", ""),
    ("a girl without an elderly person", "female", "4-19"),
    ("a baby or a toddler", "", ""),
    ("an 8-year-old girl", "female", "4-19"),
    ("an 8 year old", "", "4-19"),
    ("a twenty-one-year-old student", "", "20-39"),
    ("a 20-year-old girl", "female", "20-39"),
    ("a 6-month-old baby", "", "0-3"),
    ("a woman in her thirties", "female", "20-39"),
    ("a man in his late 40s", "male", "40-69"),
    ("a woman, 75 years old, smiling", "female", "70+"),
    ("a man aged 52", "male", "40-69"),
    ("a person between 20 and 30 years old", "", "20-39"),
    ("a thirty-something man", "male", "20-39"),
    ("a 50-year-old house", "", ""),
    ("a photo from the 80s of a car in the twenties style", "", ""),
]  # fmt: skip


def said(text: str, attribute: str, categories: tuple[str, ...]) -> str:
    found = mention(text, attribute, categories)
    return {"silent": "", "contradictory": "two"}.get(found.kind, " or ".join(sorted(found.categories)))


@pytest.mark.parametrize(("text", "gender", "age"), CAPTIONS, ids=[text for text, _, _ in CAPTIONS])
def test_what_a_caption_says(text: str, gender: str, age: str) -> None:
    assert (said(text, "gender", GENDERS), said(text, "age", RAF)) == (gender, age)


@pytest.mark.parametrize(("text", "gender", "age"), CAPTIONS, ids=[text for text, _, _ in CAPTIONS])
def test_a_caption_made_neutral_is_silent(text: str, gender: str, age: str) -> None:
    assert mention(neutral(text, "gender"), "gender", GENDERS).kind == "silent"
    assert mention(neutral(text, "age"), "age", RAF).kind == "silent"


@given(draw=st.data())
def test_the_built_in_english_is_read_as_its_own_grammar_reads_it(draw: Any) -> None:
    from driftloop.phantom.grammar import parse, write
    from driftloop.phantom.world import CATEGORIES

    attributes = {
        name: value
        for name, values in CATEGORIES.items()
        if (value := draw.draw(st.sampled_from([*values, None]) if name in ("gender", "age") else st.sampled_from(values)))
    }
    text = write(attributes, draw.draw(st.integers(0, 2**63 - 1)))
    for attribute, categories in (("gender", GENDERS), ("age", RAF)):
        assert said(text, attribute, categories) == parse(text).get(attribute, ""), text


@pytest.mark.parametrize(
    ("text", "categories", "expected"),
    [("a young man", FAIRFACE, "20-29 or 30-39"), ("a child", FAIRFACE, "3-9"), ("an elderly man", FAIRFACE, "60-69 or 70+"),
     ("a woman in her fifties", FAIRFACE, "50-59"), ("a baby", PHASE, "baby"), ("a teenager", PHASE, "young"),
     ("an elderly woman", PHASE, "senior"), ("a 40-year-old man", PHASE, "adult"),
     ("an elderly man in his seventies", FAIRFACE, "70+")],
)  # fmt: skip
def test_an_age_is_told_in_the_groups_of_the_instrument(text: str, categories: tuple[str, ...], expected: str) -> None:
    assert said(text, "age", categories) == expected


@pytest.mark.parametrize(
    ("category", "years"),
    [("0-3", (0, 4)), ("20–39", (20, 40)), ("70+", (70, 120)), ("more than 70", (70, 120)), ("under 18", (0, 18)),
     ("senior", (65, 120)), ("red", None)],
)  # fmt: skip
def test_years_of_an_age_group(category: str, years: tuple[float, float] | None) -> None:
    assert years_of(category) == years


@given(text=st.text(alphabet="0123456789 -yearsoldinh\n.,'aged", max_size=40))
def test_any_text_is_read(text: str) -> None:
    for attribute, categories in (("gender", GENDERS), ("age", FAIRFACE)):
        assert mention(text, attribute, categories).categories <= set(categories)


@pytest.mark.parametrize("text", ["a person between 30 and 20 years old", "a person in their thirties or twenties"])
def test_spans_may_run_backwards(text: str) -> None:
    assert said(text, "age", RAF) == "20-39"


def test_instruments_write_genders_as_they_like() -> None:
    assert [gender_of(word) for word in ("Female", "woman", "F", "Male", "man", "unsure")] == [
        "female", "female", "female", "male", "male", None,
    ]  # fmt: skip
    assert said("a lady", "gender", ("Female", "Male")) == "Female"


def test_what_captions_cannot_be_held_against() -> None:
    assert readable("gender", ("Female", "Male"))
    assert readable("age", PHASE)
    assert not readable("gender", ("a", "b"))
    assert not readable("age", ("red", "blue"))
    assert not readable("emotion", ("joy", "fear"))
    with pytest.raises(ValueError, match="gender, age; got 'race'"):
        mention("a man", "race", ())


def test_every_word_that_can_be_dropped_names_something() -> None:
    assert set(GENDER) == FEMALE | MALE
    assert set(AGE) - {"little"} == set(WORD_YEARS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("an 8-year-old girl", "a woman"), ("An 8 year old smiling boy.", "A smiling man."),
     ("an 8-year-old reading", "a person reading"),
     ("an older man", "a man"), ("an older house", "an older house"), ("a 50-year-old house", "a 50-year-old house"),
     ("a man, 45 years old, cooking", "a man, cooking"), ("a woman who is about 30 years old", "a woman"),
     ("two 5-year-olds", "two people"),
     ("a woman in her late twenties or early thirties", "a woman"), ("a man aged 20 in a hat", "a man in a hat"),
     ("a boy of two months old", "a man"), ("a thirty-something woman", "a woman"),
     ("a photo from the 80s", "a photo from the 80s")],
)  # fmt: skip
def test_ages_in_numbers_and_comparatives_go(text: str, expected: str) -> None:
    assert neutral(text, "age") == expected


@given(draw=st.data())
def test_the_patterns_that_are_skipped_would_have_found_nothing(draw: Any) -> None:
    words = draw.draw(
        st.lists(st.sampled_from([*" ".join(text for text, _, _ in CAPTIONS).split(), *AGE, *GENDER]), max_size=12)
    )
    text = " ".join(words)
    if not ages_in_numbers(text):
        assert not [pattern for pattern, _ in AGES_IN_NUMBERS if pattern.search(text)]
    for attribute in ("gender", "age"):
        held = {word for word in TABLES[attribute] if re.search(rf"\b{word}\b", text, re.IGNORECASE)}
        assert {word for _, _, word in found(text, attribute)} <= held


def test_contractions_go() -> None:
    assert neutral("she'll read", "gender") == "they'll read"
