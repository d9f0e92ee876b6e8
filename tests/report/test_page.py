"""The page of a run: it stands alone, tells no more than it may, and copes with runs that went otherwise."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from driftloop.core.watch import Watch
from driftloop.report import tables
from driftloop.report.material import Instrument, collect
from driftloop.report.page import page, unbroken
from driftloop.report.strips import shown_rounds
from driftloop.stages import report as stage

REFERENCE = re.compile(r"""(?:src|href|action|data|poster|srcset)\s*=\s*["']?(?!#|data:image/png)([^"'\s>]+)""")
EVIL = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def whole(original: Any) -> str:
    return str(original.report())


def section(text: str, name: str) -> str:
    after = text.partition(f'<section id="{name}">')[2]
    return after.partition("</section>\n\n<section id=")[0]


# It stands alone -----------------------------------------------------------------------------------------------------


def test_nothing_is_loaded_from_anywhere(whole: str) -> None:
    assert "http" not in whole.replace("http-equiv", "")
    assert REFERENCE.findall(whole) == []
    assert not re.search(r"<(?:script|link|iframe|object|embed|base|form)\b|@import|url\((?!#)", whole)


def test_no_path_of_the_machine_is_in_it(whole: str, original: Any) -> None:
    assert str(original.store.folder.parent) not in whole
    assert not re.search(r"(?<![\w<])/(?:tmp|home|root|work)/", whole)


def test_ids_are_unique_and_every_link_leads_somewhere(whole: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', whole)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', whole)) <= {(i, "") for i in ids} | {("", i) for i in ids}


def test_it_is_small_and_its_figures_are_files_too(whole: str, original: Any) -> None:
    assert len(whole) < 5_000_000
    names = {path.name for path in (original.store.folder / "figures").iterdir()}
    assert {"shifts.svg", "shifts.png", "drift-gender.svg", "drift-age.png", "distances-age-exact.svg"} <= names
    assert all(f'id="figure-{Path(name).stem}"' in whole for name in names)


@pytest.mark.slow
def test_made_again_it_is_the_same(whole: str, original: Any) -> None:
    assert page(collect(original.experiment, original.store))[0].rstrip() == whole.rstrip()


# What it says --------------------------------------------------------------------------------------------------------


def test_the_answer_is_that_of_the_tables(whole: str, original: Any) -> None:
    drift = original.store.read_table("analysis/drift.parquet")
    women = drift[(drift["concept"] == "all") & (drift["category"] == "female")].set_index("round")
    told = re.search(r"Perceived women went from ([\d.]+)\s%\sto ([\d.]+)\s% of readings in 3 rounds", whole)
    assert told is not None
    assert [float(each) for each in told.groups()] == pytest.approx(
        [100 * women["share"][0], 100 * women["share"][3]], abs=0.05
    )
    assert f"{100 * women['shift_low'][3]:+.1f}".replace("-", "−") in section(whole, "answer")
    assert "Expected from what these models were made to do: perceived women" in section(whole, "answer")
    assert "total variation" in section(whole, "answer")


def test_the_sections_stand_in_their_order(whole: str) -> None:
    names = re.findall(r'<section id="(\w+)">', whole)
    assert names == ["answer", "coverage", "drift", "concepts", "distances", "chains", "card", "limits"]
    assert re.findall(r'<a href="#(\w+)">', whole) == names


def test_captions_say_n_and_what_the_band_is(whole: str) -> None:
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", whole)
    assert len(captions) == 7
    assert all("seeds" in caption and re.search(r"interval|Intervals", caption) for caption in captions)


def test_chains_of_the_built_in_world_are_shown(whole: str) -> None:
    chains = section(whole, "chains")
    assert chains.count("data:image/png;base64,") == 3 * 4
    assert chains.count('class="said"') == 3 * 4
    assert len(set(re.findall(r"<h3>(\w+)", chains))) == 3


def test_the_run_card_names_what_was_used(whole: str) -> None:
    card = section(whole, "card")
    for said in ("fingerprint", "omission", "labels/exact-", "female, male", "WholeImage", "root_seed", "torch", "commit"):
        assert said in card


