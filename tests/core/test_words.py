"""Words of gender and age leave a caption, nothing else changes, and they leave exactly as often as asked."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftloop.core.records import Caption, Chain, Context, Seed
from driftloop.core.rng import derive
from driftloop.core.words import neutral
from driftloop.mitigations.drop_words import DropWords


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a photo of a woman", "a photo of a person"), ("An elderly woman reads", "An elderly person reads"),
     ("Woman with a dog", "Person with a dog"), ("a male nurse", "a nurse"), ("a female artist", "an artist"),
     ("an actress on stage", "an actor on stage"), ("two young women", "two young people"),
     ("a woman and her husband", "a person and their spouse"), ("A lady.", "A person."), ("a boy, a girl", "a child, a child"),
     ("a man's hat", "a person's hat"), ("he raises his arm", "they raises their arm")],
)  # fmt: skip
def test_gender_words_go(text: str, expected: str) -> None:
    assert neutral(text, "gender") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a photo of an elderly man", "a photo of a man"), ("an old man in an old house", "a man in an old house"),
     ("A young woman", "A woman"), ("a young boy", "a man"), ("a little girl with a little dog", "a woman with a little dog"),
     ("a middle-aged man", "a man"), ("a baby girl", "a woman"), ("a teenager", "a person"), ("two kids", "two people"),
     ("a young adult woman", "a woman"), ("an elderly, smiling man", "a smiling man"), ("an elderly actor", "an actor"),
     ("a young artist", "a young artist")],
)  # fmt: skip
def test_age_words_go_and_gender_stays(text: str, expected: str) -> None:
    assert neutral(text, "age") == expected


@pytest.mark.parametrize(
    "text", ["a red square on a table", "a snowman and a mannequin", "a manhole", "an old house", "a human hand",
             "the old town at night", "a mandolin", "a man-made lake", "a shed",
             "A person reading a book.", "an umbrella and a hat", "a hero", "the theme", "a kidney bean", "a senior discount"],
)  # fmt: skip
@pytest.mark.parametrize("attribute", ["gender", "age"])
def test_other_captions_do_not_change(text: str, attribute: str) -> None:
    assert neutral(text, attribute) == text


LEFT = {
    "gender": r"woman|man|women|men|lady|girl|boy|female|male|she|he|her|his",
    "age": r"baby|toddler|child|teenager|girl|boy|elderly|middle-aged|teenage|young|old|senior",
}


@pytest.mark.parametrize("attribute", ["gender", "age"])
@given(draw=st.data())
def test_nothing_is_left_of_an_attribute_in_the_built_in_english(attribute: str, draw: Any) -> None:
    """Every caption of the built-in world, and dropping twice is dropping once."""
    from driftloop.phantom.grammar import parse, write
    from driftloop.phantom.world import CATEGORIES

    attributes = {name: draw.draw(st.sampled_from(list(values))) for name, values in CATEGORIES.items()}
    text = write(attributes, draw.draw(st.integers(0, 2**63 - 1)))
    silent = neutral(text, attribute)
    assert re.search(rf"\b({LEFT[attribute]})\b", silent, re.IGNORECASE) is None
    assert neutral(silent, attribute) == silent
    kept = {name: value for name, value in parse(text).items() if name != attribute}
    assert parse(silent) == kept


def contexts(number: int, rounds: int = 1) -> list[Context]:
    chains = [Chain(Seed(f"s{n}", "d", "k", "c"), 0) for n in range(number)]
    return [
        Context(chain, round_, None, partial(derive, 0, chain.seed.seed_id, round_))
        for chain in chains
        for round_ in range(rounds)
    ]


def dropped(mitigation: DropWords, items: list[Context]) -> list[str]:
    said = mitigation.describe([None] * len(items), items, lambda _, some: [Caption("an elderly woman")] * len(some))  # type: ignore[list-item]
    return [caption.text for caption in said]


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_words_are_dropped_as_often_as_asked_and_attributes_independently(probability: float) -> None:
    n = 4_000
    texts = dropped(DropWords(probability=probability), contexts(n))
    no_gender = [("person" in text) for text in texts]
    no_age = [("elderly" not in text) for text in texts]
    both = [a and b for a, b in zip(no_gender, no_age, strict=True)]
    for seen, expected in ((no_gender, probability), (no_age, probability), (both, probability**2)):
        error = 4.5 * (expected * (1 - expected) / n) ** 0.5  # one false alarm in 10^5
        assert abs(sum(seen) / n - expected) < error


@pytest.mark.parametrize(("probability", "expected"), [(0, "an elderly woman"), (1, "a person")])
def test_never_and_always(probability: int, expected: str) -> None:
    assert set(dropped(DropWords(probability=probability), contexts(500))) == {expected}


def test_a_probability_a_round_and_the_last_one_holds() -> None:
    items = contexts(1, rounds=5)
    assert dropped(DropWords(probability=[0, 1, 0, 1]), items) == [
        "an elderly woman", "a person", "an elderly woman", "a person", "a person",
    ]  # fmt: skip


def test_one_attribute_alone() -> None:
    assert dropped(DropWords(probability=1, attributes=["age"]), contexts(1)) == ["a woman"]
    assert dropped(DropWords(probability=1, attributes=["gender"]), contexts(1)) == ["an elderly person"]


def test_a_draw_belongs_to_the_item_and_not_to_the_batch() -> None:
    mitigation, items = DropWords(probability=0.5), contexts(200)
    whole = dropped(mitigation, items)
    assert [dropped(mitigation, [item])[0] for item in items] == whole
    assert dropped(mitigation, items[::-1]) == whole[::-1]


@pytest.mark.parametrize(
    ("options", "words"),
    [({"probability": 1.5}, "between 0 and 1, got 1.5"), ({"probability": []}, "between 0 and 1"),
     ({"probability": [0.5, -1]}, "between 0 and 1"),
     ({"probability": 0.5, "attributes": ["race"]}, "may be gender, age; got race")],
)  # fmt: skip
def test_wrong_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DropWords(**options)
