"""The identity of models, and what is refused to load."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from driftloop.captioners.vision_language import TransformersCaptioner
from driftloop.classifiers.image_classification import TransformersClassifier
from driftloop.core.weights import ModelError, check_safe, fingerprint, locate
from driftloop.generators.diffusion import DiffusersGenerator

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


@pytest.fixture
def folder(resnet: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(resnet, tmp_path / "model"))


def test_a_folder_is_its_content_wherever_it_lies(folder: Path, resnet: Path) -> None:
    before = fingerprint(str(folder))
    assert before == fingerprint(str(resnet))
    (folder / "README.md").write_text("a card")
    (folder / "card.json").write_text("{}")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x.json").write_text("{}")
    assert fingerprint(str(folder)) == before
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    assert fingerprint(str(folder)) != before


def test_a_renamed_file_is_another_model(folder: Path) -> None:
    before = fingerprint(str(folder))
    (folder / "config.json").rename(folder / "konfig.json")
    assert fingerprint(str(folder)) != before


def test_big_files_are_hashed_once(folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(str(folder))
    assert (home / "cache" / "driftloop" / "weights.json").is_file()
    monkeypatch.setattr("driftloop.core.weights._file_hash", lambda path: pytest.fail(f"{path} was read again"))
    assert fingerprint(str(folder)) == before


@pytest.mark.parametrize("broken", ["[1, 2", "[]", '{"a": 1}'])
def test_a_broken_cache_costs_only_time(folder: Path, home: Path, broken: str) -> None:
    before = fingerprint(str(folder))
    (home / "cache" / "driftloop" / "weights.json").write_text(broken)
    assert fingerprint(str(folder)) == before


def test_no_cache_folder_costs_only_time(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(str(folder))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert fingerprint(str(folder)) == before


def test_a_folder_that_is_not_there_or_holds_no_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        fingerprint(str(tmp_path / "nothing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="holds no weights"):
        fingerprint(str(tmp_path / "empty"))
    with pytest.raises(ModelError, match='no built-in model "nobody"'):
        fingerprint("builtin:nobody")


def test_a_commit_is_its_own_identity() -> None:
    assert fingerprint("owner/pinned", COMMIT) == COMMIT
    assert locate("owner/pinned", COMMIT) == ("owner/pinned", COMMIT)


def test_a_branch_is_looked_up_in_the_local_cache(hub: Path) -> None:
    place = hub / "models--owner--cached"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT)
    (place / "snapshots" / COMMIT).mkdir(parents=True)
    assert fingerprint("owner/cached") == COMMIT
    assert locate("owner/cached") == ("owner/cached", COMMIT)


def test_a_model_that_cannot_be_resolved_says_how_to_get_it(hub: Path) -> None:
    with pytest.raises(ModelError, match=r'"owner/unknown" \(revision main\).*HF_HUB_OFFLINE is set.*stages=\[fetch\]'):
        fingerprint("owner/unknown")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "unet.ckpt", "weights.pkl"])
def test_a_pickle_checkpoint_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"")
    check_safe(folder)  # beside safetensors nobody loads it
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=f"{name}.*pickle.*save_pretrained"):
        check_safe(folder)


def test_every_adapter_refuses_pickles_and_code(folder: Path) -> None:
    def refused(word: str) -> None:
        labels = {"Female": "female", "Male": "male"}
        for adapter in (
            DiffusersGenerator(model=str(folder)),
            TransformersCaptioner(model=str(folder)),
            TransformersClassifier(models={"gender": {"model": str(folder), "labels": labels}}),
        ):
            with pytest.raises(ModelError, match=word):
                adapter.load()

    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "own.Model"}}))
    refused("remote_code: true")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused("pickle")


def test_code_is_let_through_when_asked_for(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"auto_map": {"AutoProcessor": "own.Processor"}}')
    with pytest.raises(ModelError, match=r"tokenizer_config\.json"):
        check_safe(folder)
    check_safe(folder, remote_code=True)


def test_a_pipeline_with_a_component_of_its_own_is_refused(stable_diffusion: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(stable_diffusion, tmp_path / "pipeline"))
    check_safe(folder)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "unet": ["my_unet", "MyUNet"]}))
    (folder / "unet" / "my_unet.py").write_text("")
    with pytest.raises(ModelError, match=r"model_index\.json"):
        check_safe(folder)


def test_weights_that_are_missing_are_the_models_fault(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    labels = {"Female": "female", "Male": "male"}
    with pytest.raises(ModelError, match="could not be loaded"):
        TransformersClassifier(models={"gender": {"model": str(folder), "labels": labels}}).load()


def test_importing_and_building_adapters_loads_no_torch() -> None:
    code = (
        "import sys\n"
        "from driftloop.generators.diffusion import DiffusersGenerator as G\n"
        "from driftloop.captioners.vision_language import TransformersCaptioner as C\n"
        "from driftloop.classifiers.image_classification import TransformersClassifier as K\n"
        "from driftloop.locators.whole_image import WholeImage\n"
        "G(model='a/b', guidance=1.0), C(model='a/b'), WholeImage()\n"
        "K(models={'gender': {'model': 'a/b', 'labels': {'x': 'y'}}})\n"
        "assert not {'torch', 'diffusers', 'transformers', 'PIL'} & set(sys.modules), sorted(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
