"""Labels read back: what is refused, what is taken in, and what the analysis says of them."""

import json

import numpy as np
import pandas as pd
import pytest

from driftloop.audit.labels import CANNOT_TELL, read_labels, take_in
from driftloop.core.errors import ConfigError
from driftloop.statistics.agreement import krippendorff_alpha


def table_of(audited, annotator="Ada", **errors):
    path = audited.label(annotator, **errors)
    found = pd.read_csv(path, dtype=str, keep_default_na=False)
    path.unlink()
    return found


def write(audited, table, name="people.csv"):
    folder = audited.store.folder / "audit/labels"
    folder.mkdir(exist_ok=True)
    table.to_csv(folder / name, index=False)
    return folder / name


BROKEN = {
    "unknown item": (("item", "ffff"), "label 1: there is no item 'ffff' in the sample of 48"),
    "unknown category": (
        ("label", "femal"),
        "unknown label of gender 'femal'. Did you mean .female.[?] Allowed: female, male",
    ),
    "unknown attribute": (("attribute", "hair"), "unknown attribute 'hair'. .*Allowed: gender, age"),
    "another run": (("run", "other"), "made for sample '.*' of run 'other'; this is sample"),
    "another sample": (("design", "00000000"), "made for sample '00000000'"),
    "nobody": (("annotator", " "), "no annotator"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("change", "told"), BROKEN.values(), ids=BROKEN)
def test_what_is_unknown_is_refused_with_its_place(audited, change, told):
    table = table_of(audited)
    table.loc[0, change[0]] = change[1]
    write(audited, table)
    with pytest.raises(ConfigError, match=f"people.csv, {told}" if "label 1" in told else told):
        audited.analyse()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "item,label\nx,y\n"), ("a.csv", ""), ("a.json", "{"), ("a.json", "[]"), ("a.json", '{"run": 1}'),
        ("a.json", "[" * 5000), ("a.csv", "\xff\xfe"),
        ("a.json", '{"run": "r", "design": "d", "annotator": "a", "labels": [{"item": 1}]}'),
    ],
)  # fmt: skip
def test_what_the_page_did_not_write_is_refused(audited, tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ConfigError, match="no file that the audit page exported"):
        take_in(audited.store, [path])
    assert not (audited.store.folder / "audit/labels").exists()


def test_files_that_cannot_be_read_are_told(audited, tmp_path):
    with pytest.raises(ConfigError, match="cannot read the labels"):
        take_in(audited.store, [tmp_path / "none.csv"])


def test_labels_without_a_sample_are_told(audited):
    table = table_of(audited)
    (audited.store.folder / "audit/design.json").unlink()
    write(audited, table)
    with pytest.raises(ConfigError, match="no sample"):
        audited.analyse()


def test_given_files_are_kept_in_the_run_once(audited, tmp_path):
    path = tmp_path / "Ada's labels.csv"
    table_of(audited).to_csv(path, index=False)
    for _ in range(2):
        audited.analyse(audit_labels=[path])
    [kept] = (audited.store.folder / "audit/labels").iterdir()
    assert kept.read_bytes() == path.read_bytes()
    assert len(read_labels(audited.store)) == 96
    path.unlink()
    audited.analyse()
    assert "audited" in set(audited.run.table("drift")["method"])


def test_json_and_csv_are_the_same(audited):
    table = table_of(audited)
    rows = table[["item", "attribute", "label", "at"]].to_dict("records")
    head = {name: table[name].iloc[0] for name in ("run", "design", "annotator")}
    folder = audited.store.folder / "audit/labels"
    (folder / "a.json").write_text(json.dumps({**head, "labels": rows}))
    first = read_labels(audited.store)
    write(audited, table)
    (folder / "a.json").unlink()
    key = ["item", "attribute"]
    pd.testing.assert_frame_equal(
        first.sort_values(key, ignore_index=True), read_labels(audited.store).sort_values(key, ignore_index=True)
    )


def test_of_two_labels_by_one_annotator_the_later_counts(audited):
    table = table_of(audited)
    write(audited, table.assign(at="2026-01-02T00:00:00Z"), "a.csv")
    write(audited, table.assign(at="2026-01-01T00:00:00Z", label=CANNOT_TELL), "b.csv")
    assert CANNOT_TELL not in set(read_labels(audited.store)["label"])
    write(audited, table.assign(at="2026-01-03T00:00:00Z", label=CANNOT_TELL), "b.csv")
    assert set(read_labels(audited.store)["label"]) == {CANNOT_TELL}


