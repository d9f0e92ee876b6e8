"""Sections that are there when their table is: what they say agrees with it, and what a metric writes is what they read."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from driftloop.analysis.audit import AUDIT_COLUMNS
from driftloop.analysis.years import YEARS_COLUMNS
from driftloop.metrics.correction import INSTRUMENT_COLUMNS
from driftloop.metrics.decomposition import DECOMPOSITION_COLUMNS
from driftloop.metrics.dynamics import DYNAMICS_COLUMNS
from driftloop.metrics.meaning import DECAY_COLUMNS, SEMANTIC_COLUMNS
from driftloop.metrics.mention import MENTION_COLUMNS
from driftloop.metrics.probes import PROBE_COLUMNS
from driftloop.metrics.published import PUBLISHED_COLUMNS, WAY_COLUMNS
from driftloop.metrics.trend import TREND_COLUMNS
from driftloop.phantom.fit import COLUMNS as FIT_COLUMNS
from driftloop.report import words
from driftloop.report.material import Material, collect
from driftloop.report.page import SECTIONS
from driftloop.report.sections import (
    audit,
    captions,
    closed_form,
    dynamics,
    instrument,
    meaning,
    probes,
    published,
    trend,
    years,
)

EVIL = "<script>alert('x')</script>"
WRITTEN = {
    "instrument": (instrument.COLUMNS, INSTRUMENT_COLUMNS), "audit": (audit.COLUMNS, AUDIT_COLUMNS),
    "decomposition": (captions.DECOMPOSITION, DECOMPOSITION_COLUMNS), "mention": (captions.MENTION, MENTION_COLUMNS),
    "probes": (probes.COLUMNS, PROBE_COLUMNS), "dynamics": (dynamics.COLUMNS, DYNAMICS_COLUMNS),
    "semantic": (meaning.COLUMNS, SEMANTIC_COLUMNS), "semantic_decay": (meaning.DECAY, DECAY_COLUMNS),
    "trend": (trend.COLUMNS, TREND_COLUMNS), "years": (years.COLUMNS, YEARS_COLUMNS),
    "closed_form": (closed_form.COLUMNS, FIT_COLUMNS), "published": (published.COLUMNS, PUBLISHED_COLUMNS),
    "published_way": (published.WAY_COLUMNS, WAY_COLUMNS),
}  # fmt: skip


@pytest.mark.parametrize("table", WRITTEN)
def test_a_metric_writes_every_column_that_a_section_reads(table: str) -> None:
    read, written = WRITTEN[table]
    assert set(read) - {"baseline_round"} <= set(written)


def test_without_its_table_a_section_is_not_there(a_measured_run: Any) -> None:
    a_measured_run.drop("analysis/*")
    bare = collect(a_measured_run.experiment, a_measured_run.store)
    there = [section.name for each in SECTIONS if (section := each.section(bare)) is not None]
    assert there == ["answer", "coverage", "drift", "concepts", "distances", "chains", "card", "limits"]


def found(a_measured_run: Any) -> Material:
    return collect(a_measured_run.experiment, a_measured_run.store)


def blocks(section: Any) -> list[Any]:
    return list(section.blocks)


def texts(section: Any) -> list[str]:
    return [block.text for block in blocks(section) if block.kind == "text"]


def number(text: str) -> float:
    return float(text.replace("−", "-"))


# Who drifts ----------------------------------------------------------------------------------------------------------


def test_the_parts_told_are_those_of_the_table_and_add_up_to_the_shift(a_measured_run: Any) -> None:
    told = texts(captions.section(found(a_measured_run)))[0]
    shift = number(re.findall(r"Of the shift of (\S+) points in perceived women from round 0 to round 3", told)[0])
    parts = [number(part) for part in re.findall(r"(?:, | and )([+−\d.]+) \((?:95 % interval )?\S+ to \S+\)", told)]
    table = a_measured_run.store.read_table("analysis/decomposition.parquet")
    mine = table.query("concept == 'all' and category == 'female' and round == 3 and span == 'cumulative' and share > 0")
    assert parts == pytest.approx(100 * mine["value"].to_numpy(), abs=0.051)
    assert sum(parts) == pytest.approx(shift, abs=0.05 * (len(parts) + 1))
    assert shift == pytest.approx(100 * mine["shift"].iloc[0], abs=0.051)
    assert "60 seeds read in every round" in told or "72 seeds read in every round" in told


def test_contradicting_captions_are_not_identified_without_an_audit(a_measured_run: Any) -> None:
    assert not any("captioner's or the instrument's doing" in line for line in texts(captions.section(found(a_measured_run))))

    def misread(table: pd.DataFrame) -> pd.DataFrame:
        wrong = table["part"] == "contradicts"
        note = "misreport by the captioner or an instrument error: not identified without an audit"
        return table.assign(share=table["share"].mask(wrong, 0.1), value=table["value"].mask(wrong, 0.04),
                            note=table["note"].mask(wrong, note))  # fmt: skip

    a_measured_run.edit("analysis/decomposition", misread)
    told = texts(captions.section(found(a_measured_run)))
    assert "through the 10.0 % that named something else than was read" in told[0]
    assert "Whether the +4.0 points through contradicting captions are the captioner's or the instrument's" in told[1]


def test_parts_of_opposite_sign_stand_on_either_side_of_nothing(a_measured_run: Any) -> None:
    figure = next(block for block in blocks(captions.section(found(a_measured_run))) if getattr(block, "name", "") == "parts")
    [axes] = figure.make(figure.layouts[0]).axes
    table = a_measured_run.store.read_table("analysis/decomposition.parquet")
    mine = table.query("concept == 'all' and round == 3 and span == 'cumulative'")
    bars = sorted(bar.get_width() for bar in axes.patches)
    shown = mine[mine["category"] != "male"]
    assert bars == pytest.approx(sorted(shown["value"]))


def test_a_mitigation_that_changes_words_is_warned_of(a_measured_run: Any) -> None:
    assert captions.OTHER_WORDS not in texts(captions.section(found(a_measured_run)))
    a_measured_run.edit_json("manifest.json", lambda body: body["names"].update(mitigation="fixed_prompt"))
    assert captions.OTHER_WORDS in texts(captions.section(found(a_measured_run)))


# The instrument ------------------------------------------------------------------------------------------------------


def test_what_speaks_against_a_correction_is_said_in_plain_words(a_measured_run: Any) -> None:
    rows: list[tuple[Any, ...]] = [
        ("over_identification", "", r, 90.0, 1e-9, "warning: no composition of the labels gives these readings") for r in (1, 2)
    ]
    rows += [("em_minus_adjusted", "female", 3, -0.151, None, "warning: the two corrections disagree"),
             ("pooling", "label_age", 0, 9.0, 0.004, "warning: errs differently by label_age")]  # fmt: skip
    names = ["quantity", "label", "round", "value", "p_value", "note"]
    more = pd.DataFrame(rows, columns=names).assign(concept="all", attribute="gender", classifier="exact")
    a_measured_run.edit("analysis/instrument", lambda table: pd.concat([table, more], ignore_index=True))
    section: Any = instrument.section(found(a_measured_run))
    warned = [block.text for block in blocks(section) if block.kind == "text" and block.tone == "warning"]
    assert warned == [
        "At round 1 and 2 no mix of people could give these readings if the instrument erred as on the seeds (p < 0.001): it "
        "errs otherwise on generated pictures. Do not trust the corrections.",
        "The two corrections disagree by up to 15.1 points: at most one of them is right.",
        "It errs differently by labelled age (p = 0.004): one table of errors for all is too simple.",
    ]


def test_a_correction_that_was_refused_is_told_with_its_reason(a_measured_run: Any) -> None:
    def refused(table: pd.DataFrame) -> pd.DataFrame:
        out = table["method"] != "raw"
        return table.assign(shift=table["shift"].mask(out), note=table["note"].mask(out, f"refused: too {EVIL}"))

    a_measured_run.edit("analysis/drift", refused)
    assert f"No correction for its errors is made: too {EVIL}." in texts(instrument.section(found(a_measured_run)))


def test_an_instrument_without_an_error_may_still_err(a_measured_run: Any) -> None:
    """The exact classifier never errs, and the bootstrap of a table without errors has no width: Wilson's interval has."""
    line = next(text for text in texts(instrument.section(found(a_measured_run))) if "On the seeds' own pictures" in text)
    assert "100.0 % of those" in line
    assert "100.0 to 100.0" not in line


