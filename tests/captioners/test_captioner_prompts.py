"""A prompt with named fields: what it becomes, what it may name, and that its words, not its place, identify a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from driftloop.captioners.vision_language import TransformersCaptioner
from driftloop.cli import CONF
from driftloop.core.errors import ConfigError
from driftloop.core.prompts import FIELDS, named, rendered, told
from driftloop.phantom.world import CATEGORIES
from playing import composed

LLAVA = ("captioner=transformers", "captioner.model=builtin:captioner_llava", "truth=none")


def test_fields_are_filled_in() -> None:
    text = rendered(
        "{concept_kind}: {concepts}. At most {words} words.", concepts=["fear", "joy"], concept_kind="emotion", words=9
    )
    assert text == "emotion: fear, joy. At most 9 words."


@given(st.text(alphabet=st.characters(blacklist_characters="{}")))
def test_a_text_without_fields_stays_as_it_is(text: str) -> None:
    assert rendered(text) == text.strip()
    assert rendered("{{" + text + "}}") == "{" + text + "}"


def test_nothing_is_no_prompt() -> None:
    assert rendered(None, words=3) is None


@pytest.mark.parametrize(
    "template",
    [
        "{word}",
        "{words!r}",
        "{words:>9}",
        "{}",
        "{0}",
        "{concepts[0]}",
        "{words.__class__}",
        "{self}",
        "{ words }",
        "{words",
        "}",
    ],
)
def test_what_no_prompt_may_hold(template: str) -> None:
    with pytest.raises(ValueError, match=r"\{concepts\}, \{concept_kind\}, \{words\}|brace|'}'|expected"):
        rendered(template, words=5, concepts=["a"], concept_kind="b")


def test_an_unknown_field_is_told_with_the_allowed_and_the_nearest() -> None:
    with pytest.raises(ValueError, match=r'\{concept\}.*\{concepts\}, \{concept_kind\}, \{words\}.*Did you mean "concepts"'):
        rendered("say one of {concept}")


@pytest.mark.parametrize("field", FIELDS)
def test_a_known_field_that_nobody_gave(field: str) -> None:
    with pytest.raises(ValueError, match=f"`{field}` is not given"):
        rendered(f"about {{{field}}}")


def test_a_file_comes_before_the_text(tmp_path: Path) -> None:
    (tmp_path / "ask.txt").write_text("\nWer ist das, in {words} Wörtern?\n", encoding="utf-8")
    assert rendered("something else", str(tmp_path / "ask.txt"), words=5) == "Wer ist das, in 5 Wörtern?"
    for wrong in ("nowhere.txt", "."):
        with pytest.raises(ValueError, match="prompt_file"):
            rendered(None, str(tmp_path / wrong))
    (tmp_path / "latin.txt").write_bytes(b"\xe9\xff")
    with pytest.raises(ValueError, match="UTF-8"):
        rendered(None, str(tmp_path / "latin.txt"))


def test_calls_inside_calls_are_told_too() -> None:
    call = {
        "_target_": "x",
        "captions_file": "t.csv",
        "otherwise": {"_target_": "y", "prompt": "{concepts}?", "concepts": None},
    }
    assert told(call, lambda name: [name.upper()])["otherwise"]["concepts"] == ["CONCEPTS"]


def test_what_is_given_by_hand_stays() -> None:
    call = {"prompt": "{concepts} {concept_kind}", "concepts": ["mine"]}
    assert told(call, lambda name: name.upper()) == {**call, "concept_kind": "CONCEPT_KIND"}


def test_only_what_a_prompt_names_is_asked_of_the_data_set() -> None:
    def never(name: str) -> Any:
        raise AssertionError(name)

    assert told({"prompt": "describe in {words} words", "words": 5}, never) == {
        "prompt": "describe in {words} words",
        "words": 5,
    }


# In an experiment ----------------------------------------------------------------------------------------------------


def test_concepts_are_those_of_the_data_set_before_limits() -> None:
    words = (*LLAVA, "captioner.prompt='is this {concept_kind} one of {concepts}?'", "dataset.n=64")
    asked, less = composed(*words), composed(*words, "dataset.limit=2")
    expected = f"is this activity one of {', '.join(sorted(CATEGORIES['activity']))}?"
    assert asked.captioner.build().prompt == less.captioner.build().prompt == expected
    assert asked.run_id == less.run_id
    emotions = composed(*words, "dataset.concept_kind=emotion")
    assert emotions.captioner.build().prompt != expected


def test_the_words_of_a_prompt_identify_a_run_and_not_where_they_lie(tmp_path: Path) -> None:
    asked = "describe the person in {words} words"
    for name in ("one.txt", "two.txt"):
        (tmp_path / name).write_text(f"{asked}\n")
    text = composed(*LLAVA, f"captioner.prompt='{asked}'", "captioner.words=7")
    files = [
        composed(*LLAVA, f"captioner.prompt_file={tmp_path / name}", "captioner.words=7") for name in ("one.txt", "two.txt")
    ]
    assert {one.run_id for one in files} == {text.run_id}
    assert files[0].identity["captioner"]["prompt"] == asked
    (tmp_path / "one.txt").write_text(f"{asked}!")
    changed = composed(*LLAVA, f"captioner.prompt_file={tmp_path / 'one.txt'}", "captioner.words=7")
    longer = composed(*LLAVA, f"captioner.prompt='{asked}'", "captioner.words=8")
    assert len({text.run_id, changed.run_id, longer.run_id}) == 3


def test_a_wrong_prompt_is_a_sentence_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\{concepts\}, \{concept_kind\}, \{words\}"):
        composed(*LLAVA, "captioner.prompt='one of {classes}'")
    with pytest.raises(ConfigError, match="prompt_file"):
        composed(*LLAVA, f"captioner.prompt_file={tmp_path / 'nowhere.txt'}")
    with pytest.raises(ConfigError, match="`words` is not given"):
        composed(*LLAVA, "captioner.prompt='in {words} words'").captioner.build()


# The options that ship -----------------------------------------------------------------------------------------------

YAMLS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((Path(CONF) / "captioner").glob("*.yaml"))}
MODELS = {name: call for name, call in YAMLS.items() if "/" in str(call.get("model"))}


def test_the_known_models_are_there() -> None:
    assert len(MODELS) >= 15
    assert MODELS["llava_next"]["model"] == "llava-hf/llava-v1.6-mistral-7b-hf"
    assert (MODELS["llava_next"]["dtype"], MODELS["llava_next"]["max_new_tokens"]) == ("float16", 77)


@pytest.mark.parametrize("name", MODELS)
def test_each_says_its_licence_and_builds_with_a_whole_prompt(name: str) -> None:
    text = (Path(CONF) / f"captioner/{name}.yaml").read_text()
    assert text.splitlines()[1].startswith("# Licence: ")
    assert "remote_code" not in text
    call = {key: value for key, value in MODELS[name].items() if key != "_target_"}
    built = TransformersCaptioner(**call)
    assert "{" not in (built.prompt or "")
    assert named(call["prompt"] or "") <= {"words"}
