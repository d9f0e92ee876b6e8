"""The grammar writes what it parses and parses what it wrote."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftloop.phantom.grammar import PERSONS, WORDS, parse, plain, vocabulary, write
from driftloop.phantom.world import CATEGORIES

ALL = [
    {name: value for name, value in zip(CATEGORIES, values, strict=True) if value}
    for values in product(*[(None, *v) for v in CATEGORIES.values()])
]


def test_plain_captions_parse_back_for_every_combination() -> None:
    assert [parse(plain(attributes)) for attributes in ALL] == ALL


@given(st.sampled_from(ALL), st.integers(0, 2**63 - 1))
def test_every_phrasing_parses_back(attributes: dict[str, str], seed: int) -> None:
    assert parse(write(attributes, seed)) == attributes


@given(
    st.sampled_from(ALL), st.integers(0, 99), st.lists(st.sampled_from(["two", "outside", "Xylophone", "42", "%"]), max_size=3)
)
def test_unknown_words_are_skipped(attributes: dict[str, str], seed: int, noise: list[str]) -> None:
    assert parse(f"{' '.join(noise)} {write(attributes, seed).upper()}, {' '.join(noise)}.") == attributes


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a man and a woman", {}),
        ("a happy sad girl", {"gender": "female", "age": "4-19"}),
        ("an elderly baby", {}),
        ("a young girl", {"gender": "female", "age": "4-19"}),
        ("a baby girl", {"gender": "female", "age": "0-3"}),
        ("a middle aged man", {"gender": "male", "age": "40-69"}),
        ("a womanly manner of bookish dancers", {}),
        ("", {}),
    ],
)
def test_contradictions_are_silent_and_words_are_whole(text: str, told: dict[str, str]) -> None:
    assert parse(text) == told


@pytest.mark.parametrize(
    ("text", "swaps"),
    [
        ("a sad elderly woman reading a book", {"woman": "person"}),
        ("a boy dancing", {"boy": "child"}),
        ("a baby girl drinking coffee", {"girl": "child"}),
        ("a young lady", {"lady": "adult"}),
    ],
)
def test_neutralised_gender_keeps_the_rest(text: str, swaps: dict[str, str]) -> None:
    neutral = " ".join(swaps.get(word, word) for word in text.split())
    expected = {name: value for name, value in parse(text).items() if name != "gender"}
    assert parse(neutral) == expected


def test_neutralised_age_keeps_the_rest() -> None:
    assert parse("an angry woman cooking an egg") == {"gender": "female", "emotion": "anger", "activity": "cooking"}


def test_words_tell_their_attribute_and_are_known() -> None:
    assert set().union(*WORDS.values()) <= set(vocabulary())
    for (gender, age), phrases in PERSONS.items():
        told = {name: value for name, value in (("gender", gender), ("age", age)) if value}
        assert all(parse(phrase) == told for phrase in phrases)


def test_unknown_category_is_refused_with_the_allowed_ones() -> None:
    with pytest.raises(ValueError, match="surprise"):
        write({"emotion": "joy"}, 0)