# Trend and years -----------------------------------------------------------------------------------------------------


def test_the_slope_told_is_that_of_the_table(a_measured_run: Any) -> None:
    table = a_measured_run.store.read_table("analysis/trend.parquet").query("concept == 'all'").set_index("category")
    told = texts(trend.section(found(a_measured_run)))
    assert f"{words.points(table.loc['female', 'slope'])} points a round" in told[0]
    assert f"{words.p_text(table.loc['female', 'p_value'])}, " in told[0]
    steepest = table.drop(index=["female", "male"])["slope"].abs().idxmax()
    assert f"perceived age {steepest}" in told[1]


def year_rows(low: float) -> pd.DataFrame:
    rows = [
        {"round": r, "mean": mean, "shift": mean - 31.0, "n_seeds": 60, "n_pairs": 58} for r, mean in ((0, 31.0), (3, 28.6))
    ]
    table = pd.DataFrame(rows, columns=[*YEARS_COLUMNS]).assign(
        concept="all", attribute="age", classifier="exact", baseline_round=0
    )
    return table.assign(mean_low=table["mean"] - 2, mean_high=table["mean"] + 2, shift_low=low, shift_high=0.4, p_value=0.02,
                        p_adjusted=0.03)  # fmt: skip


@pytest.mark.parametrize(
    ("low", "told"), [(-4.0, "no shift can be told apart from chance (−2.4 years"), (0.1, "a shift of −2.4 years")]
)
def test_years_are_told_in_years(a_measured_run: Any, low: float, told: str) -> None:
    a_measured_run.store.write_table("analysis/years.parquet", year_rows(low))
    section: Any = years.section(found(a_measured_run))
    [line] = texts(section)
    assert line.startswith("The mean perceived age went from 31.0 to 28.6 years from round 0 to round 3:")
    assert told in line
    assert "58 seeds read at both ends; exploratory: p = 0.020, p = 0.030 after Benjamini–Hochberg" in line


