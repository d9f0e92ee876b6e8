"""The control arm through the whole experiment: every picture is its parent, redrawn by the autoencoder alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comparing import answers, check_whole
from driftloop.core.errors import DriftloopError
from driftloop.runs import load_runs
from playing import composed, played

ARM = ("generator=phantom_roundtrip", "captioner=stand_in", "truth=none", "dataset.limit=3", "stages=[play]")


@pytest.fixture
def play(tmp_path: Path) -> Any:
    return lambda *words, into="results": played(composed(*ARM, f"results_dir={tmp_path / into}", *words))


def test_every_picture_is_its_parent_redrawn(play: Any) -> None:
    import torch
    from diffusers import AutoencoderTiny
    from diffusers.image_processor import VaeImageProcessor

    from driftloop.core.weights import locate

    run = play("rounds=2", "generator.size=null")
    check_whole(run, 3, 2)
    autoencoder = AutoencoderTiny.from_pretrained(locate("builtin:generator")[0], subfolder="vae").eval()
    processor = VaeImageProcessor()
    told = run.rounds.set_index(["chain", "round"])
    for (chain, number), row in told.drop(index=0, level="round").iterrows():
        parent = told.loc[(chain, number - 1)]
        assert row["parent_sha256"] == parent["image_sha256"]
        with torch.no_grad():
            latents = autoencoder.encode(processor.preprocess(run.image(parent["image"]))).latents
            expected = processor.postprocess(autoencoder.decode(latents).sample, output_type="np")[0]
        assert np.abs(np.asarray(run.image(row["image"]), float) - 255 * expected).max() <= 0.51


@pytest.mark.slow
def test_the_caption_has_no_say_and_a_resumed_run_is_the_same(play: Any) -> None:
    whole = play("rounds=2", into="whole")
    play("rounds=1")
    parts = play("rounds=2", "wave=1", "generator.batch_size=1")
    assert answers(parts) == answers(whole)
    other = play("rounds=2", "captioner=toy", "allow_targets=[doubles]")
    assert other.run_id != whole.run_id
    assert sorted(other.rounds["image_sha256"]) == sorted(whole.rounds["image_sha256"])


def test_seeds_without_pictures_are_told_so(play: Any) -> None:
    with pytest.raises(DriftloopError, match="began with a text"):
        play("dataset=prompts", "dataset.prompts=[a,b]", "rounds=1")


@pytest.mark.slow
def test_the_command_plays_it(run_command: Any, tmp_path: Path) -> None:
    done = run_command(
        "generator=phantom_roundtrip", "rounds=2", "dataset.limit=3", "stages=[play,measure]", "results_dir=results"
    )
    assert done.returncode == 0, done.stderr
    check_whole(load_runs(tmp_path / "results")[0], 3, 2)
