"""Captions that people wrote are found by pixels; what nobody described fails by name, or goes to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import doubles
from doubles import ToyDataset, painted
from driftloop.captioners.human import HumanCaptioner, write_captions
from driftloop.core.config import Option
from driftloop.core.errors import ConfigError
from driftloop.core.packs import pixel_hash
from driftloop.core.records import Seed
from driftloop.datasets.folder import Folder

WRITTEN = {f"toy-{number}": f"somebody's words about picture {number}" for number in range(6)}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_captions(ToyDataset(n=6).load(), WRITTEN, tmp_path / "captions.csv")
    return tmp_path / "captions.csv"


def human(table: Path, *words: str) -> tuple[str, ...]:
    return ("captioner=human", f"captioner.captions_file={table}", "stages=[play]", *words)


def test_a_study_of_one_round_begins_with_what_people_said(play: Any, table: Path) -> None:
    run = play(*human(table, "rounds=1", "on_failure.max_share=1", "on_failure.retries=0"))
    first = run.rounds[run.rounds["round"] == 0].set_index("seed_id")["caption"].to_dict()
    assert first == WRITTEN
    last = run.rounds[run.rounds["round"] == 1]
    assert (last["status"] == "failed").all()  # nobody has seen the generated pictures …
    assert last["image_sha256"].notna().all()  # … which are there to be shown and measured
    for row in last.to_dict("records"):
        assert row["image_sha256"] in row["error"]


def test_a_model_takes_over_in_later_rounds(play: Any, table: Path) -> None:
    run = play(*human(table, "+captioner@captioner.otherwise=toy", "rounds=2"))
    assert set(run.rounds["status"]) == {"ok"}
    assert run.rounds[run.rounds["round"] == 0].set_index("seed_id")["caption"].to_dict() == WRITTEN
    later = run.rounds[run.rounds["round"] > 0]["caption"]
    assert later.str.contains("elderly").all()


def test_a_missing_caption_fails_alone_and_says_which_picture(play: Any, tmp_path: Path) -> None:
    write_captions(ToyDataset(n=6).load(), {name: WRITTEN[name] for name in WRITTEN if name != "toy-3"}, tmp_path / "t.csv")
    run = play(*human(tmp_path / "t.csv", "rounds=0", "on_failure.max_share=1"))
    rows = run.rounds.set_index("seed_id").sort_index()
    assert rows["status"].tolist() == ["ok", "ok", "ok", "failed", "ok", "ok"]
    assert rows.loc["toy-3", "image_sha256"] in rows.loc["toy-3", "error"]


def test_only_what_nobody_described_goes_to_the_other_captioner(table: Path) -> None:
    asked: list[tuple[str, int]] = []

    class Other:
        def describe(self, images: Any, seeds: Any) -> Any:
            asked.extend((pixel_hash(image), seed) for image, seed in zip(images, seeds, strict=True))
            return doubles.ToyCaptioner().describe(images, seeds)

    pictures = [painted(0), painted(90), painted(1), painted(91)]
    told = HumanCaptioner(captions_file=str(table), otherwise=Other()).describe(pictures, [5, 6, 7, 8])
    assert [one.text for one in told[::2]] == [WRITTEN["toy-0"], WRITTEN["toy-1"]]
    assert asked == [(pixel_hash(painted(90)), 6), (pixel_hash(painted(91)), 8)]
    assert [one.text for one in told[1::2]] == [
        one.text for one in doubles.ToyCaptioner().describe([painted(90), painted(91)], [6, 8])
    ]


def test_of_several_captions_the_seed_draws_one(tmp_path: Path) -> None:
    write_captions(ToyDataset(n=1).load(), {"toy-0": ["a", "b", "c"]}, tmp_path / "t.csv")
    captioner = HumanCaptioner(captions_file=str(tmp_path / "t.csv"))
    drawn = [captioner.describe([painted(0)], [seed])[0].text for seed in range(30)]
    assert {drawn.count(text) for text in "abc"} == {10}
    assert drawn == [one.text for one in captioner.describe([painted(0)] * 30, range(30))]


def test_the_same_pixels_in_another_format_are_the_same_picture(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    picture = painted(7, 24)
    picture.save(tmp_path / "set/a.bmp")
    (tmp_path / "set/labels.csv").write_text("image,concept\na.bmp,fear\n")
    write_captions(Folder(tmp_path / "set").load(), {"a.bmp": "a  scared\nperson"}, tmp_path / "t.csv")
    picture.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as again:
        [told] = HumanCaptioner(captions_file=str(tmp_path / "t.csv")).describe([again.convert("RGB")], [1])
    assert told.text == "a scared person"


def test_what_the_table_holds_identifies_and_not_where_it_lies(tmp_path: Path, table: Path) -> None:
    def identity(file: Path) -> dict[str, Any]:
        return Option("human", {"_target_": "driftloop.captioners.human.HumanCaptioner", "captions_file": str(file)}).identity()

    copy = tmp_path / "copy.csv"
    copy.write_bytes(table.read_bytes())
    assert identity(copy) == identity(table)
    copy.write_text(copy.read_text().replace("words about", "thoughts about"))
    assert identity(copy) != identity(table)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (None, "captions_file"),
        ("image,caption\na,b\n", "image_sha256"),
        ("", "columns"),
        (b"image_sha256,caption\na,\xff", "UTF|utf"),
    ],
    ids=["no file", "other columns", "empty", "not UTF-8"],
)
def test_a_wrong_table_is_told_before_anything_starts(ask: Any, tmp_path: Path, content: str | bytes | None, word: str) -> None:
    if content is not None:
        (tmp_path / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=word):
        ask(*human(tmp_path / "t.csv")).captioner.build()


def test_a_target_inside_is_checked_like_any_other(ask: Any, table: Path) -> None:
    with pytest.raises(ConfigError, match="not allowed"):
        ask(*human(table), "captioner.otherwise={_target_: os.system}")


def test_captions_of_seeds_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="toy-9"):
        write_captions(ToyDataset(n=2).load(), {"toy-9": "x"}, tmp_path / "t.csv")
    with pytest.raises(ValueError, match="no picture"):
        write_captions([Seed("p", "prompts", "prompt", "prompt", caption="a text")], {"p": "x"}, tmp_path / "t.csv")