# Probes --------------------------------------------------------------------------------------------------------------


def probe_rows() -> pd.DataFrame:
    """Of gender: a large effect on itself, one on age that does not survive, and the other pairs that are not told."""
    effects = {
        ("female", "male", "gender", "female"): (0.92, 0.85, 0.001), ("female", "male", "age", "0-3"): (0.05, 0.01, 0.2),
        ("female", "removed", "gender", "female"): (0.4, 0.3, 0.001), ("removed", "as_is", "gender", "female"): (0.1, 0, 0.01),
    }  # fmt: skip
    rows = [
        {**dict(zip(("version", "versus", "attribute", "category"), names, strict=True)), "effect": value, "low": low,
         "high": 2 * value - low, "mean": 0.95, "mean_versus": 0.95 - value, "p_value": p / 2, "p_adjusted": p}
        for names, (value, low, p) in effects.items()
    ]  # fmt: skip
    about = {"concept": "all", "model": "generator", "probed": "gender", "captions": "names", "classifier": "exact"}
    return pd.DataFrame(rows).assign(**about, n_probed=50, n_seeds=46).reindex(columns=PROBE_COLUMNS)


def test_a_probe_is_told_with_effect_interval_and_what_else_changed(a_measured_run: Any) -> None:
    a_measured_run.store.write_table("analysis/probes.parquet", probe_rows())
    section: Any = probes.section(found(a_measured_run))
    assert texts(section)[0] == (
        "When the caption says female instead of male (46 seeds whose captions named one): perceived women +92.0 points "
        "(95 % interval +85.0 to +99.0; 95.0 % instead of 3.0 %; adjusted p = 0.001). 1 of 2 outcomes differ beyond chance."
    )
    [figure] = [block for block in blocks(section) if hasattr(block, "make")]
    [axes] = figure.make(figure.layouts[0]).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "female instead of male",
        "perceived women",
        "perceived age 0-3",
    ]
    assert len(blocks(section)[-1].table.rows) == 4


