"""Rounds played elsewhere: read, taken into a run, measured, written and read again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from driftloop.core.errors import ConfigError, DriftloopError
from driftloop.core.records import Dataset, Seed
from driftloop.core.watch import Watch
from driftloop.datasets.recorded import RecordedRounds
from driftloop.datasets.telephone_game import TelephoneGame
from driftloop.datasets.tree import DataError
from driftloop.phantom.export import telephone_game
from driftloop.stages.intake import intake
from playing import composed, played

TABLE = """seed_id,replicate,round,image,caption,concept,label_gender
a,0,0,a0.png,first of a,joy,female
a,0,1,a1.png,second of a,,
a,1,1,a1b.png,,,
b,0,0,b0.png,first of b,fear,
b,0,1,b1.png,second of b,,
b,1,1,b1.png,other of b,,
"""
COLOURS = {"a0.png": "red", "a1.png": "green", "a1b.png": "blue", "b0.png": "white", "b1.png": "teal"}
Asked = Callable[..., Any]


def pictures(folder: Path, names: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, colour in names.items():
        Image.new("RGB", (24, 16), colour).save(folder / name)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    pictures(tmp_path / "set", COLOURS)
    (tmp_path / "set/rounds.csv").write_text(TABLE)
    return tmp_path / "set"


def told(seed: Seed) -> list[tuple[int, int, str | None, bool, str]]:
    return [(one.replicate, one.round, one.caption, one.picture is not None, one.error) for one in seed.recorded]


def asked(tmp_path: Path, *words: str) -> Any:
    here = ("allow_targets=[doubles]", f"results_dir={tmp_path / 'results'}", "stages=[play,measure]")
    return composed("experiment=import", "classifier=[toy]", *here, *words)


def generations(rounds: pd.DataFrame) -> set[tuple[Any, ...]]:
    """All a game says: pictures by pixels, captions."""
    found = rounds[["seed_id", "round", "image_sha256", "caption", "status"]]
    return set(found.astype(object).where(found.notna(), None).itertuples(index=False, name=None))


# A folder with a table


def test_rounds_become_seeds_with_a_history(root: Path) -> None:
    found: Dataset = RecordedRounds(root, concept_kind="emotion")
    a, b = found.load()
    assert (a.seed_id, a.concept, dict(a.labels), a.source) == ("a", "joy", {"gender": "female"}, "a0.png")
    assert (b.seed_id, b.concept, dict(b.labels), b.concept_kind) == ("b", "fear", {}, "emotion")
    assert told(a) == [
        (0, 0, "first of a", False, ""), (0, 1, "second of a", True, ""), (1, 0, None, False, ""), (1, 1, None, True, ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,0,1,a1.png,again,,", "round 1 of a, replicate 0, is there twice: rounds.csv line 3 and rounds.csv line 8"),
        ("a,0,2,../x.png,,,", r"line 8: '../x.png' leads outside"),
        ("a,0,2,/x.png,,,", "leads outside"),
        ("a,0,2,x.png,,,", r"line 8: no file 'x.png'"),
        ("a,0,-2,a1.png,,,", "line 8: round must be a whole number from 0, got '-2'"),
        ("a,x,2,a1.png,,,", "line 8: replicate must be a whole number"),
        ("c,0,0,a1.png,,all,", "rounds.csv: c: no concept can be called 'all'"),
        ("a,0,2,a1.png,,sorrow,", "concept of a is 'sorrow', before 'joy'"),
        ("c,0,1,a1.png,,,", "c has no round 0"),
        ("a/b,0,0,a1.png,,,", "cannot be a seed id"),
        (",0,0,a1.png,,,", "column 'seed_id' is empty"),
        ("a,1,0,b0.png,,,", "a begins with different images"),
        ("c,0,0,,,,", "round 0 of c has neither an image nor a caption"),
    ],
)
def test_bad_rows_are_named(root: Path, line: str, message: str) -> None:
    (root / "rounds.csv").write_text(f"{TABLE}{line}\n")
    with pytest.raises(DataError, match=message):
        RecordedRounds(root, missing="error" if line == "a,0,2,x.png,,," else "skip").load()


def test_missing_chain_rounds_are_an_error_or_failed_rows(root: Path) -> None:
    (root / "rounds.csv").write_text(f"{TABLE}a,0,2,a1.png,third of a,,\n")
    with pytest.raises(DataError, match=r"missing \(3: a replicate 1 round 2, b replicate 0 round 2, .*missing=skip"):
        RecordedRounds(root).load()
    found = RecordedRounds(root, missing="skip")
    assert told(found.load()[1])[2] == (0, 2, None, False, "not in the recording")
    assert found.notes() == [
        "recorded: 2 seeds, 2 replicates, rounds 0 to 2; 3 chain-rounds without a picture, 1 without a caption"
    ]


def test_a_chain_that_began_with_a_prompt(root: Path) -> None:
    (root / "rounds.csv").write_text("seed_id,round,image,caption\na,0,,a prompt\na,1,a1.png,what came of it\n")
    (a,) = RecordedRounds(root).load()
    assert (a.picture, a.caption) == (None, "a prompt")
    assert told(a) == [(0, 0, "a prompt", False, ""), (0, 1, "what came of it", True, "")]


def test_every_picture_and_caption_is_in_the_fingerprint(root: Path) -> None:
    prints = [RecordedRounds(root).fingerprint()]
    (root / "rounds.csv").write_text(TABLE.replace("second of b", "second  of b"))
    prints.append(RecordedRounds(root).fingerprint())
    (root / "rounds.csv").write_text(TABLE)
    assert RecordedRounds(root).fingerprint() == prints[0]
    with (root / "a1.png").open("ab") as file:
        file.write(b"\0")
    prints.append(RecordedRounds(root).fingerprint())
    assert len(set(prints)) == 3


# As a run


def test_the_run_holds_exactly_what_was_recorded(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("dataset=recorded", f"dataset.root={root}", "rounds=1", "replicates=2")
    run = played(asked(tmp_path, *words, "generator.made_by=SD3.5"))
    rows: Any = run.rounds.set_index(["chain", "round"])
    assert len(rows) == 8
    assert set(rows["status"]) == {"ok"}
    for chain, number, file in (("a/0", 0, "a0"), ("a/0", 1, "a1"), ("a/1", 0, "a0"), ("a/1", 1, "a1b"), ("b/1", 1, "b1")):
        with Image.open(root / f"{file}.png") as picture:
            assert run.image(rows.loc[(chain, number), "image"]).tobytes() == picture.tobytes()
    assert rows["caption"].dropna().to_dict() == {
        ("a/0", 0): "first of a", ("a/0", 1): "second of a", ("b/0", 0): "first of b", ("b/0", 1): "second of b",
        ("b/1", 1): "other of b",
    }  # fmt: skip
    assert rows.loc[("a/1", 1), "parent_sha256"] == rows.loc[("a/0", 0), "image_sha256"]
    assert len(run.readings[["chain", "round"]].drop_duplicates()) == 8
    assert run.config["made_by"] == "SD3.5"
    assert "2 seeds, 2 replicates" in str(run.store.provenance()[-1]["dataset_notes"])
    assert "2 seeds, 2 replicates" in (run.store.folder / "run.log").read_text()
    assert "driftloop: recorded: 2 seeds, 2 replicates" in capsys.readouterr().err
    again = played(asked(tmp_path, *words, "generator.made_by=SD3.5"))
    assert again.run_id == run.run_id
    assert len(again.rounds) == 8


def test_what_cannot_be_read_or_is_black_is_a_row_with_a_status(root: Path, tmp_path: Path) -> None:
    (root / "a1.png").write_bytes(b"damaged")
    Image.new("RGB", (24, 16)).save(root / "b1.png")
    words = ("dataset=recorded", f"dataset.root={root}", "rounds=1")
    run = played(asked(tmp_path, *words))
    rows: Any = run.rounds.query("replicate == 0 and round == 1").set_index("seed_id")
    assert dict(rows["status"]) == {"a": "failed", "b": "black_image"}
    assert "unreadable picture: cannot read the picture a1.png" in rows.loc["a", "error"]
    assert set(zip(run.readings["chain"], run.readings["round"], strict=True)) == {("a/0", 0), ("b/0", 0)}


def test_nothing_beyond_the_recording_is_invented(root: Path, tmp_path: Path) -> None:
    words = ("dataset=recorded", f"dataset.root={root}")
    with pytest.raises(DriftloopError, match="generator=recorded has nothing beyond what was recorded: lower rounds"):
        played(asked(tmp_path, *words, "rounds=2"))
    with pytest.raises(DriftloopError, match="captioner=recorded has nothing beyond what was recorded"):
        played(asked(tmp_path, *words, "rounds=1", "replicates=3"))


def test_models_may_play_on_from_where_a_recording_ends(root: Path, tmp_path: Path) -> None:
    """But not from a picture that nobody described."""
    words = ("dataset=recorded", f"dataset.root={root}", "rounds=2", "replicates=2", "on_failure.max_share=1")
    run = played(asked(tmp_path, *words, "generator=toy", "captioner=toy", "stages=[play]"))
    rows: Any = run.rounds.set_index(["chain", "round"])
    assert rows.loc[("a/0", 1), "caption"] == "second of a"
    assert rows.loc[("a/0", 2), "parent_sha256"] == rows.loc[("a/0", 1), "image_sha256"]
    assert rows.xs(2, level="round")["status"].to_dict() == {"a/0": "ok", "a/1": "parent_failed", "b/0": "ok", "b/1": "ok"}


def test_a_seed_of_the_table_has_its_rounds_even_after_a_kill(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounds are written before their seed: stopped in between, a run takes both in again and has each row once."""
    store = asked(tmp_path, "dataset=recorded", f"dataset.root={root}").store()
    seeds = [replace(seed, place=place) for place, seed in enumerate(RecordedRounds(root).load())]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "write_seeds", killed)
        with pytest.raises(KeyboardInterrupt):
            intake(store, seeds, Watch())
    assert len(store.seeds()) == 0
    assert len(store.rounds()) == 8
    intake(store, seeds, Watch())
    assert len(store.rounds()) == 8
    assert len(store.seeds()) == 2


