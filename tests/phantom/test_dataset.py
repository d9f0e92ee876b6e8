"""Seeds of the built-in world are stable, balanced and stamped."""

from __future__ import annotations

import numpy as np
import pytest

from driftloop.datasets.phantom import PhantomDataset
from driftloop.phantom.render import read_stamp
from driftloop.phantom.world import CATEGORIES, SEED_AGE


@pytest.mark.parametrize("kind", ["activity", "emotion"])
def test_a_longer_list_begins_with_the_shorter(kind: str) -> None:
    short, long = (PhantomDataset(n=n, concept_kind=kind) for n in (10, 25))  # type: ignore[arg-type]
    assert [(s.seed_id, s.labels, s.concept) for s in short.load()] == [
        (s.seed_id, s.labels, s.concept) for s in long.load()[:10]
    ]
    assert short.fingerprint() == long.fingerprint()


def test_everything_that_decides_a_seed_is_in_the_fingerprint() -> None:
    options = [{}, {"root_seed": 1}, {"concept_kind": "emotion"}, {"gender": 0.6}, {"spurious": [{"cue": "hair"}]}]
    assert len({PhantomDataset(**option).fingerprint() for option in options}) == len(options)  # type: ignore[arg-type]


def test_pictures_carry_their_labels() -> None:
    for seed in PhantomDataset(n=12).load():
        assert seed.picture is not None
        found = read_stamp(seed.picture())
        assert found is not None
        assert (found.attributes, found.generated) == (seed.labels, False)
        assert seed.labels["activity"] == seed.concept


def test_composition_is_balanced_unless_stated() -> None:
    labels = [seed.labels for seed in PhantomDataset(n=3000).load()]
    for age, share in zip(CATEGORIES["age"], SEED_AGE, strict=True):
        assert abs(np.mean([label["age"] == age for label in labels]) - share) < 0.04
    assert abs(np.mean([label["gender"] == "female" for label in labels]) - 0.5) < 0.04
    tilted = PhantomDataset(n=60, gender={"cooking": 1.0}).load()
    assert {seed.labels["gender"] for seed in tilted if seed.concept == "cooking"} == {"female"}
