"""Every committed experiment is played, its models swapped for toys of the same family, its data for a tree of the format."""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from comparing import check_whole
from driftloop.cli import CONF
from driftloop.run import build_all
from driftloop.runs import Run
from playing import composed, played

FOLDER = Path(CONF) / "experiment"
EXPERIMENTS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
STUDIES = [name for name in EXPERIMENTS if name.startswith(("raf_db", "phase", "prompts"))]
FAMILIES = {"sd35_large": "sd3", "sdxl_turbo": "sdxl", "flux1_dev": "flux_dev"}
CAPTIONERS = {"llava_next": "llava_next", "blip_large": "blip", "qwen3_vl_8b": "qwen3_vl"}
SMALL = ("dtype=float32", "device=cpu", "pad_to=1", "batch_size=3")
GENDERS = ("Female", "Male")
AGES = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")


def first_line(name: str) -> str:
    lines = (FOLDER / f"{name}.yaml").read_text().splitlines()
    return next(line for line in lines if not line.startswith("# @package"))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_chooses_options_and_extent_and_nothing_else(name: str) -> None:
    """Values that belong to an option stand in its yaml; what a data set is asked for is the one exception."""
    body = yaml.safe_load((FOLDER / f"{name}.yaml").read_text()) or {}
    groups = {path.name for path in Path(CONF).iterdir() if path.is_dir()}
    assert set(body) & groups <= {"dataset"}
    assert set(body.get("dataset", {})) <= {"concept_kind", "limit", "limit_per_concept"}


@pytest.mark.parametrize("name", STUDIES)
def test_an_experiment_says_its_exact_command(name: str) -> None:
    command = re.search(r": (driftloop .*)$", first_line(name))
    assert command is not None
    words = shlex.split(command[1])[1:]
    assert words[0] == f"experiment={name}"
    asked = composed(*words)
    assert asked.name == name
    assert asked.stages == composed().stages


def test_the_published_study_is_one_round_at_its_settings() -> None:
    names = ("raf_db_sd35_llava", "phase_emotions_sd35_llava", "phase_activities_sd35_llava")
    for name in names:
        once, ten = composed(f"experiment={name}", "dataset.root=x"), composed(f"experiment={name}_10", "dataset.root=x")
        assert (once.rounds, ten.rounds) == (1, 10)
        assert once.generator.call == ten.generator.call
        assert once.dataset.call == ten.dataset.call
        generator, captioner = once.generator.call, once.captioner.call
        assert generator["model"] == "stabilityai/stable-diffusion-3.5-large"
        assert (generator["steps"], generator["size"], generator["dtype"]) == (28, 768, "float16")
        assert captioner["model"] == "llava-hf/llava-v1.6-mistral-7b-hf"
        assert (captioner["max_new_tokens"], captioner["dtype"]) == (77, "float16")
        assert [option.name for option in once.classifiers] == ["vit_age_gender"]
    kinds = [composed(f"experiment={name}", "dataset.root=x").dataset.call.get("concept_kind") for name in names[1:]]
    assert kinds == ["emotion", "activity"]


def test_a_control_arm_differs_from_its_study_in_one_thing() -> None:
    study = composed("experiment=raf_db_sd35_llava_10", "dataset.root=x")
    given = {"human": ("captioner.captions_file=x",), "autoencoder": ("generator.model=x",)}
    changed = {}
    for name in [name for name in STUDIES if "control" in name]:
        kind = name.removeprefix("raf_db_control_")
        arm = composed(f"experiment={name}", "dataset.root=x", *given.get(kind, ()))
        parts = ("dataset", "generator", "captioner", "mitigations", "classifiers", "locator", "arm")
        changed[kind] = [part for part in parts if getattr(arm, part) != getattr(study, part)]
    assert changed == {
        "prior": ["mitigations"], "no_loop": ["mitigations"], "words": ["mitigations"], "human": ["captioner"],
        "autoencoder": ["generator"], "twin": ["arm"],
    }  # fmt: skip


# Played --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family's toy, written once: generators, captioners, `gender`, `age` and `faces`."""
    return cache(lambda name: _written(name, tmp_path_factory.mktemp(name)))


def _written(name: str, folder: Path) -> Path:
    from matrix import toy_captioners, toy_generators

    if name in FAMILIES.values():
        return toy_generators.saved(name, folder)
    if name in CAPTIONERS.values():
        return toy_captioners.saved(getattr(toy_captioners, name), folder)
    return _reader(AGES if name == "age" else GENDERS, folder)