# The Telephone Game


@pytest.fixture
def game(tmp_path: Path) -> Path:
    """Images first, two rounds; names with and without endings, rows in another order than files."""
    folder = tmp_path / "game"
    pictures(folder / "gen-0", {"x.png": "red", "y.png": "blue"})
    pictures(folder / "gen-2", {"x.png": "green", "y.jpg": "teal"})
    (folder / "gen-1.csv").write_text("filename,caption\ny.jpg,why\nx.png,ex\n")
    (folder / "gen-3.csv").write_text("filename,caption\nx,ex again\ny,why again\n")
    return folder


def test_generations_are_rounds(game: Path) -> None:
    found: Dataset = TelephoneGame(game)
    x, y = found.load()
    assert (x.seed_id, x.concept, x.source) == ("x", "image", "gen-0/x.png")
    assert told(x) == [(0, 0, "ex", False, ""), (0, 1, "ex again", True, "")]
    assert told(y) == [(0, 0, "why", False, ""), (0, 1, "why again", True, "")]
    assert found.notes()[0] == "Telephone Game: images first"  # type: ignore[attr-defined]


def test_captions_first(tmp_path: Path) -> None:
    folder = tmp_path / "game/captions-first"
    pictures(folder / "gen-1", {"00001.png": "red"})
    pictures(folder / "gen-3", {"00001.png": "blue"})
    for number, caption in ((0, "a prompt"), (2, "seen once"), (4, "seen twice")):
        (folder / f"gen-{number}.csv").write_text(f"filename,caption\n00001,{caption}\n")
    (seed,) = TelephoneGame(tmp_path / "game").load()
    assert (seed.picture, seed.caption) == (None, "a prompt")
    assert told(seed) == [(0, 0, "a prompt", False, ""), (0, 1, "seen once", True, ""), (0, 2, "seen twice", True, "")]
    pictures(tmp_path / "game/images-first/gen-0", {"1.png": "red"})
    with pytest.raises(DataError, match=r"several games \(2: .*first=images or captions"):
        TelephoneGame(tmp_path / "game").load()
    assert told(TelephoneGame(tmp_path / "game", first="captions").load()[0]) == told(seed)
    assert [one.seed_id for one in TelephoneGame(tmp_path / "game", first="images").load()] == ["1"]


