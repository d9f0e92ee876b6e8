"""The closed form agrees with simulated loops of the exact models, and with the scalar form where that holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from driftloop.core.rng import derive
from driftloop.datasets.phantom import PhantomDataset
from driftloop.phantom.exact import ExactCaptioner, ExactClassifier, ExactGenerator
from driftloop.phantom.truth import STATES, ClosedForm, scalar_shares
from driftloop.phantom.world import CATEGORIES, PRIOR_AGE, PRIOR_GENDER

ROUNDS = 3
N = 360


def rows_of(seeds: list[Any]) -> list[dict[str, Any]]:
    return [{"concept": s.concept, **{f"label_{name}": value for name, value in s.labels.items()}} for s in seeds]


def lookup(rows: list[dict[str, Any]], concept: str, attribute: str, category: str) -> list[float]:
    wanted = (concept, attribute, category)
    return [row["share"] for row in rows if (row["concept"], row["attribute"], row["category"]) == wanted]


def simulated(seeds: list[Any], captioner: ExactCaptioner, classifier: ExactClassifier) -> np.ndarray:
    """Labels read (rounds + 1, seeds, attributes); empty where the classifier abstained."""
    images, labels = [seed.picture() for seed in seeds], []
    for number in range(ROUNDS + 1):
        labels.append([[reading.label or "" for reading in row] for row in classifier.read(images)])
        draws = [derive(number, seed.seed_id) for seed in seeds]
        captions = [caption.text for caption in captioner.describe(images, draws)]
        images = [picture.image for picture in ExactGenerator().generate(captions, draws)]
    return np.array(labels)


@pytest.mark.parametrize("kind", ["activity", "emotion"])
def test_closed_form_is_what_the_exact_loop_does(kind: str) -> None:
    planted: dict[str, Any] = {
        "omission": {
            "gender": {"seed": 0.2, "generated": {"female": 0.5, "male": 0.3}},
            "age": 0.4,
            "activity": 0.1,
            "emotion": 0.1,
        },
        "confusion": {"age": np.eye(5) * 0.9 + 0.02, "activity": np.eye(6) * 0.94 + 0.01},
    }
    reading: dict[str, Any] = {
        "confusion": {"gender": [[0.9, 0.1], [0.2, 0.8]]},
        "abstention": {"gender": {"female": 0.3, "male": 0.0}},
    }
    seeds = PhantomDataset(n=N, concept_kind=kind).load()  # type: ignore[arg-type]
    read = simulated(seeds, ExactCaptioner(**planted), ExactClassifier(**reading))
    form = ClosedForm(**planted, classifier_confusion=reading["confusion"], classifier_abstention=reading["abstention"])
    expected = form.shares(rows_of(seeds), ROUNDS)
    concepts = np.array([seed.concept for seed in seeds])
    for concept, members in {"all": np.full(N, True), **{c: concepts == c for c in CATEGORIES[kind]}}.items():
        for column, attribute in enumerate(("gender", "age")):
            labels = read[:, members, column]
            for category in CATEGORIES[attribute]:
                got = [(row == category).sum() / (row != "").sum() for row in labels]
                want = np.array(lookup(expected, concept, attribute, category))
                error = np.sqrt(np.maximum(want * (1 - want), 0.01) / (labels != "").sum(1))
                assert np.all(np.abs(got - want) < 4.5 * error), (concept, category)


def test_shares_sum_to_one_and_cover_every_round_and_concept() -> None:
    seeds = rows_of(PhantomDataset(n=12).load())
    rows = ClosedForm(omission=0.3).shares(seeds, 2)
    assert len(rows) == 3 * (1 + 6) * (2 + 5)
    totals: dict[tuple[int, str, str], float] = {}
    for row in rows:
        key = (row["round"], row["concept"], row["attribute"])
        totals[key] = totals.get(key, 0) + row["share"]
    assert np.allclose(list(totals.values()), 1)


def test_transition_is_row_stochastic() -> None:
    step = ClosedForm(omission={"gender": 0.3, "emotion": 0.2}).transition("generated")
    assert step.shape == (len(STATES), len(STATES))
    assert np.allclose(step.sum(1), 1)


@pytest.mark.parametrize("omission", [0.0, 0.25, 1.0])
def test_scalar_form_holds_while_the_concept_is_kept(omission: float) -> None:
    seeds = rows_of(PhantomDataset(n=120, concept_kind="activity").load())
    rows = ClosedForm(omission={"gender": omission}).shares(seeds, 4)
    for activity, prior in PRIOR_GENDER.items():
        shares = lookup(rows, activity, "gender", "female")
        assert shares == pytest.approx(scalar_shares(shares[0], omission, prior, 4))


def test_full_omission_reaches_the_prior_in_one_round() -> None:
    seeds = rows_of(PhantomDataset(n=70, concept_kind="emotion").load())
    rows = ClosedForm(omission={"age": 1.0}).shares(seeds, 1)
    for emotion, prior in PRIOR_AGE.items():
        assert [lookup(rows, emotion, "age", age)[1] for age in CATEGORIES["age"]] == pytest.approx(prior)


def test_no_seeds_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one seed"):
        ClosedForm().shares([], 1)