def _reader(labels: tuple[str, ...], folder: Path) -> Path:
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    names = dict(enumerate(labels))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(11)
        network = ViTForImageClassification(ViTConfig(
            hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8,
            id2label=names, label2id={label: number for number, label in names.items()},
        ))  # fmt: skip
    network.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """A data set of each format, of the built-in persons."""
    from driftloop.datasets.phantom import PhantomDataset
    from driftloop.phantom import export

    folder = tmp_path_factory.mktemp("trees")
    export.raf_db(PhantomDataset(n=8, concept_kind="emotion").load(), folder / "raf", "basic")
    export.phase(PhantomDataset(n=8).load(), folder / "phase")
    (folder / "prompts.txt").write_text("a photo of a person reading\na photo of a happy person\n")
    return {
        "raf_db": f"dataset.root={folder / 'raf'}",
        "phase": f"dataset.root={folder / 'phase'}",
        "prompts": f"dataset.file={folder / 'prompts.txt'}",
    }


def swapped(name: str, toys: Callable[[str], Path], trees: Mapping[str, str], captions: Path) -> list[str]:
    """The words that put toys into an experiment; everything else stays as it is committed."""
    study = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    words = [f"experiment={name}", trees[next(kind for kind in trees if name.startswith(kind))]]
    chosen = dict(pair for parent in _lineage(name) for pair in _choices(parent))
    generator, captioner = chosen["generator"], chosen["captioner"]
    words += [f"generator.model={toys(FAMILIES.get(generator, 'sd3'))}", "generator.dtype=float32", "generator.size=16"]
    words += [f"generator.{word}" for word in SMALL[1:]]
    words += ["generator.steps=2"] if generator in FAMILIES else []
    words += ["generator.variant=null"] if generator == "sdxl_turbo" else []
    if captioner in CAPTIONERS:
        words += [f"captioner.model={toys(CAPTIONERS[captioner])}", "captioner.max_new_tokens=6"]
        words += [f"captioner.{word}" for word in SMALL]
    else:
        words.append(f"captioner.captions_file={captions}")
    for attribute in ("gender", "age"):
        words += [
            f"classifier.vit_age_gender.models.{attribute}.{key}" for key in (f"model={toys(attribute)}", "revision=null")
        ]
    rounds = min(2, study.get("rounds", 2))
    return [*words, "locator=whole_image", "dataset.limit=2", f"rounds={rounds}", "on_failure.max_share=1"]


def _lineage(name: str) -> list[str]:
    """The experiments that one is made of, the oldest first."""
    body = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    parents = [entry for entry in body["defaults"] if isinstance(entry, str) and entry != "_self_"]
    return [*(older for parent in parents for older in _lineage(parent)), name]


def _choices(name: str) -> list[tuple[str, str]]:
    body = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    entries = [entry for entry in body["defaults"] if isinstance(entry, dict)]
    return [(key.removeprefix("override /"), value) for entry in entries for key, value in entry.items()]


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_every_study_plays_with_toys_of_its_families(
    name: str, toys: Callable[[str], Path], trees: Mapping[str, str], tmp_path: Path
) -> None:
    captions = tmp_path / "captions.csv"
    _write_captions(captions, trees["raf_db"])
    words = swapped(name, toys, trees, captions)
    asked = composed(*words, f"results_dir={tmp_path / 'results'}", "analysis.resamples=100")
    run = played(asked)
    check_whole(run, 2, asked.rounds)
    _check(run, name)
    assert run.store.folder.joinpath("report/index.html").exists()


def _check(run: Run, name: str) -> None:
    assert (run.rounds["status"] == "ok").mean() > 0.4 or "human" in name  # toys may fall silent, and people wrote one round
    assert run.rounds.loc[run.rounds["round"] == 0, "status"].eq("ok").all()
    made = run.rounds[(run.rounds["round"] > 0) & (run.rounds["status"] == "ok")]
    for key in made["image"]:
        assert min(run.image(key).size) >= 16
    assert set(run.readings["attribute"]) == {"gender", "age"}
    assert (run.readings["status"] == "ok").all()


def _write_captions(file: Path, root: str) -> None:
    from driftloop.core.packs import pixel_hash

    seeds = composed("dataset=raf_db", root, "experiment=none").source.load()
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image_sha256", "caption"])
        writer.writerows(
            [pixel_hash(seed.picture().convert("RGB")), f"a person, {seed.concept}"] for seed in seeds if seed.picture
        )


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name not in STUDIES])
def test_every_other_experiment_builds(name: str) -> None:
    asked: Any = composed(f"experiment={name}")
    assert asked.name == name
    build_all(asked)