def test_captions_in_latin_1_as_the_authors_read_them(game: Path) -> None:
    (game / "gen-1.csv").write_bytes("filename,caption\nx,café\ny,naïve\n".encode("latin-1"))
    assert [told(seed)[0][2] for seed in TelephoneGame(game).load()] == ["café", "naïve"]


def test_labels_beside_the_game(game: Path) -> None:
    (game / "labels.csv").write_text("filename,concept,label_age\nx.png,joy,20-39\n")
    x, y = TelephoneGame(game, labels="labels.csv").load()
    assert (x.concept, dict(x.labels), y.concept) == ("joy", {"age": "20-39"}, "image")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "gen-1.csv",
            "filename,caption\nx,a\nx.png,b\ny,c\n",
            r"gen-1.csv line 3: 'x.png' stands twice, first in gen-1.csv line 2",
        ),
        ("gen-1.csv", "filename,caption\n../x,a\n", "cannot be a seed id"),
        ("gen-1.csv", "name,caption\nx,a\n", "no column 'filename'"),
        ("gen-2.csv", "filename,caption\nx,a\n", "gen-2.csv: generations of images and captions take turns"),
        ("gen-5.csv", "filename,caption\nx,a\n", "pictures are missing"),
        ("gen-2/x.jpg", "", "two images of one name"),
        ("gen-3/x.png", "", "gen-3/x.png: generations of images and captions take turns"),
        ("gen-2/z.png", "", "z has no round 0"),
    ],
)
def test_bad_games_are_named(game: Path, file: str, content: str, message: str) -> None:
    (game / file).parent.mkdir(exist_ok=True)
    (game / file).write_text(content)
    with pytest.raises(DataError, match=message):
        TelephoneGame(game).load()


