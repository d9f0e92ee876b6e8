"""Which estimate is told first: the instrument's own reading, until people have labelled pictures of both rounds."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from driftloop.analysis.audit import AUDIT_COLUMNS
from driftloop.report import tables
from driftloop.report.material import Material, collect
from driftloop.report.sections import answer, audit, drift, instrument, limits
from driftloop.report.sections.answer import answers

LABELLED = "labelled by people: 50 pictures of round 0 and 40 of round 3"


def audited(table: pd.DataFrame, attribute: str, shift: float, at_both: bool = True) -> pd.DataFrame:
    """`table` with what people's labels say: the categories of an attribute by turns up and down by `shift`, ± .05."""
    rows = table[(table["concept"] == "all") & (table["attribute"] == attribute) & table["round"].isin([0, 3])].copy()
    rows = rows[rows["method"] == "raw"]
    sign = rows["category"].map({name: 1 - 2 * (place % 2) for place, name in enumerate(dict.fromkeys(rows["category"]))})
    late = (rows["round"] == 3).to_numpy()
    known = pd.Series(data=at_both, index=rows.index) | ~late
    rows = rows.assign(method="audited", note=LABELLED, n_seeds=50 - 10 * late, n_pairs=20, p_value=float("nan"))
    rows["share"] = (0.5 + sign * shift * late).where(known)
    for end, width in (("low", -0.05), ("high", 0.05)):
        rows[f"share_{end}"] = rows["share"] + width
        rows[f"shift_{end}"] = (sign * shift + width).where(late & known)
    rows["shift"] = (sign * shift * late).where(known)
    return pd.concat([table, rows], ignore_index=True)


def material(a_measured_run: Any) -> Material:
    return collect(a_measured_run.experiment, a_measured_run.store).perceived


def raw_shift(found: Material, category: str) -> float:
    rows = tables.raw(found.drift).query("concept == 'all' and round == 3 and category == @category")
    return float(rows["shift"].iloc[0])


def test_raw_is_told_until_both_rounds_are_labelled(a_measured_run: Any) -> None:
    a_measured_run.edit(
        "analysis/drift", lambda table: audited(table, "gender", 0.2, at_both=False).assign(note="no label at round 3")
    )
    found = material(a_measured_run)
    [gender, _] = answers(found)
    assert f"{100 * raw_shift(found, 'female'):+.1f}".replace("-", "−") in gender.text
    assert "seeds read at both ends" in gender.text
    told = instrument.which_headline(found, "gender", "exact")
    assert told == "Told first is the raw reading: there is an audit, but no estimate from it (no label at round 3)."


@pytest.mark.parametrize(
    ("shift", "told"),
    [
        (
            0.2,
            "a shift of +20.0 points (95 % interval +15.0 to +25.0; people labelled 50 pictures of round 0 and 40 of round 3)",
        ),
        (0.01, "no shift can be told apart from chance (+1.0 points, 95 % interval −4.0 to +6.0; people labelled"),
    ],
)
def test_labels_of_both_rounds_are_told_first_and_the_raw_reading_beside_them(
    a_measured_run: Any, shift: float, told: str
) -> None:
    a_measured_run.edit("analysis/drift", lambda table: audited(table, "gender", shift))
    found = material(a_measured_run)
    gender, age = answers(found)
    assert told in gender.text
    assert f"{100 * raw_shift(found, 'female'):+.1f}".replace("-", "−") in gender.notes[0]
    assert "because people labelled a random sample of pictures of both rounds" in gender.notes[0]
    assert not any(" p = " in note or "p < " in note for note in gender.notes)  # no test was made on labels
    assert "seeds read at both ends" in " ".join([age.text, *age.notes])
    assert "Told first is the audited estimate" in instrument.which_headline(found, "gender", "exact")


def test_of_several_labelled_groups_one_past_its_interval_is_told(a_measured_run: Any) -> None:
    def two_minds(table: pd.DataFrame) -> pd.DataFrame:
        both = audited(table, "age", 0.08)
        wide = (both["method"] == "audited") & (both["category"] == "70+") & (both["round"] == 3)
        return both.assign(shift=both["shift"].mask(wide, 0.3), shift_low=both["shift_low"].mask(wide, -0.1),
                           shift_high=both["shift_high"].mask(wide, 0.7))  # fmt: skip

    a_measured_run.edit("analysis/drift", two_minds)
    age = answers(material(a_measured_run))[1]
    assert "perceived age shifted in 3 rounds: 0-3 moved most" in age.text
    assert "looks larger than it is" in " ".join(age.notes)


def test_labels_of_an_earlier_round_do_not_stand_for_the_last(a_measured_run: Any) -> None:
    a_measured_run.edit("analysis/drift", lambda table: audited(table, "gender", 0.2).assign(
        round=lambda rows: rows["round"].mask((rows["method"] == "audited") & (rows["round"] == 3), 2)))  # fmt: skip
    assert tables.headline(material(a_measured_run), "gender", "exact")[0] == "raw"


