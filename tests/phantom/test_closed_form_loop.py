"""The planted loop against its closed form: intervals hold it, the joint test accepts it and refuses its neighbours.

`scripts/validate_statistics --sections loop` is the long form of this; everything here is seeded.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from driftloop.core.rng import derive, generator
from driftloop.core.words import neutral
from driftloop.phantom.grammar import parse, write
from driftloop.phantom.truth import ClosedForm, starts
from driftloop.phantom.world import CATEGORIES
from driftloop.validation.checks import (
    coverage,
    fewest_replicates,
    joint_p_values,
    joint_power,
    pooled_p_value,
)
from driftloop.validation.loop import check_table, joined
from driftloop.validation.loops import Played, bare, images, seeds_of, text
from driftloop.validation.setting import ATTRIBUTES, DROPPED, MISREAD, PLAIN, Setting, compositions, planted

pytestmark = pytest.mark.slow

ROUNDS, REPETITIONS = 5, 200
UNLIKELY = 1e-3


def played(setting: Setting, replicates: int, repetitions: int = REPETITIONS, seeds: int = 96) -> list[Played]:
    return [bare(setting, seeds, replicates, ROUNDS, generator(derive(5, setting.name, i))) for i in range(repetitions)]


def rows(form: ClosedForm, seeds: list[dict[str, str]]) -> np.ndarray:
    """The public shares of "all", (rounds + 1, categories), genders beside ages."""
    found = [row for row in form.shares(seeds, ROUNDS) if row["concept"] == "all"]
    parts = [[row["share"] for row in found if row["attribute"] == name] for name in ATTRIBUTES]
    return np.hstack([np.reshape(part, (ROUNDS + 1, -1)) for part in parts])


@pytest.mark.parametrize("setting", [PLAIN, MISREAD], ids=lambda setting: setting.name)
def test_expectations_of_starts_average_to_the_shares(setting: Setting) -> None:
    seeds = [
        {"concept": seed.concept, **{f"label_{name}": value for name, value in seed.labels.items()}} for seed in seeds_of(24, 3)
    ]
    expected = setting.form().expected(starts(seeds)["all"][None], ROUNDS)
    ours = np.hstack([found[0] / found[0].sum(axis=1, keepdims=True) for found in expected.values()])
    np.testing.assert_allclose(ours, rows(setting.form(), seeds), atol=1e-12)


@pytest.mark.parametrize("replicates", [1, 3])
@pytest.mark.parametrize("setting", [PLAIN, MISREAD], ids=lambda setting: setting.name)
def test_the_estimand_is_what_very_many_seeds_show(setting: Setting, replicates: int) -> None:
    """Bare draws of 60,000 seeds: shares and shifts as the analysis defines them, replicates and abstention included."""
    many = bare(setting, 60_000, replicates, 3, generator(7))
    for column, name in enumerate(ATTRIBUTES):
        truth = planted(setting, 3, replicates)[name]
        onehot = np.stack([many.readings[..., column] == k for k in range(len(CATEGORIES[name]))], axis=-1).sum(axis=1)
        with np.errstate(invalid="ignore"):
            means = onehot / onehot.sum(axis=2, keepdims=True)
        np.testing.assert_allclose(np.nanmean(means, axis=0), truth.share[0], atol=0.01)
        np.testing.assert_allclose(np.nanmean(means - means[:, :1], axis=0), truth.shift[0], atol=0.01)


@pytest.mark.parametrize("replicates", [1, 6])
@pytest.mark.parametrize("setting", [PLAIN, MISREAD], ids=lambda setting: setting.name)
def test_intervals_hold_the_planted_share_and_shift(setting: Setting, replicates: int) -> None:
    """Per group, round and category, no coverage is below .95 by more than chance among so many explains."""
    repetitions = played(setting, replicates)
    checked = 2 * sum(len(compositions()) * (ROUNDS + 1) * len(CATEGORIES[name]) for name in ATTRIBUTES)
    least = stats.binom.ppf(UNLIKELY / checked, REPETITIONS, 0.95) / REPETITIONS
    for name in ATTRIBUTES:
        found = coverage(setting, repetitions, name)
        assert found.share.mean(axis=0).min() >= least
        assert found.shift.mean(axis=0).min() >= least
        assert found.share.mean() >= 0.95


def test_intervals_do_not_hold_what_was_not_planted() -> None:
    """Misread pictures against the shares of a faultless instrument: the check above can fail."""
    repetitions = played(MISREAD, 6, 60)
    assert coverage(MISREAD, repetitions, "age").share.mean(axis=0)[0].min() > 0.85
    assert coverage(PLAIN, repetitions, "age").share.mean(axis=0)[0].min() < 0.5


@pytest.mark.parametrize("attribute", ATTRIBUTES)
@pytest.mark.parametrize(("setting", "replicates"), [(PLAIN, 8), (MISREAD, 12)], ids=["plain", "misread"])
def test_the_joint_test_accepts_the_planted_omission_and_refuses_a_tenth_off(
    setting: Setting, replicates: int, attribute: str
) -> None:
    repetitions = played(setting, replicates)
    falsely = (joint_p_values(setting, repetitions, attribute, setting.omission) <= 0.05).sum()
    assert falsely <= stats.binom.ppf(1 - UNLIKELY, REPETITIONS, 0.05)
    for omission in (setting.omission - 0.1, setting.omission + 0.1):
        rejected = (joint_p_values(setting, repetitions, attribute, omission) <= 0.05).mean()
        power = joint_power(setting, attribute, omission, 96, replicates, ROUNDS)
        assert rejected >= 0.9
        assert rejected == pytest.approx(power, abs=4 * np.sqrt(power * (1 - power) / REPETITIONS) + 0.005)


def test_power_where_it_is_middling_is_the_share_of_rejections() -> None:
    repetitions = played(PLAIN, 2)
    rejected = (joint_p_values(PLAIN, repetitions, "gender", 0.4) <= 0.05).mean()
    power = joint_power(PLAIN, "gender", 0.4, 96, 2, ROUNDS)
    assert 0.3 < power < 0.7
    assert rejected == pytest.approx(power, abs=4 * np.sqrt(power * (1 - power) / REPETITIONS))


def test_the_fewest_replicates_are_just_enough() -> None:
    fewest = fewest_replicates(PLAIN, "gender", 0.4, 96, ROUNDS)
    assert joint_power(PLAIN, "gender", 0.4, 96, fewest, ROUNDS) >= 0.9
    assert joint_power(PLAIN, "gender", 0.4, 96, fewest - 1, ROUNDS) < 0.9


def test_where_concepts_pull_apart_bare_shares_hide_a_wrong_omission() -> None:
    """Why the joint test looks at kept labels: concepts pull gender both ways, and the errors cancel."""
    repetitions = played(PLAIN, 6, 100)
    bare_shares = (joint_p_values(PLAIN, repetitions, "gender", 0.2, kept=False) <= 0.05).mean()
    kept_labels = (joint_p_values(PLAIN, repetitions, "gender", 0.2) <= 0.05).mean()
    assert bare_shares < 0.3
    assert kept_labels > 0.9


def test_dropping_words_silences_exactly_one_attribute_in_every_phrase() -> None:
    """All (gender, age) the grammar can say, in 40 phrasings each, with emotion and activity around them."""
    for gender, age, seed in product((None, *CATEGORIES["gender"]), (None, *CATEGORIES["age"]), range(40)):
        told = {"gender": gender, "age": age, "emotion": "sadness", "activity": "dancing"}
        named = {name: value for name, value in told.items() if value is not None}
        for attribute in ("gender", "age"):
            left = parse(neutral(write(named, seed), attribute))
            assert left == {name: value for name, value in named.items() if name != attribute}, write(named, seed)


@pytest.mark.parametrize("setting", [PLAIN, DROPPED], ids=lambda setting: setting.name)
def test_the_loop_through_text_follows_the_closed_form(setting: Setting) -> None:
    """Omission of the captioner and omission by dropped words: one closed form for both."""
    [found] = text([setting], seeds_of(500, 11), 1, 3, 13)
    for attribute in ATTRIBUTES:
        assert pooled_p_value(setting, [found], attribute) > UNLIKELY
        assert pooled_p_value(setting, [found], attribute, kept=True) > UNLIKELY
        assert joint_p_values(setting, [found], attribute, setting.omission + 0.15)[0] < UNLIKELY


@pytest.mark.parametrize("setting", [PLAIN, DROPPED], ids=lambda setting: setting.name)
def test_skipping_the_drawing_changes_nobody(setting: Setting, tmp_path: Path) -> None:
    """Play with rendered images and a run folder reads the same people, chain by chain, as the loop through text."""
    [found] = text([setting], seeds_of(6, 17), 2, 2, 17)
    whole, drift = images(setting, 6, 2, 2, 17, tmp_path)
    np.testing.assert_array_equal(found.starts, whole.starts)
    np.testing.assert_array_equal(found.readings, whole.readings)
    check_table(setting, whole, drift)


@pytest.mark.slow
@pytest.mark.parametrize("setting", [MISREAD, DROPPED], ids=lambda setting: setting.name)
def test_the_whole_run_with_images_holds_what_was_planted(setting: Setting, tmp_path: Path) -> None:
    """Six runs of 96 chains and five rounds: play, measure, analyse; the six together are one joint test of 576 seeds."""
    repetitions = []
    for number in range(6):
        whole, drift = images(setting, 96, 1, ROUNDS, derive(19, number), tmp_path / str(number))
        check_table(setting, whole, drift)
        repetitions.append(whole)
    for attribute in ATTRIBUTES:
        found = coverage(setting, repetitions, attribute)
        assert found.share.mean() > 0.9
        assert found.shift.mean() > 0.9
        together = list(joined(repetitions, 6))
        assert joint_p_values(setting, together, attribute, setting.omission)[0] > UNLIKELY
        assert joint_p_values(setting, together, attribute, setting.omission + 0.15)[0] < 0.05
