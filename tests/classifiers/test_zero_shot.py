"""Image–text encoders as classifiers: the library called directly, and a meaning that is known."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from driftloop.classifiers.zero_shot import ZeroShot
from driftloop.core.rng import derive
from driftloop.phantom.render import render
from driftloop.phantom.world import CATEGORIES, Person, nuisances

SINGLE: Any = {
    "gender": {"female": ["a photo of a woman"], "male": "a photo of a man"},
    "age": {"old": ["old"], "young": ["young"]},
}
SEVERAL = {"age": {"old": ["old man", "old woman"], "young": ["young man", "a young woman"], "child": ["child"]}}


def similarities(folder: Path, image: Image.Image, texts: list[str], **how: Any) -> Any:
    """The library's own logits, picture × texts."""
    import torch
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    pixels = AutoImageProcessor.from_pretrained(folder)(images=image, return_tensors="pt")
    with torch.no_grad():
        return model(**pixels, **tokenizer(texts, return_tensors="pt", **how)).logits_per_image[0].double()


def test_clip_is_the_softmax_of_the_librarys_logits(clip: Path, pictures: list[Image.Image]) -> None:
    readings = ZeroShot(model=str(clip), prompts=SINGLE, device="cpu").read(pictures)
    for image, (gender, age) in zip(pictures, readings, strict=True):
        for reading, texts in ((gender, ["a photo of a woman", "a photo of a man"]), (age, ["old", "young"])):
            expected = similarities(clip, image, texts, padding=True).softmax(0).tolist()
            assert reading.probabilities == pytest.approx(expected, abs=1e-5)
            assert reading.label == list(SINGLE[reading.attribute])[int(np.argmax(expected))]
    assert len({row[0].label for row in readings} | {row[1].label for row in readings}) > 2


def test_siglip_is_the_sigmoids_divided_by_their_sum(siglip: Path, pictures: list[Image.Image]) -> None:
    prompts = {"age": {"old": "old person", "young": "a young person", "child": "child"}}
    readings = ZeroShot(model=str(siglip), prompts=prompts, device="cpu").read(pictures)
    for image, (age,) in zip(pictures, readings, strict=True):
        logits = similarities(siglip, image, [*prompts["age"].values()], padding="max_length", max_length=16)
        expected = (logits.sigmoid() / logits.sigmoid().sum()).tolist()
        assert age.probabilities == pytest.approx(expected, abs=1e-5)


def test_several_prompts_are_averaged_as_normalised_embeddings(clip: Path, pictures: list[Image.Image]) -> None:
    import torch
    from transformers import CLIPModel, CLIPProcessor

    model, processor = CLIPModel.from_pretrained(clip).eval(), CLIPProcessor.from_pretrained(clip)
    readings = ZeroShot(model=str(clip), prompts=SEVERAL, device="cpu").read(pictures)
    for image, (age,) in zip(pictures, readings, strict=True):
        logits = []
        for prompts in SEVERAL["age"].values():
            with torch.no_grad():
                found = model(**processor(images=image, text=prompts, padding=True, return_tensors="pt"))
                mean = found.text_embeds.mean(0)
                logits.append(float(model.logit_scale.exp() * found.image_embeds[0] @ mean / mean.norm()))
        assert age.probabilities == pytest.approx((np.exp(logits) / np.exp(logits).sum()).tolist(), abs=1e-5)


def test_neighbours_change_no_bit(clip: Path, pictures: list[Image.Image]) -> None:
    instrument = ZeroShot(model=str(clip), prompts=SEVERAL, device="cpu")
    whole = instrument.read(pictures)
    assert instrument.read(pictures[::-1]) == whole[::-1]
    assert [row for image in pictures for row in instrument.read([image])] == whole
    assert instrument.read([]) == []
    instrument.unload()
    assert instrument.read(pictures) == whole
    assert instrument.provenance()["network"] == "CLIPModel"


def test_the_wording_decides_and_the_threshold_abstains(clip: Path, pictures: list[Image.Image]) -> None:
    first = ZeroShot(model=str(clip), prompts=SEVERAL, device="cpu").read(pictures)
    second = ZeroShot(model=str(clip), prompts={"age": {**SEVERAL["age"], "old": ["a person"]}}, device="cpu").read(pictures)
    assert first != second
    strict = ZeroShot(model=str(clip), prompts=SEVERAL, device="cpu", threshold=0.999).read(pictures)
    assert {row[0].status for row in strict} >= {"low_confidence"}


@pytest.mark.parametrize(
    ("prompts", "word"),
    [({}, "at least one"), ({"age": {"old": "old"}}, "two categories"), ({"age": {"old": [], "young": ["y"]}}, "one prompt")],
)
def test_prompts_that_cannot_choose_are_refused(prompts: Any, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        ZeroShot(model="a/b", prompts=prompts)


def test_it_reads_perceived_gender_in_the_built_in_world() -> None:
    """Chance is one half; 40 fresh renders, every attribute value in turn."""
    combinations = list(product(*CATEGORIES.values()))
    prompts = {"gender": {"female": ["a woman", "a girl"], "male": ["a man", "a boy"]}}
    told = [dict(zip(CATEGORIES, combinations[97 * number % len(combinations)], strict=True)) for number in range(40)]
    people = [Person(**one, **nuisances(one, derive(2028, number), ())) for number, one in enumerate(told)]
    shown = [render(person, derive(2028, number)).image for number, person in enumerate(people)]
    readings = ZeroShot(model="builtin:encoder", prompts=prompts, device="cpu").read(shown)
    right = [row[0].label == person.gender for row, person in zip(readings, people, strict=True)]
    assert np.mean(right) > 0.9
