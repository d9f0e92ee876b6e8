"""What a study would cost, before it costs it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from driftloop.core.inventory import Weight, here
from driftloop.core.weights import locate
from driftloop.plan import Plan, _duration, _rate, plan, planned
from hub import COMMIT, Hub, served
from playing import composed

WORDS = ("dataset.limit=4", "rounds=2", "generator.batch_size=4", "captioner.batch_size=4")


def phantom(tmp_path: Path, *words: str) -> Any:
    return composed("experiment=phantom", f"results_dir={tmp_path / 'results'}", "analysis.resamples=100", *WORDS, *words)


def work(said: Plan) -> dict[str, tuple[int, int, int]]:
    return {one.stage: (one.whole, one.done, one.left) for one in said.work}


def test_all_of_it_before_anything_was_played(tmp_path: Path) -> None:
    said = planned(phantom(tmp_path, "concept_classifier=none"))
    assert (said.chains, said.pictures, said.missing) == (4, 8, [])
    assert work(said) == {
        "play": (12, 0, 12),
        "generate": (8, 0, 8),
        "describe": (12, 0, 12),
        "measure phantom_cnn": (12, 0, 12),
    }
    timed = [one for one in said.work if one.stage != "play"]
    assert all(one.seconds and one.seconds > 0 and "calibration of one batch" in one.origin for one in timed)
    assert {one.who for one in said.checkpoints} == {"generator", "captioner", "classifier phantom_cnn"}
    for one in said.checkpoints:
        found = here(one.weight)
        assert one.here
        assert found is not None
        assert one.bytes == sum(path.stat().st_size for path in found.folder.rglob("*") if path.is_file() and _counts(path))
    assert re.match(r"resident: \d+\.\d MiB; swap: \d+\.\d MiB", said.memory[0])
    assert said.memory[-1] == "placement=auto: resident"
    assert not (tmp_path / "results").exists()


def _counts(path: Path) -> bool:
    return path.suffix in (".safetensors", ".json", ".txt", ".jinja") or path.name == "card.md"


@pytest.mark.slow
def test_the_disk_that_is_foretold_is_about_what_is_taken(tmp_path: Path, play: Any) -> None:
    words = ("concept_classifier=none", "rounds=3", "dataset.limit=16", "stages=[play]")
    said = planned(phantom(tmp_path, *words))
    run = play(*WORDS, *words, base="phantom")
    taken = sum(path.stat().st_size for path in (run.store.folder / "images").rglob("*.zip"))
    assert said.disk == pytest.approx(taken, rel=0.5)


def test_what_is_done_is_not_counted_and_tells_the_time(tmp_path: Path, play: Any) -> None:
    play(*WORDS, "rounds=1", "concept_classifier=none", "stages=[play]", base="phantom")
    said = planned(phantom(tmp_path, "concept_classifier=none", "stages=[play]"))
    assert work(said) == {"play": (12, 8, 4), "generate": (8, 4, 4), "describe": (12, 8, 4)}
    assert all("in this run so far" in one.origin for one in said.work if one.stage != "play")
    finished = planned(phantom(tmp_path, "rounds=1", "concept_classifier=none", "stages=[play]"))
    assert [one.seconds for one in finished.work if one.stage != "play"] == [0.0, 0.0]


def test_what_is_missing_is_listed_and_not_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    asked = composed("experiment=raf_db_sd35_llava", f"dataset.root={tmp_path / 'nowhere'}", f"results_dir={tmp_path}")
    said = planned(asked)
    assert (said.chains, said.pictures, said.disk) == (None, None, None)
    assert said.memory == ["known once all checkpoints of generator and captioner are here"]
    told = " ".join(said.missing)
    for word in ("stabilityai/stable-diffusion-3.5-large", "llava-hf/llava-v1.6-mistral-7b-hf", "stages=[fetch]", "nowhere"):
        assert word in told


def test_a_hub_that_answers_tells_the_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(shutil.copytree(locate("builtin:captioner")[0], tmp_path / "captioner"))
    with served(Hub({"toy/captioner": folder})) as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        said = planned(phantom(tmp_path, "captioner.model=toy/captioner", "stages=[play]", "classifier=phantom_cnn"))
        assert not any("resolve" in line for line in hub.asked)  # nothing is fetched
    [captioner] = [one for one in said.checkpoints if one.who == "captioner"]
    mine = here(Weight("builtin:captioner"))
    assert mine is not None
    assert (captioner.commit, captioner.bytes, captioner.here) == (COMMIT, mine.bytes, False)
    assert any("toy/captioner (" in line and "MiB" in line for line in said.missing)
    assert not (tmp_path / "cache").exists()


def test_a_server_is_never_asked(tmp_path: Path) -> None:
    """An address where nobody listens would raise; a paid one would cost."""
    words = (
        "generator=openai_images",
        "generator.served_model=some/model",
        "generator.endpoint.base_url=http://127.0.0.1:9/v1",
    )
    said = planned(phantom(tmp_path, *words, "stages=[play]"))
    [generate] = [one for one in said.work if one.stage == "generate"]
    assert (generate.left, generate.seconds) == (8, None)


def test_too_little_room_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftloop.plan._free", lambda _: 10)
    said = planned(phantom(tmp_path, "stages=[play]", "concept_classifier=none"))
    assert any("room on the disk" in line for line in said.missing)


def test_it_reads_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan(phantom(tmp_path, "concept_classifier=none"))
    told = capsys.readouterr().out
    assert re.search(r"plan for .*phantom_phantom_diffusion_phantom_blip", told)
    assert re.search(r"generate\D+8\D+0\D+8\D.* s .*in a calibration of one batch", told)
    assert "4 chains × 2 rounds = 8 pictures to make in all" in told
    assert "missing: nothing" in told


def test_durations_and_rates() -> None:
    assert [_duration(seconds) for seconds in (0, 119, 600, 36_000)] == ["0 s", "119 s", "10 min", "10.0 h"]
    assert [_rate(seconds) for seconds in (12.0, 0.5, 0.0049)] == ["12 s each", "0.5 s each", "4.9 ms each"]
