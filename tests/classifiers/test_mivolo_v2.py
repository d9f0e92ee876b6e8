"""The MiVOLO adapter with a stand-in of the same interface that ships its code with its weights, as the real one does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from driftloop.classifiers.mivolo_v2 import MivoloV2
from driftloop.core.config import Option
from driftloop.core.weights import ModelError

BINS = {"0-39": [0, 40], "40-79": [40, 80], "80+": [80, 123]}
LABELS = {"male": "male", "female": "female"}
CODE = '''
import numpy as np
import torch
from dataclasses import dataclass
from transformers import PretrainedConfig, PreTrainedModel
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature

class StandInConfig(PretrainedConfig):
    model_type = "stand_in_mivolo"
    def __init__(self, **options):
        self.gender_id2label = {0: "male", 1: "female"}
        super().__init__(**options)

class StandInProcessor(BaseImageProcessor):
    model_input_names = ["pixel_values"]
    def __call__(self, images):
        rows = [np.zeros((3, 2, 2)) if one is None else one.mean((0, 1))[:, None, None] * np.ones((3, 2, 2)) for one in images]
        return BatchFeature({"pixel_values": torch.tensor(np.stack(rows), dtype=torch.float32)})

@dataclass
class Found:
    age_output: torch.Tensor
    gender_class_idx: torch.Tensor
    gender_probs: torch.Tensor

class StandIn(PreTrainedModel):
    """Age: a quarter of the first channel (blue, in BGR) of the face, or a half of the body's. Gender: by the last one."""
    config_class = StandInConfig
    def __init__(self, config):
        super().__init__(config)
        self.one = torch.nn.Parameter(torch.ones(1))
        self.post_init()
    def forward(self, faces_input=None, body_input=None):
        seen = faces_input.mean((2, 3)) / 4 + body_input.mean((2, 3)) / 2
        sure = torch.full((len(seen), 1), 0.8)
        return Found(seen[:, :1] * self.one, (seen[:, 2:] > 20).long(), sure)
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from safetensors.torch import save_file

    made = tmp_path_factory.mktemp("mivolo")
    (made / "stand_in.py").write_text(CODE)
    auto = {"AutoConfig": "stand_in.StandInConfig", "AutoModelForImageClassification": "stand_in.StandIn"}
    (made / "config.json").write_text(json.dumps({"model_type": "stand_in_mivolo", "auto_map": auto}))
    processor = {"AutoImageProcessor": "stand_in.StandInProcessor"}
    (made / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": "StandInProcessor", "auto_map": processor})
    )
    save_file({"one": torch.ones(1)}, made / "model.safetensors", metadata={"format": "pt"})
    return made


@pytest.fixture(autouse=True)
def _modules_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The library copies code that it is told to trust; not into the user's cache."""
    import transformers.dynamic_module_utils as dynamic

    monkeypatch.setattr(dynamic, "HF_MODULES_CACHE", str(tmp_path))


def mivolo(model: Path | str, **options: Any) -> MivoloV2:
    given = {"model": str(model), "revision": None, "remote_code": True, "bins": BINS, "labels": LABELS, "device": "cpu"}
    return MivoloV2(**{**given, **options})


def plain(red: int, blue: int) -> Image.Image:
    return Image.new("RGB", (6, 4), (red, 7, blue))


def test_faces_go_in_as_bgr_and_come_out_as_years_and_gender(folder: Path) -> None:
    shown = [plain(red=200, blue=100), plain(red=0, blue=200), plain(red=4, blue=0)]
    instrument = mivolo(folder)
    assert instrument.categories == {"gender": ("male", "female"), "age": tuple(BINS)}
    readings = instrument.read(shown)
    assert [(row[1].years, row[1].label) for row in readings] == [(25.0, "0-39"), (50.0, "40-79"), (0.0, "0-39")]
    assert [row[0].label for row in readings] == ["female", "male", "male"]
    assert readings[0][0].probabilities == pytest.approx((0.2, 0.8))
    assert readings[1][0].probabilities == pytest.approx((0.8, 0.2))
    assert instrument.read([]) == []
    assert instrument.read(shown[::-1]) == readings[::-1]


def test_bodies_go_in_at_the_other_door_and_thresholds_abstain(folder: Path) -> None:
    (row,) = mivolo(folder, shows="body", threshold=0.9).read([plain(red=200, blue=200)])
    assert (row[1].years, row[1].label) == (100.0, "80+")
    assert row[0].status == "low_confidence"


def test_a_label_map_that_does_not_fit_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"has \['female', 'male'\], the map \['F', 'M'\]"):
        mivolo(folder, labels={"F": "female", "M": "male"}).load()


@pytest.mark.parametrize("asked", [False, None, "yes", 1])
def test_its_code_does_not_run_unasked(folder: Path, asked: Any) -> None:
    with pytest.raises(ModelError, match="remote_code=true"):
        mivolo(folder, remote_code=asked)


@pytest.mark.parametrize("revision", [None, "main", "4eb4bb9"])
def test_from_a_hub_only_a_full_commit_will_do(revision: str | None) -> None:
    with pytest.raises(ModelError, match="full commit"):
        mivolo("iitolstykh/mivolo_v2", revision=revision)
    mivolo("iitolstykh/mivolo_v2", revision="a" * 40)


def test_code_and_weights_are_the_identity(folder: Path, tmp_path: Path) -> None:
    def identity(model: Path) -> Any:
        call = {"_target_": "driftloop.classifiers.mivolo_v2.MivoloV2", "model": str(model), "revision": None}
        return Option("m", {**call, "remote_code": True, "bins": BINS, "labels": LABELS}).identity()

    other = tmp_path / "other"
    other.mkdir()
    for file in folder.iterdir():
        if file.is_file():
            (other / file.name).write_bytes(file.read_bytes())
    assert identity(folder) == identity(other)
    (other / "stand_in.py").write_text(CODE.replace("> 20", "> 21"))
    assert identity(folder) != identity(other)
    assert np.isfinite(mivolo(folder).read([plain(1, 1)])[0][1].years or np.nan)