def test_a_probe_without_effect_says_so(a_measured_run: Any) -> None:
    a_measured_run.store.write_table("analysis/probes.parquet", probe_rows().assign(p_adjusted=0.5))
    told = texts(probes.section(found(a_measured_run)))
    assert told[0].endswith(", none of 2 outcomes differs beyond chance.")


def test_years_caused_by_a_word_are_in_years(a_measured_run: Any) -> None:
    aged: dict[str, Any] = {
        "attribute": "age",
        "category": "years",
        "effect": -6.0,
        "low": -9.0,
        "high": -3.0,
        "mean": 30.0,
        "mean_versus": 36.0,
    }
    more = probe_rows().head(1).assign(**aged)
    a_measured_run.store.write_table("analysis/probes.parquet", pd.concat([probe_rows(), more], ignore_index=True))
    section: Any = probes.section(found(a_measured_run))
    assert "mean perceived age −6.0 years (−9.0 to −3.0; 30.0 instead of 36.0; adjusted p = 0.001)" in texts(section)[0]
    shares, in_years = (block for block in blocks(section) if hasattr(block, "make"))
    [axes] = in_years.make(in_years.layouts[0]).axes
    assert axes.get_xlabel() == "effect in years"
    assert "−6.0" in [text.get_text() for text in axes.texts]
    assert shares.name == "probes-generator"


def test_a_captioner_is_told_by_the_words_it_uses(a_measured_run: Any) -> None:
    said = {"model": "captioner", "captions": "", "classifier": "words", "attribute": "gender", "category": "silent"}
    a_measured_run.store.write_table("analysis/probes.parquet", probe_rows().head(1).assign(**said))
    [line, *_] = texts(probes.section(found(a_measured_run)))
    assert line.startswith("When the picture shows female instead of male (46 seeds): captions silent on gender +92.0 points")


# Meaning -------------------------------------------------------------------------------------------------------------


def semantic_rows() -> pd.DataFrame:
    row = {"concept": "all", "encoder": "clip", "comparison": "image_image", "reference": "seed", "n_seeds": 60}
    edges = {"floor": 0.3, "floor_low": 0.28, "floor_high": 0.32, "ceiling": 0.9, "ceiling_low": 0.85, "ceiling_high": 0.95}
    rows = [{**row, **edges, "round": r, "value": v, "low": v - 0.05, "high": v + 0.05} for r, v in ((1, 0.8), (2, 0.7))]
    rows.append({**row, "reference": "previous", "round": 2, "value": 0.99})
    return pd.DataFrame(rows).reindex(columns=SEMANTIC_COLUMNS)


def test_likeness_is_told_between_its_floor_and_its_ceiling(a_measured_run: Any) -> None:
    a_measured_run.store.write_table("analysis/semantic.parquet", semantic_rows())
    decay = {"concept": "all", "encoder": "clip", "comparison": "image_image", "reference": "seed", "n_seeds": 60}
    rate = {
        **decay,
        "quantity": "semantic_drift_rate",
        "value": np.nan,
        "status": "not identifiable: 2 generations, 4 are needed",
    }
    a_measured_run.store.write_table("analysis/semantic_decay.parquet", pd.DataFrame([rate]).reindex(columns=DECAY_COLUMNS))
    section: Any = meaning.section(found(a_measured_run))
    assert texts(section)[0] == (
        "At round 2 the likeness of pictures and the seed's picture, as clip sees it, is 0.70 (95 % interval 0.65 to 0.75; "
        "60 seeds), where that to other seeds is 0.30 (0.28 to 0.32) and that of two draws from the same caption 0.90 (0.85 to "
        "0.95)."
    )
    by_round, summed = (block.table for block in blocks(section) if block.kind == "folded")
    assert [row["likeness"] for row in by_round.rows] == ["0.80", "0.70"]
    assert summed.rows[0]["value"] == "–"
    assert summed.rows[0]["status"].startswith("not identifiable: 2 generations")


