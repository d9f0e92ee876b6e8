"""What options name, which files of a checkpoint are needed, what is here, and what it takes in memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from driftloop.core.errors import DriftloopError
from driftloop.core.inventory import Weight, here, licence, memory, needed, weights_in
from driftloop.core.weights import MissingModelError, check_fetched, locate

COMMIT = "0123456789abcdef0123456789abcdef01234567"

STABLE_DIFFUSION_3 = [
    "README.md", "LICENSE.md", "model_index.json", "sd3.5_large.safetensors", "mmdit.png", ".gitattributes",
    "scheduler/scheduler_config.json", "text_encoder/config.json", "text_encoder/model.safetensors",
    "text_encoder/model.fp16.safetensors", "text_encoder_3/config.json", "text_encoder_3/model-00001-of-00002.safetensors",
    "text_encoder_3/model-00002-of-00002.safetensors", "text_encoder_3/model.safetensors.index.json",
    "text_encoder_3/model.fp16-00001-of-00002.safetensors", "text_encoder_3/model.fp16-00002-of-00002.safetensors",
    "text_encoder_3/model.safetensors.index.fp16.json", "text_encoders/clip_g.safetensors",
    "text_encoders/t5xxl_fp16.safetensors", "tokenizer/vocab.json", "tokenizer/merges.txt", "transformer/config.json",
    "transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
    "transformer/diffusion_pytorch_model-00002-of-00002.safetensors", "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.bin",
]  # fmt: skip


def weights(names: Sequence[str]) -> list[str]:
    return [name for name in names if name.endswith(".safetensors")]


def test_every_checkpoint_an_option_names_is_found_with_how_it_is_loaded() -> None:
    call = {
        "_target_": "x.Y", "model": "a/pipeline", "variant": "fp16", "dtype": "float16", "device": "cuda:1", "revision": None,
        "parts": {"unet": {"model": "b/unet", "revision": "v2", "file": "unet.safetensors"}, "vae": {"model": "c/vae"}},
        "judges": [{"models": {"gender": {"model": "d/vit"}}, "dtype": "float32"}], "served_model": "e/other",
    }  # fmt: skip
    assert list(weights_in(call)) == [
        Weight("a/pipeline", variant="fp16", without=("unet", "vae"), dtype="float16", device="cuda:1"),
        Weight("b/unet", "v2", file="unet.safetensors", dtype="float16", device="cuda:1"),
        Weight("c/vae", dtype="float16", device="cuda:1"),
        Weight("d/vit", dtype="float32", device="cuda:1"),
    ]


def test_of_a_pipeline_one_set_a_component_and_nothing_for_other_programs() -> None:
    found = needed(STABLE_DIFFUSION_3, Weight("a/b"))
    assert weights(found) == [
        "text_encoder/model.safetensors", "text_encoder_3/model-00001-of-00002.safetensors",
        "text_encoder_3/model-00002-of-00002.safetensors", "transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
        "transformer/diffusion_pytorch_model-00002-of-00002.safetensors", "vae/diffusion_pytorch_model.safetensors",
    ]  # fmt: skip
    small = set(found) - set(weights(found))
    assert {"model_index.json", "tokenizer/merges.txt", "README.md", "scheduler/scheduler_config.json"} <= small
    assert not {"mmdit.png", ".gitattributes", "vae/diffusion_pytorch_model.bin"} & small


def test_a_variant_stands_in_where_there_is_one() -> None:
    found = weights(needed(STABLE_DIFFUSION_3, Weight("a/b", variant="fp16")))
    assert "text_encoder/model.fp16.safetensors" in found
    assert "text_encoder/model.safetensors" not in found
    assert "text_encoder_3/model.fp16-00002-of-00002.safetensors" in found
    assert "vae/diffusion_pytorch_model.safetensors" in found  # it has no other
    assert len(found) == 6


def test_a_component_from_elsewhere_is_not_brought_twice() -> None:
    found = needed(STABLE_DIFFUSION_3, Weight("a/b", without=("transformer",)))
    assert not [name for name in weights(found) if name.startswith("transformer/")]
    assert "transformer/config.json" in found


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["config.json", "model.safetensors", "pytorch_model.bin", "onnx/model.safetensors"], ["model.safetensors"]),
        (["config.json", "consolidated.safetensors", "model-00001-of-00001.safetensors"], ["model-00001-of-00001.safetensors"]),
        (["config.json", "model.safetensors", "model-00001-of-00002.safetensors"], ["model.safetensors"]),
        (["config.json", "own_name.safetensors"], ["own_name.safetensors"]),
        (["config.json", "pytorch_model.bin"], []),
    ],
)
def test_of_a_single_model_the_weights_beside_its_config(names: list[str], chosen: list[str]) -> None:
    assert weights(needed(names, Weight("a/b"))) == chosen


def test_one_file_is_one_file() -> None:
    assert needed(["a.safetensors", "b.safetensors", "README.md"], Weight("a/b", file="b.safetensors")) == ["b.safetensors"]


def test_code_is_brought_only_where_it_may_run() -> None:
    names = ["config.json", "modeling_own.py", "model.safetensors"]
    assert "modeling_own.py" not in needed(names, Weight("a/b"))
    assert "modeling_own.py" in needed(names, Weight("a/b", remote_code=True))


@pytest.mark.parametrize(("dtype", "each"), [("float32", 4), ("float16", 2)])
def test_memory_is_what_torch_holds(dtype: str, each: int) -> None:
    import torch
    from transformers import AutoModelForImageClassification

    found = here(Weight("builtin:gender"))
    assert found is not None
    place, _ = locate("builtin:gender")
    network = AutoModelForImageClassification.from_pretrained(place, dtype=getattr(torch, dtype))
    parts = [*network.parameters(), *network.buffers()]
    floats = sum(part.numel() for part in parts if part.is_floating_point()) * each
    others = sum(part.numel() * part.element_size() for part in parts if not part.is_floating_point())
    assert memory(found, dtype) == floats + others


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache with one checkpoint of two shards, and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = tmp_path / "models--toy--gender"
    snapshot = folder / "snapshots" / COMMIT
    shutil.copytree(locate("builtin:gender")[0], snapshot)
    (snapshot / "model.safetensors").rename(snapshot / "model-00001-of-00002.safetensors")
    (snapshot / "model-00002-of-00002.safetensors").write_bytes(b"")
    (folder / "refs").mkdir()
    (folder / "refs/main").write_text(COMMIT)
    return snapshot


def test_a_checkpoint_is_here_when_all_its_shards_are(hub: Path) -> None:
    found = here(Weight("toy/gender"))
    assert found is not None
    assert found.commit == COMMIT
    assert here(Weight("toy/gender", COMMIT)) == found
    assert here(Weight("toy/gender", "other")) is None
    (hub / "model-00002-of-00002.safetensors").unlink()
    assert here(Weight("toy/gender")) is None
    with pytest.raises(MissingModelError, match=r'"toy/gender" \(revision main\).*as a whole.*stages=\[fetch\]'):
        check_fetched("toy/gender", None, whole=False)


def test_a_pipeline_is_here_when_every_component_has_weights(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(locate("builtin:generator")[0], tmp_path / "pipeline"))
    assert here(Weight(str(folder))) is not None
    (folder / "vae/diffusion_pytorch_model.safetensors").unlink()
    assert here(Weight(str(folder))) is None
    assert here(Weight(str(folder), without=("vae",))) is not None


def test_a_folder_that_is_nowhere_says_so(tmp_path: Path) -> None:
    with pytest.raises(DriftloopError, match="does not exist"):
        here(Weight(str(tmp_path / "nothing")))


@pytest.mark.parametrize(
    ("card", "told"),
    [("---\nlicense: mit\ntags: [a]\n---\nlicense: gpl", "mit"),
     ("---\nlicense: other\nlicense_name: own-terms\n---", "own-terms"), ("no metadata\nlicense: mit", ""), (None, "")],
)  # fmt: skip
def test_the_licence_is_what_the_card_says(tmp_path: Path, card: str | None, told: str) -> None:
    (tmp_path / "card.md").write_text("ours, without metadata")
    (tmp_path / "config.json").write_text(json.dumps({"license": "none of these"}))
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    assert licence(tmp_path) == told
