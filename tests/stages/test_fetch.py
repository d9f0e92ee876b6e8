"""Checkpoints from a hub on loopback into a cache, and from there without any network."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from comparing import answers
from driftloop.core.inventory import Weight, here
from driftloop.core.watch import Watch
from driftloop.core.weights import ModelError, locate
from driftloop.runs import load_runs
from driftloop.stages.fetch import fetch, offered
from hub import COMMIT, Hub, served
from playing import COMMAND, environment

MODELS = {"toy/generator": "builtin:generator", "toy/captioner": "builtin:captioner", "toy/gender": "builtin:gender"}
PAIR = ("generator.model=toy/generator", "captioner.model=toy/captioner", "dataset.limit=3", "rounds=1", "results_dir=results")
UNWANTED = ("single_file.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.bin")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """The built-in models as repositories, with files beside them that nobody needs."""
    folders = {name: tmp_path / "repositories" / name for name in MODELS}
    for name, folder in folders.items():
        shutil.copytree(locate(MODELS[name])[0], folder)
    for name in UNWANTED:
        (folders["toy/generator"] / name).write_bytes(b"x" * 100)
    (folders["toy/gender"] / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A card")
    with served(Hub(folders)) as hub:
        yield hub


@pytest.fixture
def cache(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process asks that hub and keeps what comes in a folder of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    return folder


class Told(Watch):
    def __init__(self) -> None:
        super().__init__()
        self.total, self.done = 0, 0

    def start(self, stage: str, total: int, done: int = 0) -> None:
        self.total = total

    def advance(self, count: int = 1) -> None:
        self.done += count


def test_what_is_needed_comes_once_and_whole(hub: Hub, cache: Path) -> None:
    wanted, watch = [Weight("toy/generator"), Weight("toy/gender", "main"), Weight("builtin:age")], Told()
    generator, gender = fetch(wanted, watch)
    assert (generator.commit, generator.new, gender.licence) == (COMMIT, True, "apache-2.0")
    for one, name in ((generator, "toy/generator"), (gender, "toy/gender")):
        came = {path.relative_to(one.folder).as_posix() for path in Path(one.folder).rglob("*") if path.is_file()}
        assert one.files == len(came)
        assert not came & set(UNWANTED)
        for path in came:
            assert (Path(one.folder) / path).read_bytes() == (hub.repositories[name] / path).read_bytes()
    assert watch.done == watch.total > 0
    hub.asked.clear()
    assert [one.new for one in fetch(wanted, Told())] == [False, False]
    assert hub.asked == []


def test_what_broke_off_goes_on_from_there(hub: Hub, cache: Path) -> None:
    large = "unet/diffusion_pytorch_model.safetensors"
    hub.broken.add(large)
    with pytest.raises(ModelError, match=r'"toy/generator" could not be fetched.*the same command goes on'):
        fetch([Weight("toy/generator")], Told())
    assert here(Weight("toy/generator")) is None
    hub.broken.clear()
    hub.asked.clear()
    fetch([Weight("toy/generator")], Told())
    assert here(Weight("toy/generator")) is not None
    brought = [line for line in hub.asked if line.startswith('"GET') and "resolve" in line]
    assert any(large in line for line in brought)
    assert not any("vae/diffusion" in line for line in brought)


@pytest.mark.parametrize(
    ("weight", "sentence"),
    [
        (Weight("toy/nobody"), 'no model "toy/nobody"'),
        (Weight("toy/gender", "v9"), 'no revision "v9" of "toy/gender"'),
        (Weight("toy/captioner"), r'"toy/captioner" is gated: accept its licence.*hf auth login'),
        (Weight("toy/gender", file="own.safetensors"), "no safetensors.*called own.safetensors"),
    ],
)
def test_what_cannot_be_had_is_a_sentence(hub: Hub, cache: Path, weight: Weight, sentence: str) -> None:
    hub.gated = frozenset({"toy/captioner"})
    with pytest.raises(ModelError, match=sentence):
        fetch([Weight("toy/generator"), weight], Told())
    assert not cache.exists()  # told before anything was brought


def test_pickles_are_not_fetched(hub: Hub, cache: Path) -> None:
    (hub.repositories["toy/gender"] / "model.safetensors").rename(hub.repositories["toy/gender"] / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no safetensors.*save_pretrained"):
        offered(Weight("toy/gender"))


def test_too_small_a_disk_is_told_before(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftloop.stages.fetch.SPARE", 2**60)
    with pytest.raises(ModelError, match=r"are to be fetched.*GiB are free.*fetch\.into"):
        fetch([Weight("toy/gender")], Told())


def test_no_hub_is_a_sentence(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match='"toy/gender" cannot be fetched: HF_HUB_OFFLINE is set'):
        fetch([Weight("toy/gender")], Told())


# As it is typed ------------------------------------------------------------------------------------------------------


@pytest.fixture
def typed(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def ran(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in environment().items() if name != "HF_ENDPOINT"}
        command = [COMMAND, *PAIR, "concept_classifier=none", *words]
        return subprocess.run(command, check=False, env={**env, **variables}, cwd=tmp_path, capture_output=True, text=True)

    return ran


def test_a_model_that_is_not_here_says_what_to_type(typed: Any, tmp_path: Path) -> None:
    done = typed("stages=[play]", HF_HUB_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 2
    assert '"toy/generator" (revision main)' in done.stderr
    assert f"driftloop {' '.join(PAIR)} concept_classifier=none 'stages=[fetch]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_fetched_where_there_is_a_network_played_where_there_is_none(hub: Hub, typed: Any, tmp_path: Path, play: Any) -> None:
    online = hub.environment(tmp_path / "home")
    done = typed("stages=[fetch]", "fetch.into=box", "dataset=raf_db", **online)  # a data set is not needed for it
    assert done.returncode == 0, done.stderr
    assert "HF_HUB_OFFLINE=1" in done.stdout
    record = json.loads((tmp_path / "results/fetched.json").read_text())
    assert record["toy/generator@main"]["commit"] == COMMIT
    hub.asked.clear()
    shutil.move(tmp_path / "box", tmp_path / "elsewhere")
    nowhere = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path / "elsewhere")}
    done = typed("stages=[play,measure]", **nowhere)
    assert done.returncode == 0, done.stderr
    assert hub.asked == []
    [run] = load_runs(tmp_path / "results").runs
    assert run.store.manifest()["identity"]["generator"]["model"] == COMMIT
    builtin = play("dataset.limit=3", "rounds=1", "concept_classifier=none", "stages=[play,measure]", base="phantom")
    assert _pictures(run) == _pictures(builtin)
    lone = f"generator.model={tmp_path}/elsewhere/models--toy--generator/snapshots/{COMMIT}"
    assert typed(lone, "stages=[play]", "results_dir=lone", **nowhere).returncode == 0


def _pictures(run: Any) -> Any:
    return [row[:6] for row in answers(run)["rounds"]]