def test_without_replicates_no_ceiling_is_told(a_measured_run: Any) -> None:
    a_measured_run.store.write_table("analysis/semantic.parquet", semantic_rows().assign(ceiling=np.nan))
    section: Any = meaning.section(found(a_measured_run))
    assert texts(section)[0].endswith("where that to other seeds is 0.30 (0.28 to 0.32).")
    assert not any("Thin line" in block.caption for block in blocks(section) if hasattr(block, "caption"))


# Dynamics ------------------------------------------------------------------------------------------------------------


def dynamics_rows(**more: Any) -> pd.DataFrame:
    whose = {
        "concept": "all",
        "attribute": "gender",
        "classifier": "exact",
        "concept_read_by": "",
        "round": 8,
        "baseline_round": 0,
    }
    told = {"n_seeds": 60, "status": "shown", "half_life": 2.2, "half_life_low": 2.0, "half_life_high": 2.4}
    row = {**whose, **told, "p_order": 0.6, "p_late": 0.8}
    shares = {"female": 0.62, "male": 0.38}
    rows = [
        {**row, "category": name, "attractor": share, "attractor_low": share - 0.1, "attractor_high": share + 0.1, **more}
        for name, share in shares.items()
    ]
    return pd.DataFrame(rows).reindex(columns=DYNAMICS_COLUMNS)


def test_an_attractor_is_told_with_its_half_life(a_measured_run: Any) -> None:
    a_measured_run.store.write_table("analysis/dynamics.parquet", dynamics_rows())
    assert texts(dynamics.section(found(a_measured_run)))[0] == (
        "This loop pulls perceived women to 62.0 % (95 % interval 52.0 to 72.0; 60 seeds); half of the start is forgotten in "
        "2.2 rounds (2.0 to 2.4)."
    )


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("late rounds not predicted", "what the first half of the rounds predicts"),
        ("too few rounds", "there are too few rounds"),
        (EVIL, EVIL),
    ],
)
def test_no_attractor_is_told_unless_it_may_be_shown(a_measured_run: Any, status: str, reason: str) -> None:
    a_measured_run.store.write_table("analysis/dynamics.parquet", dynamics_rows(status=status, p_late=0.03))
    section: Any = dynamics.section(found(a_measured_run))
    [line, _] = texts(section)
    assert line.startswith("No attractor is told for perceived gender: ")
    assert reason in line
    assert "late rounds: p = 0.030" in line
    [table] = [block for block in blocks(section) if block.kind == "table"]
    assert [(row["attractor"], row["half-life, rounds"]) for row in table.rows] == [("–", "–")] * 2


# Nothing from data is trusted ----------------------------------------------------------------------------------------


def test_names_of_every_table_are_escaped(a_measured_run: Any) -> None:
    a_measured_run.store.write_table(
        "analysis/probes.parquet", probe_rows().assign(version=EVIL, classifier=EVIL, category=EVIL)
    )
    a_measured_run.store.write_table("analysis/semantic.parquet", semantic_rows().assign(encoder=EVIL, comparison=EVIL))
    a_measured_run.store.write_table("analysis/dynamics.parquet", dynamics_rows(status=EVIL))
    a_measured_run.store.write_table("analysis/years.parquet", year_rows(0.1).assign(classifier=EVIL))
    for name in ("instrument", "decomposition", "mention", "trend"):
        a_measured_run.edit(f"analysis/{name}", lambda table: table.assign(classifier=EVIL))
    text = a_measured_run.report()
    assert "<script" not in text
    assert text.count("&lt;script&gt;") > 10