def row(table, **wanted):
    for column, value in wanted.items():
        table = table[table[column] == value]
    assert len(table) == 1, table
    return table.iloc[0]


def test_the_table_audit_says_what_was_labelled_and_how_well(audited):
    for annotator in ("Ada", "Grace"):
        audited.label(annotator, error=0.15, unsure=0.1)
    audited.analyse()
    table, labels = audited.run.table("audit"), read_labels(audited.store)
    gender = labels[labels["attribute"] == "gender"].sort_values(["item", "annotator"])["label"]
    codes = pd.Index(["female", "male", CANNOT_TELL]).get_indexer(gender).reshape(-1, 2)
    alpha = row(table, attribute="gender", quantity="alpha")
    assert alpha["value"] == pytest.approx(krippendorff_alpha(codes, 3))
    assert alpha["low"] < alpha["value"] < alpha["high"]
    ties = row(table, attribute="gender", quantity="ties")["n"]
    assert ties == (codes[:, 0] != codes[:, 1]).sum()
    assert row(table, attribute="gender", quantity="annotators")["n"] == 2
    both = table[(table["attribute"] == "gender") & (table["quantity"] == "cannot_tell")]["n"].sum()
    assert both == ties + ((codes == 2).all(axis=1)).sum()
    confusion = table[(table["quantity"] == "confusion") & (table["attribute"] == "gender")]
    np.testing.assert_allclose(confusion.groupby(["round", "label"])["value"].sum(), 1)
    assert set(confusion["reading"]) == {"female", "male", "not read"}
    assert (confusion["low"] <= confusion["value"]).all()
    assert 0 <= row(table, attribute="gender", quantity="equal_confusion")["p_value"] <= 1


def test_the_audited_drift_is_of_both_rounds(audited):
    audited.label()
    audited.analyse()
    drift = audited.run.table("drift")
    found = drift[(drift["method"] == "audited") & (drift["attribute"] == "gender")]
    assert set(found["round"]) == {0, 2}
    assert {"all", "all_standardised", "cooking"} <= set(found["concept"])
    then = row(found, concept="all", round=2, category="female")
    assert then["n_seeds"] == 24
    assert then["share_low"] < then["share"] < then["share_high"]
    assert then["shift_low"] < then["shift"] < then["shift_high"]
    assert then["shift"] == pytest.approx(then["share"] - row(found, concept="all", round=0, category="female")["share"])
    assert "24 pictures of round 0 and 24 of round 2" in then["note"]
    assert np.isnan(row(found, concept="all", round=0, category="female")["shift_low"])


def test_all_of_a_small_run_labelled_is_its_truth(audited):
    """With every seed labelled the audited share is the share that the pictures show, whatever the instrument reads."""
    audited.audit(audit_n=60)
    audited.label()
    audited.analyse()
    drift, seeds = audited.run.table("drift"), audited.run.seeds
    found = drift[(drift["method"] == "audited") & (drift["concept"] == "all") & (drift["round"] == 0)]
    for attribute in ("gender", "age"):
        shares = found[found["attribute"] == attribute].set_index("category")["share"]
        truth = seeds[f"label_{attribute}"].value_counts(normalize=True).reindex(shares.index, fill_value=0)
        np.testing.assert_allclose(shares, truth, atol=1e-9)


def test_one_round_alone_gives_no_shift(audited):
    table = table_of(audited)
    first = set(audited.sample.loc[audited.sample["round"] == 0, "item"])
    write(audited, table[table["item"].isin(first)])
    audited.analyse()
    drift = audited.run.table("drift")
    found = drift[(drift["method"] == "audited") & (drift["concept"] == "all")]
    assert found["shift_low"].isna().all()
    assert found["note"].str.contains("no label at round 2").all()
    assert found.loc[found["round"] == 0, "share"].notna().all()
    assert "both rounds" in row(audited.run.table("audit"), attribute="gender", quantity="equal_confusion")["note"]


def test_another_extent_is_refused_as_rows(audited):
    audited.label()
    audited.analyse(replicates=1)
    found = audited.run.table("drift").query("method == 'audited'")
    assert len(found)
    assert found["share"].isna().all()
    assert found["note"].str.contains("refused: the labelled sample was drawn from replicates=2").all()


def test_changed_labels_are_analysed_anew(audited):
    path = audited.label()
    audited.analyse()
    before = audited.run.table("audit")
    audited.label(error=0.4)
    assert path.exists()
    audited.analyse()
    assert not before.equals(audited.run.table("audit"))
