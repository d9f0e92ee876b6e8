"""Control arms: what the generator is shown instead of the caption."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from driftloop.core.records import Chain, Context, Picture, Seed
from driftloop.core.rng import derive
from driftloop.mitigations.first_caption import FirstCaption
from driftloop.mitigations.fixed_prompt import FixedPrompt
from driftloop.mitigations.shuffled_words import ShuffledWords

CAPTIONS = ["a woman reads in the kitchen", "an elderly man dances with a woman"]


def context(number: int, first: str | None = None, round_: int = 3) -> Context:
    seed = Seed(f"s{number}", "d", "activity", ("reading", "dancing")[number % 2])
    return Context(Chain(seed, 0), round_, first, partial(derive, 0, seed.seed_id, 0, round_))


def shown(mitigation: Any, contexts: Sequence[Context], captions: Sequence[str] = CAPTIONS) -> list[str]:
    """The prompts that reach the generator."""
    seen: list[str] = []

    def inner(prompts: Sequence[str], items: Sequence[Context]) -> list[Picture]:
        assert list(items) == list(contexts)
        seen.extend(prompts)
        return []

    mitigation.generate(captions, contexts, inner)
    return seen


def test_the_bare_concept_and_nothing_at_all() -> None:
    contexts = [context(0), context(1)]
    assert shown(FixedPrompt(template="a person, {concept}"), contexts) == ["a person, reading", "a person, dancing"]
    assert shown(FixedPrompt(template=""), contexts) == ["", ""]


@pytest.mark.parametrize("template", ["{gender}", "{0}", "{", "{concept"])
def test_a_template_that_is_none_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"fixed_prompt.template"):
        FixedPrompt(template=template)


def test_without_a_loop_every_round_is_drawn_from_the_first_caption() -> None:
    contexts = [context(0, "the first"), context(1, None)]
    assert shown(FirstCaption(), contexts) == ["the first", CAPTIONS[1]]


def test_shuffled_words_are_the_same_words_and_belong_to_chain_and_round() -> None:
    contexts = [context(0), context(1)]
    prompts = shown(ShuffledWords(), contexts)
    assert [sorted(prompt.split()) for prompt in prompts] == [sorted(caption.split()) for caption in CAPTIONS]
    assert prompts != CAPTIONS
    assert shown(ShuffledWords(), contexts[1:], CAPTIONS[1:]) == prompts[1:]  # whoever shares the batch
    others = {shown(ShuffledWords(), [context(0, round_=number)], CAPTIONS[:1])[0] for number in range(9)}
    assert len(others) > 5
    assert shown(ShuffledWords(), contexts[:1], [""]) == [""]


def test_captions_are_kept_as_they_are(play: Any) -> None:
    """In a run: the arm without a loop has round 1 of the loop itself, and others from then on."""
    loop, alone = play("rounds=3"), play("rounds=3", "mitigation=[first_caption]")
    both = loop.rounds.merge(alone.rounds, on=["chain", "round"])
    same = (both["image_sha256_x"] == both["image_sha256_y"]).groupby(both["round"]).mean()
    assert same.tolist() == [1.0, 1.0, 0.0, 0.0]
    assert (both.loc[both["round"] < 2, "caption_x"] == both.loc[both["round"] < 2, "caption_y"]).all()
