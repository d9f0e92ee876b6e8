"""What is known of an instrument without loading it is told before any picture is made; what is doubtful is marked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import playing
from cards import MODELS
from driftloop.core.config import Option
from driftloop.core.errors import DriftloopError
from driftloop.core.experiment import families
from driftloop.core.weights import ModelError

CNN = "driftloop.classifiers.image_classification.TransformersClassifier"
LABELS = {"female": "female", "male": "male"}


def reader(model: Path | str, labels: dict[str, str] | None = None, **more: Any) -> Option:
    entry = {"model": str(model), "labels": labels or LABELS}
    return Option("reader", {"_target_": CNN, "models": {"gender": entry}, "device": "cpu", **more})


def copied(folder: Path) -> Path:
    made = folder / "model"
    shutil.copytree(MODELS / "gender", made)
    return made


def pickled(folder: Path) -> Path:
    made = copied(folder)
    (made / "model.safetensors").rename(made / "pytorch_model.bin")
    return made


def with_code(folder: Path) -> Path:
    made = copied(folder)
    config = json.loads((made / "config.json").read_text())
    (made / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "code.Model"}}))
    return made


def misfit(labels: dict[str, str]) -> Callable[[Path], Option]:
    return lambda _: reader("builtin:gender", labels)


REFUSED = {
    "misfit": (misfit({"female": "female", "man": "male"}), 'checkpoint has "female", "male"; missing in the map: "male"'),
    "pickle": (lambda folder: reader(pickled(folder)), "pickle checkpoint.*safe_serialization=True"),
    "code": (lambda folder: reader(with_code(folder)), "remote_code: true"),
    "missing": (lambda folder: reader(folder / "nowhere"), "does not exist"),
    "inside": (
        lambda _: Option(
            "matched",
            {
                "_target_": "driftloop.classifiers.matched.Matched",
                "classifier": {"reader": reader("builtin:age").call},
            },
        ),
        'labels of "gender" do not fit "builtin:age"',
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("place", ["classifiers", "concept_classifiers"])
def test_it_is_refused_before_work_starts(case: str, place: str, ask: Any, calls: Any, tmp_path: Path) -> None:
    make, word = REFUSED[case]
    asked = replace(ask(), **{place: [make(tmp_path)]})
    calls()
    with pytest.raises(ModelError, match=word):
        playing.played(asked)
    assert not asked.store().folder.exists()
    assert not {"generate", "describe", "read"} & set(calls())


def test_a_locators_weights_are_looked_at_too(ask: Any, tmp_path: Path) -> None:
    detector = "driftloop.locators.transformers_detector.TransformersDetector"
    call = {"_target_": detector, "model": str(pickled(tmp_path)), "names": {"person": "person"}, "subject": "person"}
    with pytest.raises(ModelError, match="pickle"):
        playing.played(replace(ask(), locator=Option("detector", call)))


def test_an_extra_that_is_not_installed_is_named_before_work_starts(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    asked = ask()
    uniface = Option("uniface", {"_target_": "driftloop.classifiers.uniface.UnifaceFairFace"})
    with pytest.raises(DriftloopError, match=r"driftloop\[uniface\]"):
        playing.played(replace(asked, classifiers=[uniface]))
    assert not asked.store().folder.exists()


def test_where_nothing_is_measured_no_classifier_is_asked_for(ask: Any, tmp_path: Path) -> None:
    run = playing.played(replace(ask("stages=[play]"), classifiers=[reader(pickled(tmp_path))]))
    assert len(run.rounds)


def test_any_attribute_goes_the_same_way(ask: Any) -> None:
    """What the library's weights mean is not looked at: a made-up attribute is read, counted and analysed like gender."""
    entry = {"model": "builtin:gender", "labels": {"female": "lighter", "male": "darker"}}
    option = Option("reader", {"_target_": CNN, "models": {"skin_tone": entry}, "threshold": 0.6, "device": "cpu"})
    run = playing.played(replace(ask("stages=[play,measure,analyse]"), classifiers=[option]))
    assert set(run.readings["attribute"]) == {"skin_tone"}
    assert set(run.readings["label"].dropna()) <= {"lighter", "darker"}
    shares = run.table("drift").query("concept == 'all' and method == 'raw'").groupby("round")["share"].sum()
    assert shares.to_numpy() == pytest.approx(1)
    coverage = run.table("coverage").query("concept == 'all' and category == 'lighter'").set_index("round")
    low = run.readings.query("status == 'low_confidence'").groupby("round").size().reindex(coverage.index, fill_value=0)
    assert (coverage["n_low_confidence"] == low).all()


# A captioner that judges itself ----------------------------------------------------------------------------------------


def judge(model: str) -> Option:
    scorer = {"_target_": "driftloop.captioners.scoring.TransformersScorer", "model": model, "device": "cpu"}
    question = {"ask": "describe the person", "options": {"happiness": "a happy", "sadness": "a sad"}}
    call = {"_target_": "driftloop.classifiers.vlm_judge.VlmJudge", "scorer": scorer, "questions": {"emotion": question}}
    return Option("judge", {**call, "orders": 1})


def captioner(model: str) -> Option:
    call = {"_target_": "driftloop.captioners.vision_language.TransformersCaptioner", "model": model, "device": "cpu"}
    return Option("captioner", {**call, "prompt": "describe the person", "max_new_tokens": 4})


def test_a_judge_of_the_captioners_family_is_marked(ask: Any, capsys: pytest.CaptureFixture[str]) -> None:
    asked = replace(
        ask("dataset.n=2", "rounds=1"),
        captioner=captioner("builtin:captioner_llava"),
        classifiers=[judge("builtin:captioner_llava")],
    )
    run = playing.played(asked)
    assert set(run.readings["attribute"]) == {"emotion"}
    assert run.readings["probability"].between(0.5, 1).all()
    (told,) = run.store.folder.glob("labels/*/classifier.json")
    assert json.loads(told.read_text())["judges_itself"] is True
    assert "judge is of the same family as the captioner" in (run.store.folder / "run.log").read_text()
    assert "judge is of the same family as the captioner" in capsys.readouterr().err
    assert any("same family" in line for line in run.store.provenance()[-1]["instrument_warnings"])


def test_a_judge_of_another_family_is_not(ask: Any) -> None:
    other = replace(ask(), captioner=captioner("builtin:captioner"), classifiers=[judge("builtin:captioner_llava")])
    ((_, _, identity),) = other.instruments()
    assert "judges_itself" not in identity
    assert other.check_instruments() == []


def test_a_family_is_an_architecture_or_else_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert families(judge("builtin:captioner_llava").call) == families(captioner("builtin:captioner_llava").call) == {"llava"}
    assert families(captioner("builtin:captioner").call) == {"blip"}
    assert families(captioner("somebody/served").call) == {"somebody/served"}
    assert families(reader("builtin:gender").call) == set()
    for index, name in enumerate(("a", "b")):  # other weights, the same architecture
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": "qwen2_5_vl", "number": index}))
    assert families(captioner(str(tmp_path / "a")).call) == families(judge(str(tmp_path / "b")).call)
