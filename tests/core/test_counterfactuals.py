"""Versions of a caption: what they name, what they keep, and that they read as English."""

from __future__ import annotations

import re

import pytest

from driftloop.core.counterfactuals import AS_IS, REMOVED, VALUES, Versions, most_versions, probe_folder, versions
from driftloop.core.mentions import mention
from driftloop.core.words import GENDER
from driftloop.phantom.grammar import parse, write
from driftloop.phantom.world import CATEGORIES

AGES = dict(zip(VALUES["age"], CATEGORIES["age"], strict=True))
"""The built-in world calls its age groups by these words."""


@pytest.mark.parametrize(
    ("caption", "gender", "wanted"),
    [
        ("a sad elderly woman reading a book", "male", "a sad elderly man reading a book"),
        ("a sad elderly woman reading a book", "removed", "a sad elderly person reading a book"),
        ("An actress on stage", "male", "A male actor on stage"),
        ("a girl with her dog", "male", "a boy with his dog"),
        ("a girl with her dog", "removed", "a child with their dog"),
        ("he holds it near him, it is his", "female", "she holds it near her, it is hers"),
        ("he reads his book, it is her own", "female", "she reads her book, it is her own"),
        ("a dog beside her; she sits", "male", "a dog beside him; he sits"),
        ("a woman beside her son", "male", "a man beside his son"),
        ("the policeman's hat, a man-made one", "female", "the policewoman's hat, a man-made one"),
        ("a person cooking", "female", "a woman cooking"),
        ("an adult and a person", "male", "a male adult and a person"),
        ("Two people dancing", "female", "Two women dancing"),
        ("a teenage child", "female", "a teenage female child"),
        ("a male tennis player", "removed", "a tennis player"),
    ],
)
def test_perceived_gender(caption: str, gender: str, wanted: str) -> None:
    assert versions(caption, "gender").texts[gender] == wanted


@pytest.mark.parametrize(
    ("caption", "age", "wanted"),
    [
        ("a girl looking happy", "elderly", "an elderly woman looking happy"),
        ("a girl looking happy", "removed", "a woman looking happy"),
        ("a girl looking happy", "baby", "a baby girl looking happy"),
        ("an old man", "child", "a boy"),
        ("an old man", "young", "a young man"),
        ("a person cooking", "elderly", "an elderly person cooking"),
        ("A baby", "child", "A child"),
        ("two children", "elderly", "two elderly people"),
        ("a 30-year-old woman in an old house", "elderly", "an elderly woman in an old house"),
        ("a female child", "baby", "a female baby"),
        ("a male tennis player", "young", "a young male tennis player"),
    ],
)
def test_perceived_age(caption: str, age: str, wanted: str) -> None:
    assert versions(caption, "age").texts[age] == wanted


@pytest.mark.parametrize(
    ("caption", "attribute", "says", "made"),
    [
        ("a woman", "gender", "names", {AS_IS, REMOVED, "female", "male"}),
        ("a person", "gender", "silent", {AS_IS, "female", "male"}),
        ("a man or a woman", "gender", "unclear", {AS_IS}),
        ("not a woman", "gender", "unclear", {AS_IS}),
        ("a boy and a girl", "gender", "contradictory", {AS_IS, REMOVED, "female", "male"}),
        ("a chef cooks", "gender", "silent", {AS_IS}),
        ("a chef cooks", "age", "silent", {AS_IS}),
        ("she reads", "age", "silent", {AS_IS}),
        ("a mother", "age", "silent", {AS_IS}),
        ("an old house", "age", "silent", {AS_IS}),
        ("a young or old man", "age", "unclear", {AS_IS}),
        ("", "age", "silent", {AS_IS}),
    ],
)
def test_which_versions_there_are(caption: str, attribute: str, says: str, made: set[str]) -> None:
    found = versions(caption, attribute)
    assert (found.says, set(found.texts)) == (says, made)
    assert found.texts[AS_IS] == caption


def test_where_the_value_is_said_already_the_version_is_the_caption_itself() -> None:
    assert versions("a senior  lady", "age").texts["elderly"] == "a senior  lady"
    assert versions("a teenage child", "age").texts["child"] == "a teenage child"
    assert versions("a man in his thirties", "age").texts["young"] == "a man in his thirties"
    assert versions("her book, her hat", "gender").texts["female"] == "her book, her hat"