def test_long_chains_show_rounds_from_the_first_to_the_last() -> None:
    assert shown_rounds(list(range(5))) == [0, 1, 2, 3, 4]
    assert shown_rounds(list(range(31))) == [0, 4, 9, 13, 17, 21, 26, 30]


def test_numbers_and_their_signs_stay_on_a_line() -> None:
    assert unbroken("95 % of n = 3, p < 0.1") == "95\u00a0% of n\u00a0=\u00a03, p\u00a0<\u00a00.1"


# What it must not say ------------------------------------------------------------------------------------------------


def test_captions_and_names_are_escaped(a_run: Any) -> None:
    def renamed(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(concept=table["concept"].replace("reading", EVIL))

    a_run.edit("seeds", renamed)
    a_run.edit("analysis/*", renamed)
    a_run.edit("rounds/part-*", lambda rows: rows.assign(caption=EVIL))
    text = a_run.report(filmstrips=6)
    assert "<script" not in text
    assert "“&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;”" in text
    assert "&lt;script&gt;" in section(text, "concepts")


def licensed(a_run: Any) -> None:
    a_run.edit("seeds", lambda seeds: seeds.assign(dataset="raf_db"))


def test_a_licensed_data_set_shows_no_picture_and_no_caption(a_run: Any) -> None:
    licensed(a_run)
    text = a_run.report()
    assert "data:image" not in text
    assert 'class="said"' not in text
    captions = a_run.store.rows("rounds", ["caption"]).to_pydict()["caption"]
    assert not [caption for caption in captions if caption in text]
    assert "may not be passed on" in section(text, "chains")


def test_a_licensed_data_set_is_shown_when_that_is_asked_for(a_run: Any) -> None:
    licensed(a_run)
    text = a_run.report(show_seeds=True)
    assert "data:image" in text
    assert "because this run was asked to" in section(text, "chains")


def test_a_folder_that_calls_itself_phantom_is_not(a_run: Any) -> None:
    target = "driftloop.datasets.folder.Folder"
    a_run.edit_json("manifest.json", lambda body: body["identity"]["dataset"].update(_target_=target))
    assert "data:image" not in a_run.report()


def test_an_error_of_a_licensed_seed_is_told_by_its_kind_alone(a_run: Any) -> None:
    def broken(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(status="failed", error=f"ValueError: cannot draw 'a secret caption' of {a_run.store.folder}/a.png")

    a_run.edit("rounds/part-*", broken)
    shown = a_run.report()
    assert "a secret caption" in section(shown, "coverage")
    assert str(a_run.store.folder) not in shown
    licensed(a_run)
    hidden = a_run.report()
    assert "ValueError" in section(hidden, "coverage")
    assert "secret" not in hidden


def test_concepts_of_few_seeds_are_left_out_and_named(a_run: Any) -> None:
    def few(drift: pd.DataFrame) -> pd.DataFrame:
        small = (drift["concept"] == "reading") & (drift["round"] == 3)
        return drift.assign(n_seeds=drift["n_seeds"].mask(small, 4), n_pairs=drift["n_pairs"].mask(small, 4))

    a_run.edit("analysis/drift", few)
    concepts = section(a_run.report(), "concepts")
    assert "Left out, because fewer than 5 seeds were read there at some round: reading." in concepts
    assert set(re.findall(r"<tr><td>(\w+)</td>", concepts)) == {"cooking", "dancing", "drinking", "football", "repairing"}


def test_small_cells_are_emptied_and_large_ones_kept() -> None:
    row = {"concept": ["a", "a", "all"], "n_seeds": [4, 5, 3], "n_pairs": [4, 4, 3], "p_value": 0.1, "p_adjusted": 0.1}
    row |= dict.fromkeys(["share", "share_low", "share_high", "shift", "shift_low", "shift_high"], 0.5)
    known = tables.told(pd.DataFrame(row))
    assert known["share"].isna().tolist() == [True, False, False]
    assert known["shift"].isna().tolist() == [True, True, False]


# Made when it must be ------------------------------------------------------------------------------------------------


def test_nothing_is_made_again_until_something_it_reads_has_changed(a_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    a_run.report()
    with monkeypatch.context() as patch:
        patch.setattr(stage, "page", lambda _: pytest.fail("the page was made again"))
        a_run.report()
        a_run.store.write_json("provenance/later.json", {"start": "later"})
        a_run.report()
    a_run.edit("analysis/drift", lambda drift: drift.assign(share=0.123))
    assert "12.3\u00a0%" in a_run.report()
    assert "data:image" not in a_run.report(filmstrips=0)


def test_a_page_that_was_deleted_is_made_again(a_run: Any) -> None:
    a_run.report()
    a_run.drop("report/index.html")
    assert "Perceived women" in a_run.report()


# Runs that went otherwise --------------------------------------------------------------------------------------------


def test_shifts_that_cannot_be_told(a_drawn_run: Any) -> None:
    def unknown(drift: pd.DataFrame) -> pd.DataFrame:
        return drift.assign(**dict.fromkeys(tables.SHIFT, float("nan")), n_pairs=0)

    a_drawn_run.edit("analysis/drift", unknown)
    answer = section(a_drawn_run.report(), "answer")
    assert answer.count("nothing can be said about its drift") == 2
    assert "<figure" not in answer


def test_intervals_that_cannot_be_told(a_drawn_run: Any) -> None:
    a_drawn_run.edit("analysis/drift", lambda drift: drift.assign(shift_low=float("nan"), shift_high=float("nan")))
    assert "too few for an interval" in section(a_drawn_run.report(), "answer")


def test_only_the_baseline_was_read(a_drawn_run: Any) -> None:
    a_drawn_run.edit("analysis/*", lambda table: table[table["round"] == 0])
    assert section(a_drawn_run.report(), "answer").count("nothing can be said") == 2


def test_one_concept(a_drawn_run: Any) -> None:
    a_drawn_run.edit("analysis/*", lambda table: table[table["concept"].isin(["all", "all_standardised", "reading"])])
    assert "not two concepts" in section(a_drawn_run.report(), "concepts")


def test_no_planted_truth(a_run: Any) -> None:
    a_run.drop("analysis/planted.parquet")
    assert "Expected from" not in section(a_run.report(), "answer")


def test_chains_seeded_by_text_begin_at_round_1(a_drawn_run: Any) -> None:
    def from_1(table: pd.DataFrame) -> pd.DataFrame:
        return table[table["round"] > 0].assign(baseline_round=1)

    a_drawn_run.edit("analysis/*", from_1)
    a_drawn_run.edit("rounds/part-*", lambda rows: rows.assign(image=rows["image"].where(rows["round"] > 0, "")))
    text = a_drawn_run.report()
    assert "from round 1, the first picture, to round 3" in section(text, "answer")
    assert section(text, "chains").count("no picture") == 3


def test_several_classifiers_are_told_apart_and_compared(a_drawn_run: Any) -> None:
    def two(table: pd.DataFrame) -> pd.DataFrame:
        if "classifier" not in table:
            return table
        still = {"shift_low": -0.1, "shift_high": 0.1, "p_value": 0.5}
        other = table.assign(classifier="other", **{key: value for key, value in still.items() if key in table})
        return pd.concat([table.assign(shift_low=0.01) if "shift_low" in table else table, other], ignore_index=True)

    a_drawn_run.edit("analysis/*", two)
    text = a_drawn_run.report()
    assert "Only exact finds a shift of perceived gender; other does not." in section(text, "answer")
    assert "perceived gender, read by other" in section(text, "answer")
    assert "female · other" in text or ">other<" in text


def test_nothing_was_analysed(a_run: Any) -> None:
    a_run.drop("analysis/*")
    text = a_run.report()
    assert "nothing can be said" in section(text, "answer")
    assert "Pictures and captions by round" in text


def test_every_chain_failed(a_run: Any) -> None:
    def failed(rows: pd.DataFrame) -> pd.DataFrame:
        return rows[rows["round"] == 0].assign(status="failed", error="RuntimeError: no weights", image="", caption="")

    a_run.edit("rounds/part-*", failed)
    a_run.drop("labels/*/part-*")
    a_run.drop("analysis/*")
    text = a_run.report()
    assert "RuntimeError: no weights" in section(text, "coverage")
    assert "failed" in section(text, "chains")


def test_nothing_was_played(a_run: Any) -> None:
    for what in ("rounds/part-*", "labels/*/*", "analysis/*", "seeds.parquet"):
        a_run.drop(what)
    assert "Nothing was read in this run" in a_run.report()


def test_pictures_that_are_gone_leave_their_place(a_run: Any) -> None:
    a_run.drop("images/round-002/*")
    assert section(a_run.report(), "chains").count("no picture") == 3


def test_the_extent_of_the_experiment_bounds_what_is_counted(a_run: Any) -> None:
    asked = dataclasses.replace(a_run.experiment, rounds=2, limit=30)
    material = collect(asked, a_run.store)
    assert set(material.rounds["round"]) == {0, 1, 2}
    assert material.rounds["seed_id"].nunique() == len(material.seeds) == 30


def test_the_stage_says_when_it_is_done(a_run: Any) -> None:
    told: list[str] = []

    class Told(Watch):
        def start(self, stage: str, total: int, done: int = 0) -> None:
            told.append(f"{stage} {done}/{total}")

        def advance(self, count: int = 1) -> None:
            told.append(f"+{count}")

    for _ in range(2):
        stage.report(a_run.experiment, a_run.store, Told())
    assert told == ["report 0/1", "+1", "report 1/1"]
    assert json.loads((a_run.store.folder / "report/inputs.json").read_text())


def test_concepts_as_they_are_read_stand_apart(a_drawn_run: Any) -> None:
    a_drawn_run.edit("analysis/*", lambda table: pd.concat([table, concept_rows(table)], ignore_index=True))
    found = collect(a_drawn_run.experiment, a_drawn_run.store)
    reader = Instrument("concepts/other-00000000", "other", {"emotion": ["female", "male"]}, {})
    both = dataclasses.replace(found, instruments=[*found.instruments, reader])
    assert both.part("labels").attributes == ["gender", "age"]
    assert both.part("concepts").attributes == ["emotion"]
    text, _ = page(both)
    assert "emotion" not in section(text, "answer")
    assert "instruments compared" not in text
    assert "perceived emotion" in section(text, "concepts").partition("Concepts themselves")[2].lower()


def concept_rows(table: pd.DataFrame) -> pd.DataFrame:
    if "classifier" not in table:
        return table.iloc[:0]
    return table[table["attribute"] == "gender"].assign(attribute="emotion", classifier="other")


# Beside the published study ------------------------------------------------------------------------------------------


def figures_of_the_study(n: int) -> pd.DataFrame:
    """Two concepts of one attribute beside a run; the second is not in it."""
    known: dict[str, Any] = {
        "concept_kind": "emotion",
        "attribute": "gender",
        "category": "female",
        "classifier": "exact",
        "seed_pct": 59.14,
        "generated_pct": 91.96,
    }
    shares: list[dict[str, Any]] = [
        {"concept": EVIL, "round": r, "baseline_round": 0, "n_seeds": n, "share": share, "share_low": 0.4, "share_high": 0.7}
        for r, share in ((0, 0.512), (1, 0.523), (3, 0.534))
    ]
    absent = {"concept": "fear", "reason": "no seed of this run shows it"}
    return pd.DataFrame([{**known, "reason": "", **row} for row in [*shares, absent]])


def test_the_study_stands_beside_the_run_where_there_is_a_table(a_run: Any, whole: str) -> None:
    assert "published" not in whole
    a_run.store.write_table("analysis/published.parquet", figures_of_the_study(20))
    text = a_run.report()
    beside = section(text, "published")
    assert "change of annotator and not drift" in beside
    [first, *_] = re.findall(r"<tr>(<td>.*?)</tr>", beside)
    cells = re.findall(r"<td[^>]*>(.*?)</td>", first)
    assert [cell.replace("\u00a0", " ") for cell in cells[1:]] == [
        "female", "59.14 %", "91.96 %", "51.2 % (40.0 to 70.0)", "52.3 % (40.0 to 70.0)", "53.4 % (40.0 to 70.0)", "20",
    ]  # fmt: skip
    assert "fear: no seed of this run shows it" in beside
    assert re.findall(r">(here: [^<]+)<", beside) == ["here: seeds", "here: round 1", "here: round 3"]
    assert "<script" not in text
    assert re.findall(r'<a href="#(\w+)">', text) == re.findall(r'<section id="(\w+)">', text)
    assert "Read the study" not in beside


def test_the_study_s_way_says_that_it_is_not_drift(a_run: Any) -> None:
    names = {"published_way": -0.2, "change_of_annotator": -0.2, "shift": 0.0}
    ends = {f"{name}{end}": value + step for name, value in names.items() for end, step in (("_low", -0.1), ("_high", 0.1))}
    row = {"attribute": "gender", "category": "female", "classifier": "exact", "round": 1, "baseline_round": 0, "n_seeds": 60,
           "human_share": 0.6, "first": 0.4, "share": 0.4, **names, **ends}  # fmt: skip
    rows = [{**row, "concept": "all"}, {**row, "concept": "reading"}]
    a_run.store.write_table("analysis/published_way.parquet", pd.DataFrame(rows))
    beside = section(a_run.report(), "published").replace("\u00a0", " ")
    assert "<p>Not drift: with human labels for the seeds and exact for round 1" in beside
    assert "The drift by one annotator is 0.0 points" in beside
    assert "<td>all seeds</td>" in beside
    assert "Dogan" not in beside
    a_run.edit("analysis/published_way", lambda table: table.assign(category="male"))
    assert "perceived men would seem to move" in section(a_run.report(), "published")


def test_a_figure_that_nobody_reads_is_told_with_the_reason(a_run: Any) -> None:
    unread = {"classifier": "", "attribute": "ethnicity", "category": "asian", "reason": "no classifier reads it"}
    table = figures_of_the_study(20).assign(**unread, share=float("nan"), round=float("nan"))
    a_run.store.write_table("analysis/published.parquet", table)
    beside = section(a_run.report(), "published")
    assert "This run has nothing to put beside it: no classifier reads it." in beside
    assert "here:" not in beside


# What is known of the instruments and the data -----------------------------------------------------------------------


def test_the_closed_form_is_told_where_it_was_tested(a_run: Any, whole: str) -> None:
    assert "departure" not in whole
    rows = [("gender", "card", 0.5, None), ("age", "card", 0.4, None), ("all", "card", 0.34, None),
            ("all", "omission 0.1", 0.0, 0.987), ("gender", "omission 0.1", 0.0, 0.5)]  # fmt: skip
    names = ["attribute", "hypothesis", "p_value", "power"]
    a_run.store.write_table("analysis/closed_form.parquet", pd.DataFrame(rows, columns=names).assign(n_seeds=60))
    told = section(a_run.report(), "closed_form").replace("\u00a0", " ")
    assert "no departure is found from what these models were made to do (p = 0.340, 60 seeds; gender alone p = 0.500" in told
    assert "omission 0.1 in 98.7 % of such runs" in told


def test_a_captioner_that_judges_itself_is_marked(a_run: Any, whole: str) -> None:
    assert "judges itself" not in whole
    [folder] = a_run.store.folder.glob("labels/*")
    a_run.edit_json(f"labels/{folder.name}/classifier.json", lambda body: body.update(judges_itself=True))
    text = a_run.report()
    assert "the captioner judges itself here" in section(text, "answer")
    assert "<dt>judges itself</dt>" in section(text, "card")


def test_notes_of_the_data_set_and_of_the_instruments_are_in_the_card(a_run: Any) -> None:
    told = {"dataset_notes": [f"PHASE: left out 3 images of {a_run.store.folder}/b"], "instrument_warnings": [EVIL]}
    a_run.store.write_json("provenance/20990101T0.json", told)
    a_run.store.write_json("provenance/20990102T0.json", {"dataset_notes": []})
    card = section(a_run.report(), "card")
    assert "<dd>PHASE: left out 3 images of …/b</dd>" in card
    assert "<dd>&lt;script&gt;" in card