def test_an_image_that_is_not_there(game: Path) -> None:
    (game / "gen-2/y.jpg").unlink()
    with pytest.raises(DataError, match=r"pictures are missing \(1: y replicate 0 round 1\)"):
        TelephoneGame(game).load()
    assert told(TelephoneGame(game, missing="skip").load()[1])[1] == (0, 1, "why again", False, "not in the recording")


def test_no_game(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no Telephone Game in .*looked for gen-0.csv or gen-0/"):
        TelephoneGame(tmp_path).load()


# Written and read again


@pytest.mark.parametrize("dataset", [("phantom", "dataset.limit=5"), ("prompts", "dataset.prompts=[a cat, a dog]")])
def test_a_game_that_was_written_is_read_as_it_was(tmp_path: Path, dataset: tuple[str, str]) -> None:
    exact = ("experiment=phantom_exact", "rounds=2", "stages=[play]", "replicates=2", f"results_dir={tmp_path / 'first'}")
    first = played(composed(*exact, f"dataset={dataset[0]}", dataset[1]))
    game = first.export_telephone_game(tmp_path / "game", replicate=1)
    words = ("dataset=telephone_game", f"dataset.root={game}", "dataset.labels=labels.csv", "rounds=2", "stages=[play]")
    back = played(asked(tmp_path, *words))
    assert len(back.rounds) == len(generations(first.rounds.query("replicate == 1")))
    assert generations(back.rounds) == generations(first.rounds.query("replicate == 1"))
    columns = ["concept", *(column for column in first.seeds.columns if column.startswith("label_"))]
    pd.testing.assert_frame_equal(
        back.seeds.set_index("seed_id")[columns].sort_index(), first.seeds.set_index("seed_id")[columns].sort_index()
    )


def test_what_may_not_be_shared_is_not_written_unless_asked(root: Path, tmp_path: Path) -> None:
    run = played(asked(tmp_path, "dataset=recorded", f"dataset.root={root}", "rounds=1", "stages=[play]"))
    with pytest.raises(ConfigError, match=r"\(recorded\) may not be shared; show_seeds=True"):
        run.export_telephone_game(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    out = run.export_telephone_game(tmp_path / "out", show_seeds=True)
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*")) == [
        "images-first/gen-0/a.png", "images-first/gen-0/b.png", "images-first/gen-1.csv", "images-first/gen-2/a.png",
        "images-first/gen-2/b.png", "images-first/gen-3.csv", "labels.csv",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="not empty"):
        run.export_telephone_game(out, show_seeds=True)
    with pytest.raises(ConfigError, match=r"no replicate 5; it has \[0, 1\]"):
        run.export_telephone_game(tmp_path / "other", replicate=5, show_seeds=True)


def test_a_game_of_the_built_in_world(tmp_path: Path) -> None:
    from driftloop.datasets.phantom import PhantomDataset

    telephone_game(PhantomDataset(n=6, concept_kind="emotion").load(), tmp_path / "game", rounds=3)
    words = ("dataset=telephone_game", f"dataset.root={tmp_path / 'game'}", "dataset.labels=labels.csv", "rounds=3")
    run = played(
        asked(tmp_path, *words, "classifier=[exact]", "stages=[play,measure,analyse]", "analysis.resamples=100"),
    )
    assert set(run.readings["status"]) == {"ok"}
    assert set(run.table("drift")["round"]) >= {0, 3}
