"""What is drawn for people to label, and the page that shows it."""

import re

import numpy as np
import pandas as pd
import pytest

from driftloop.audit.page import data, page
from driftloop.audit.sample import draw_sample, make_design
from driftloop.core.errors import ConfigError
from driftloop.core.packs import pixel_hash


def test_both_rounds_are_drawn_with_known_chances(original):
    sample = original.sample
    assert set(sample["round"]) == {0, 2}
    assert (sample.groupby("round").size() == 24).all()
    assert not sample.duplicated(["seed_id", "round"]).any()
    assert sample["probability"].between(0, 1, inclusive="right").all()
    rows = original.run.rounds.merge(sample, on=["chain", "round"], suffixes=("", "_drawn"))
    assert (rows["image"] == rows["image_drawn"]).all()
    assert set(sample.loc[sample["round"] == 2, "replicate"]) == {0, 1}
    weights = 1 / sample["probability"]
    assert weights.groupby(sample["round"]).sum().between(40, 80).all()  # of 60 seeds


def test_strata_are_concept_and_reading(original):
    sample, read = original.sample, original.run.readings
    found = read[(read["chain"] == sample["chain"].iloc[0]) & (read["round"] == sample["round"].iloc[0])]
    said = found.set_index("attribute").apply(lambda row: row["label"] if row["status"] == "ok" else row["status"], axis=1)
    assert sample["reading"].iloc[0] == f"age {said['age']}, gender {said['gender']}"
    alike = sample.groupby(["round", "concept", "reading"], observed=True)["probability"].nunique()
    assert (alike == 1).all()


def test_the_sample_follows_from_the_root_seed(audited):
    design = audited.store.read_json("audit/design.json")
    again = draw_sample(audited.store, make_design(audited.experiment, audited.store))
    pd.testing.assert_frame_equal(again, audited.sample)
    other = draw_sample(audited.store, design | {"root_seed": 1})
    assert set(other["seed_id"]) != set(again["seed_id"])


def test_the_page_shows_the_pictures_and_says_nothing_else_of_them(original):
    text = (original.store.folder / "audit/index.html").read_text()
    sample = original.sample
    for row in sample.to_dict("records"):
        shown = original.run.image(row["image"])
        with (original.store.folder / f"audit/images/{row['item']}.png").open("rb") as handle:
            from PIL import Image

            assert pixel_hash(Image.open(handle).convert("RGB")) == pixel_hash(shown)
        assert row["item"] in text
        assert row["seed_id"] not in text
        assert row["image"].split("/")[-1] not in text
    assert not re.search(r"round|reading\b|cooking|football|abstain", text.split('id="data">')[1].split("</script>")[0])
    order = data(original.store.read_json("audit/design.json"), sample)["items"]
    rounds = sample.set_index("item").loc[order, "round"].to_numpy()
    assert 10 < np.abs(np.diff(rounds)).astype(bool).sum() < 38  # mixed


def test_asking_again_changes_nothing(audited):
    before = {path: path.read_bytes() for path in (audited.store.folder / "audit").rglob("*") if path.is_file()}
    audited.audit()
    assert before == {path: path.read_bytes() for path in (audited.store.folder / "audit").rglob("*") if path.is_file()}


def test_another_number_draws_another_sample_until_there_are_labels(audited):
    audited.audit(audit_n=30)
    assert len(audited.sample) == 60
    assert {path.stem for path in (audited.store.folder / "audit/images").glob("*.png")} == set(audited.sample["item"])
    audited.label()
    audited.audit(audit_n=30)
    with pytest.raises(ConfigError, match="has labels and is kept; another n"):
        audited.audit(audit_n=24)
    with pytest.raises(ConfigError, match="another round, extent"):
        audited.audit(audit_n=30, rounds=1)


def test_without_a_classifier_or_a_second_round_there_is_nothing_to_ask(audited):
    with pytest.raises(ConfigError, match="choose one"):
        audited.audit(classifiers=[])
    with pytest.raises(ConfigError, match=r"pictures of two rounds; .* has them at \[0\]"):
        audited.audit(rounds=0)


HOSTILE = "</script><img src=x onerror=alert(1)>&\"'"


def test_everything_from_data_is_escaped(original):
    design = original.store.read_json("audit/design.json")
    text = page(design | {"run": HOSTILE, "attributes": {HOSTILE: [HOSTILE, "b"]}}, original.sample)
    assert "<img src=x" not in text
    assert text.count("</script>") == 2


def test_more_answers_than_keys_are_refused(original):
    design = original.store.read_json("audit/design.json")
    with pytest.raises(ConfigError, match="keys for 16 answers; age has 40"):
        page(design | {"attributes": {"age": [str(number) for number in range(40)]}}, original.sample)
