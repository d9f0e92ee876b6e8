"""What worked in an invocation is in its provenance, as the process that had it loaded told; nothing is loaded to tell it."""

from __future__ import annotations

from importlib.metadata import distributions
from typing import Any

import pytest

import doubles
from driftloop.core.errors import Interrupted
from driftloop.core.watch import Watch
from driftloop.run import EXTRAS, surroundings
from driftloop.runs import Run
from playing import composed, played

REAL = ("experiment=phantom", "dataset.limit=3", "rounds=1", "concept_classifier=none", "stages=[play,measure]")


def models(run: Run) -> dict[str, Any]:
    """What the last invocation says of its models."""
    return dict(run.store.provenance()[-1]["models"])


def test_real_models_tell_what_was_loaded_and_a_finished_run_loads_none(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import DiffusionPipeline
    from transformers import AutoModelForImageClassification, AutoModelForImageTextToText

    asked = composed(*REAL, f"results_dir={tmp_path_factory.mktemp('told')}")
    told = models(played(asked))
    (instrument,) = (role for role in told if role.startswith("classifier/"))
    assert set(told) == {"generator", "captioner", instrument}
    assert told["generator"]["vae_dtype"] == "float32"
    assert told["generator"]["text_limits"] == {"tokenizer": 32}
    assert told["generator"]["pipeline"] == "StableDiffusionPipeline"
    assert told["captioner"]["network"] == "BlipForConditionalGeneration"
    for entry in told.values():
        assert entry["versions"]["torch"]
        assert "error" not in entry

    for kind in (DiffusionPipeline, AutoModelForImageTextToText, AutoModelForImageClassification):
        monkeypatch.setattr(kind, "from_pretrained", pytest.fail)
    assert models(played(asked)) == {}


@pytest.fixture
def telling(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy classifier says what it loaded, in words that JSON does not know."""

    def provenance(self: Any) -> dict[str, Any]:
        doubles.happened("told", "classifier")
        return {"network": "toy", "sides": (1, 2), "set": {1}}

    monkeypatch.setattr(doubles.ToyClassifier, "provenance", provenance, raising=False)


@pytest.mark.usefixtures("telling")
def test_a_model_tells_once_and_only_where_it_worked(play: Any, calls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("classifier.toy.batch_size=4",)
    assert models(play("stages=[play]", *words)) == {}
    assert models(play(*words)) == {"classifier/toy": {"network": "toy", "sides": [1, 2], "set": "{1}"}}
    assert calls()["told"] == 1
    assert models(play(*words)) == {}
    monkeypatch.setattr("driftloop.locators.whole_image.WholeImage.locate", lambda _, images: [[] for _ in images])
    assert models(play("rounds=3", *words)) == {}  # nobody was found in the new pictures: nothing to read


@pytest.mark.usefixtures("telling")
def test_a_model_that_cannot_tell_costs_no_results(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubles.ToyClassifier, "provenance", lambda _: {"share": 1 / 0})
    run = play()
    assert models(run) == {"classifier/toy": {"error": "ZeroDivisionError: division by zero"}}
    assert len(run.readings) == 2 * len(run.rounds)


@pytest.mark.usefixtures("telling")
def test_an_interrupted_invocation_tells_too(play: Any, ask: Any) -> None:
    class Asked(Watch):
        def advance(self, count: int = 1) -> None:
            self.stopping = bool(self.models)

    with pytest.raises(Interrupted):
        play("classifier.toy.batch_size=4", watch=Asked())
    assert models(Run(ask("classifier.toy.batch_size=4").store().folder))["classifier/toy"]["network"] == "toy"


def test_versions_are_of_what_can_change_a_result_and_of_extras_that_are_here() -> None:
    told = surroundings()["versions"]
    assert {"torch", "transformers", "tokenizers", "accelerate", "safetensors", "huggingface_hub", "python"} <= set(told)
    installed = {found.name.lower().replace("-", "_"): found.version for found in distributions()}
    for extra in EXTRAS:
        assert told.get(extra) == installed.get(extra)
        assert (extra in told) == (extra in installed)
    assert told["tokenizers"] == installed["tokenizers"]


@pytest.mark.slow
def test_workers_tell_too(tmp_path_factory: pytest.TempPathFactory) -> None:
    into = tmp_path_factory.mktemp("workers")
    told = models(played(composed(*REAL, "stages=[play]", "engine.processes=2", f"results_dir={into}")))
    assert set(told) == {"generator", "captioner"}
    assert told["generator"]["vae_dtype"] == "float32"