def test_the_curve_shows_what_people_say_at_both_rounds(a_measured_run: Any) -> None:
    a_measured_run.edit("analysis/drift", lambda table: audited(table, "gender", 0.2))
    found = material(a_measured_run)
    frame = tables.attribute_curves(found, "gender", ["female"]).query("role == 'audited'")
    assert frame[["round", "value", "low", "high"]].astype(float).to_numpy().tolist() == [
        pytest.approx([0, 0.5, 0.45, 0.55]), pytest.approx([3, 0.7, 0.65, 0.75]),
    ]  # fmt: skip
    gender, age = drift.curves(found)
    assert "Diamonds with bars: as people label the pictures." in gender.caption
    assert "Diamonds" not in age.caption
    [figure] = answer.figure(found)
    assert "audited" in figure.caption
    rows = tables.shift_rows(found).set_index(["group", "label"])
    assert rows.loc[("perceived gender, audited", "female"), "value"] == pytest.approx(0.2)


def test_the_same_shift_by_every_method_is_drawn_once(a_measured_run: Any) -> None:
    a_measured_run.edit("analysis/drift", lambda table: audited(table, "gender", 0.2))
    found = material(a_measured_run)
    rows = instrument.by_method(found, "gender", "exact")
    assert rows["method"].tolist() == ["raw", "adjusted", "em", "audited"]
    assert set(rows["category"]) == {"female"}
    table = found.drift.query("concept == 'all' and category == 'female' and round == 3").set_index("method")["shift"]
    assert rows["shift"].tolist() == table[rows["method"]].tolist()


# The audit -----------------------------------------------------------------------------------------------------------


def audit_rows(p_value: float) -> pd.DataFrame:
    counts: list[tuple[str, Any, float]] = [("pictures", r, 60.0) for r in (0, 3)] + [
        ("labelled", 0, 50.0),
        ("labelled", 3, 40.0),
    ]
    counts += [("cannot_tell", 0, 4.0), ("cannot_tell", 3, 2.0), ("annotators", None, 2.0)]
    rows = [{"quantity": name, "round": r, "value": value, "n": int(value)} for name, r, value in counts]
    rows.append({"quantity": "alpha", "value": 0.91, "low": 0.88, "high": 0.94, "n": 90})
    confused = [("female", "female", 0, 0.98, 30), ("female", "male", 0, 0.02, 30), ("female", "female", 3, 0.67, 20),
                ("female", "male", 3, 0.33, 20), ("male", "male", 0, 1.0, 3), ("male", "female", 0, 0.0, 3)]  # fmt: skip
    for label, reading, round_, value, n in confused:
        limits = {"low": value / 2, "high": 1 - (1 - value) / 2}
        more = {"label": label, "reading": reading, "round": round_, "value": value, "n": n, **limits}
        rows.append({"quantity": "confusion", "classifier": "exact", **more})
    note = "warning: the instrument errs otherwise at the later round" if p_value < 0.05 else "no sign"
    rows.append({"quantity": "equal_confusion", "classifier": "exact", "value": 9.0, "p_value": p_value, "n": 50, "note": note})
    return pd.DataFrame(rows, columns=AUDIT_COLUMNS).assign(concept="all", attribute="gender")


def blocks(section: Any) -> list[Any]:
    return list(section.blocks)


def texts(section: Any) -> str:
    return "\n".join(block.text for block in section.blocks if block.kind in ("text", "heading"))


def test_the_audit_says_how_much_how_sure_and_whether_errors_changed(a_measured_run: Any) -> None:
    a_measured_run.store.write_table("analysis/audit.parquet", audit_rows(0.0004))
    section: Any = audit.section(collect(a_measured_run.experiment, a_measured_run.store))
    told = texts(section)
    assert "50 of 60 pictures drawn at random from round 0 (in 4 they could not tell) and 40 of 60" in told
    assert "Krippendorff's alpha 0.91 (95 % interval 0.88 to 0.94)" in told
    assert "call female, exact reads 98.0 % so at round 0 (95 % interval 49.0 to 99.0; 30 pictures) and 67.0 % so at" in told
    assert "It errs otherwise at the later round (p < 0.001, 50 pictures)" in told
    assert "call male" not in told  # three pictures are too few to tell
    [table] = [block.table for block in blocks(section) if block.kind == "folded"]
    assert [row["people say"] for row in table.rows] == ["female", "female"]
    assert table.rows[1]["read as male"] == "33.0 % (16.5 to 66.5)"


def test_no_sign_of_other_errors_is_no_proof(a_measured_run: Any) -> None:
    a_measured_run.store.write_table("analysis/audit.parquet", audit_rows(0.4))
    section: Any = audit.section(collect(a_measured_run.experiment, a_measured_run.store))
    assert "that does not prove that it errs alike" in texts(section)
    one = audit_rows(0.4).assign(value=lambda rows: rows["value"].mask(rows["quantity"] == "alpha"))
    assert "cannot be told" in audit.agreement(one, 0.95)


def test_without_labels_there_is_no_such_section(a_measured_run: Any) -> None:
    found = collect(a_measured_run.experiment, a_measured_run.store)
    assert audit.section(found) is None
    a_measured_run.drop("analysis/instrument.parquet")
    a_measured_run.edit("analysis/drift", tables.raw)
    assert instrument.section(collect(a_measured_run.experiment, a_measured_run.store)) is None


def test_limits_say_what_raw_is(a_measured_run: Any) -> None:
    [block] = blocks(limits.section(collect(a_measured_run.experiment, a_measured_run.store)))
    assert any(line.startswith("Drift is raw unless it is marked audited, adjusted or em") for line in block.lines)