def everything_the_world_writes() -> list[str]:
    named = [
        {name: value for name, value in (("gender", gender), ("age", age)) if value}
        for gender in (None, *CATEGORIES["gender"])
        for age in (None, *CATEGORIES["age"])
    ]
    return sorted({write(one | {"activity": "cooking"}, seed) for one in named for seed in range(40)})


@pytest.mark.parametrize("attribute", ["gender", "age"])
def test_captions_of_the_built_in_world_keep_all_but_what_is_probed(attribute: str) -> None:
    """The grammar's own parser is the oracle."""
    captions = everything_the_world_writes()
    assert len(captions) > 150
    for caption in captions:
        told, found = parse(caption), versions(caption, attribute)
        assert set(found.texts) == {AS_IS, *VALUES[attribute]} | ({REMOVED} if attribute in told else set())
        for version, text in found.texts.items():
            value = AGES.get(version, version)
            wanted = told if version == AS_IS else {**told, attribute: value}
            if version == REMOVED:
                wanted = {name: said for name, said in told.items() if name != attribute}
            assert parse(text) == wanted, (caption, version, text)
        if attribute in told:
            own = next(version for version in VALUES[attribute] if AGES.get(version, version) == told[attribute])
            assert found.texts[own] == caption


def check_keeps(caption: str, attribute: str, found: Versions) -> None:
    other = {"gender": "age", "age": "gender"}[attribute]
    for version, text in found.texts.items():
        said = mention(text, attribute, VALUES[attribute])
        if version in VALUES[attribute]:
            assert version in said.categories or text == caption, (caption, text)
        if version == REMOVED:
            assert said.kind == "silent", (caption, text)
        assert mention(text, other, VALUES[other]).kind == mention(caption, other, VALUES[other]).kind, (caption, text)
        assert not re.search(r"\ba [aeio]|\ban [^aeio]", text), text


NOT_BACK = ("actress", "waitress", "guy", "guys", "his", "him")
NO_NEUTRAL = ("son", "daughter", "sons", "daughters", "schoolgirl", "schoolboy")


@pytest.mark.parametrize("word", sorted(GENDER))
def test_every_word_of_gender_has_a_counterpart_which_comes_back(word: str) -> None:
    caption = f"the {word} in the room"
    found = versions(caption, "gender")
    assert found.says == "names"
    if word not in NO_NEUTRAL:
        check_keeps(caption, "gender", found)
    [other] = {found.texts["female"], found.texts["male"]} - {caption}
    assert caption in versions(other, "gender").texts.values() or word in NOT_BACK


@pytest.mark.parametrize(
    "caption",
    ["a woman holds a small umbrella", "an old lady with her dog", "a portrait of a young man in a suit",
     "a boy plays football", "two men and a dog", "a smiling person on a bench", "the little girl eats an apple",
     "a couple of teenagers in an alley", "a 45 year old man, his arms crossed", "a father", "a toddler cries"],
)  # fmt: skip
@pytest.mark.parametrize("attribute", ["gender", "age"])
def test_versions_of_ordinary_captions_name_the_value_and_keep_the_other_attribute(caption: str, attribute: str) -> None:
    check_keeps(caption, attribute, versions(caption, attribute))


def test_an_attribute_without_words_has_no_versions() -> None:
    with pytest.raises(ValueError, match="captions have versions of gender, age; got 'hair'"):
        versions("a man", "hair")


def test_no_caption_has_more_versions_than_foreseen() -> None:
    texts = {text for name in VALUES for text in versions("a 90-year-old actress", name).texts.values()}
    assert len(texts) <= most_versions(("gender", "age", "activity")) == 1 + 3 + 6


def test_attributes_and_their_order_name_the_folder() -> None:
    folders = {probe_folder(names) for names in (["gender", "age"], ["gender"], ["age"])}
    assert len(folders) == 3
    assert all(re.fullmatch(r"probes/[0-9a-f]{8}", name) for name in folders)
