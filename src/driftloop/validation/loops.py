"""Three ways to play the same planted loop: bare draws, through text, and the whole run with images and files.

Each gives readings (seeds, replicates, rounds + 1, attributes): the number of the category, -1 where the classifier
abstained. Bare draws are written from the planted rules alone and share nothing with the exact models or the closed
form. Text goes through the real captioner, grammar, generator's completion, mitigation and classifier; only the
drawing is skipped: a picture is one row of noise that carries the stamp. Play itself gives the same people for the same
root seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from driftloop.core.config import Option
from driftloop.core.experiment import Experiment
from driftloop.core.records import Chain, Context, Picture, Reading, Seed
from driftloop.core.rng import derive, generator
from driftloop.core.watch import Watch
from driftloop.datasets.phantom import PhantomDataset
from driftloop.engines.local import Local
from driftloop.mitigations.drop_words import DropWords
from driftloop.phantom.exact import ExactCaptioner, ExactClassifier
from driftloop.phantom.grammar import parse
from driftloop.phantom.planted import Group, planted_confusion, planted_rates
from driftloop.phantom.render import stamp
from driftloop.phantom.truth import STATES
from driftloop.phantom.world import CATEGORIES, PRIOR_AGE, PRIOR_GENDER, SEED_AGE, SEED_GENDER, Person, complete
from driftloop.stages.analyse import analyse
from driftloop.stages.play import Players
from driftloop.statistics.panel import Bools, Floats, Ints
from driftloop.validation.setting import ATTRIBUTES, CONCEPTS, Setting

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image

NUMBER = {state: number for number, state in enumerate(STATES)}
PRIORS = {
    "gender": np.array([(PRIOR_GENDER[name], 1 - PRIOR_GENDER[name]) for name in CATEGORIES["activity"]]),
    "age": np.array([PRIOR_AGE[name] for name in CATEGORIES["emotion"]]),
}
"""Attribute -> its distribution given each concept it depends on."""
PICTURE = (1, 32)
"""Height and width of the smallest picture that holds a stamp."""


@dataclass(frozen=True)
class Played:
    """`readings` (seeds, replicates, rounds + 1, attributes) and the state number that each seed started in, (seeds,)."""

    readings: Ints
    starts: Ints


# Bare draws


def bare(setting: Setting, seeds: int, replicates: int, rounds: int, draw: np.random.Generator) -> Played:
    """The planted rules with numpy alone: who is silent is drawn from the prior, everybody else stays who they are."""
    activity, emotion = np.arange(seeds) % len(CONCEPTS), draw.integers(len(CATEGORIES["emotion"]), size=seeds)
    gender, age = draw.choice(2, seeds, p=SEED_GENDER), draw.choice(5, seeds, p=SEED_AGE)
    starts = np.ravel_multi_index((gender, age, emotion, activity), tuple(map(len, CATEGORIES.values())))
    first = np.stack([gender, age], axis=1)
    read = np.repeat(_read(setting, "seed", first, draw)[:, None], replicates, axis=1)
    people, found = np.repeat(first[:, None], replicates, axis=1), [read]
    prior = {"gender": PRIORS["gender"][activity], "age": PRIORS["age"][emotion]}
    for _ in range(rounds):
        anew = np.stack([_drawn(prior[name][:, None], draw, people.shape[:2]) for name in ATTRIBUTES], axis=2)
        people = np.where(draw.random(people.shape) < setting.omission, anew, people)
        found.append(_read(setting, "generated", people, draw))
    return Played(np.stack(found, axis=2), starts)


def _drawn(rows: Floats, draw: np.random.Generator, shape: tuple[int, ...]) -> Ints:
    """Categories drawn from distributions `rows` (..., K)."""
    return np.asarray((draw.random((*shape, 1)) >= np.cumsum(rows, axis=-1)[..., :-1]).sum(axis=-1), np.intp)


def _read(setting: Setting, origin: str, people: Ints, draw: np.random.Generator) -> Ints:
    """What the classifier says of people (..., attributes)."""
    confusion = planted_confusion(setting.confusion, "confusion")
    abstention = planted_rates(setting.abstention, ATTRIBUTES, "abstention")
    said = []
    for column, name in enumerate(ATTRIBUTES):
        rows = _by_gender(confusion[name], origin)[people[..., 0], people[..., column]]
        unread: Bools = draw.random(people.shape[:-1]) < _by_gender(abstention[name], origin)[people[..., 0]]
        said.append(np.where(unread, -1, _drawn(rows, draw, people.shape[:-1])))
    return np.stack(said, axis=-1)


def _by_gender(table: Mapping[Group, Any], origin: str) -> Floats:
    return np.array([table[origin, gender] for gender in CATEGORIES["gender"]], float)


# Through text


class Unpainted:
    """The exact generator without the drawing: parses, completes from the prior, stamps a row of noise."""

    def generate(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Picture]:
        people = [complete(parse(caption), seed) for caption, seed in zip(captions, seeds, strict=True)]
        return [Picture(_noise(person, seed, generated=True)) for person, seed in zip(people, seeds, strict=True)]


def _noise(person: Person, seed: int, *, generated: bool) -> Image:
    from PIL import Image

    pixels = generator(derive(seed, "noise")).integers(0, 256, (*PICTURE, 3), np.uint8)
    return stamp(Image.fromarray(pixels), person, generated)


def text(readers: Sequence[Setting], seeds: Sequence[Seed], replicates: int, rounds: int, root_seed: int) -> list[Played]:
    """Describe and generate in turn, each item with the random numbers that Play would give it.

    The same pictures are read as each of `readers` says, settings that differ in their classifier alone.
    """
    chains = [Chain(seed, replicate) for seed in seeds for replicate in range(replicates)]
    players = Players(generator=Unpainted(), captioner=captioner(readers[0]), mitigations=mitigations(readers[0]))
    pictures = [_noise(Person(**chain.seed.labels), derive(root_seed, chain.seed.seed_id), generated=False) for chain in chains]
    shown = [pictures]
    for number in range(1, rounds + 1):
        captions = players.describe(pictures, [_context(chain, number - 1, root_seed) for chain in chains])
        made = players.generate([said.text for said in captions], [_context(chain, number, root_seed) for chain in chains])
        pictures = [picture.image for picture in made]
        shown.append(pictures)
    shape = (len(seeds), replicates, rounds + 1, len(ATTRIBUTES))
    starts = np.array([_start(seed.labels) for seed in seeds])
    return [Played(_read_off(reader, shown).reshape(shape), starts) for reader in readers]


def _read_off(setting: Setting, shown: Sequence[Sequence[Image]]) -> Ints:
    """What the classifier says of the pictures of each round, (chains, rounds + 1, attributes)."""
    classifier = ExactClassifier(ATTRIBUTES, setting.confusion, setting.abstention)
    return np.stack([_codes(classifier.read(pictures)) for pictures in shown], axis=1)


def captioner(setting: Setting) -> ExactCaptioner:
    return ExactCaptioner(0.0 if setting.dropped else setting.omission)


def mitigations(setting: Setting) -> list[Any]:
    return [DropWords(probability=setting.omission)] if setting.dropped else []


def _context(chain: Chain, number: int, root_seed: int) -> Context:
    draw: Callable[[str], int] = partial(derive, root_seed, chain.seed.seed_id, chain.replicate, number, 0)
    return Context(chain=chain, round=number, first_caption=None, draw=draw)


def _start(labels: Mapping[str, str]) -> int:
    return NUMBER[tuple(labels[name] for name in CATEGORIES)]


def _codes(readings: Sequence[Sequence[Reading]]) -> Ints:
    return np.array([[_code(reading) for reading in found] for found in readings])


def _code(reading: Reading) -> int:
    return -1 if reading.label is None else CATEGORIES[reading.attribute].index(reading.label)


def seeds_of(n: int, root_seed: int) -> list[Seed]:
    """Seeds drawn anew from the planted composition."""
    return PhantomDataset(n=n, root_seed=root_seed).load()


# The whole run


def images(setting: Setting, n: int, replicates: int, rounds: int, root_seed: int, folder: Path) -> tuple[Played, pd.DataFrame]:
    """Play, measure and analyse with rendered images and a run folder; also gives the table analysis/drift.parquet."""
    asked = asked_for(setting, n, replicates, rounds, root_seed, folder)
    store = asked.store()
    store.claim(asked.identity, asked.names, asked.config)
    engine = Local()
    engine.play(asked, store, Watch())
    engine.measure(asked, store, Watch())
    analyse(asked, store, Watch())
    seeds = store.seeds().set_index("seed_id").sort_index()
    labels = [{name: row[f"label_{name}"] for name in CATEGORIES} for row in seeds.to_dict("records")]
    read = _dense(store.readings(asked.instruments()[0][0]), (n, replicates, rounds + 1, len(ATTRIBUTES)))
    return Played(read, np.array([_start(row) for row in labels])), store.read_table("analysis/drift.parquet")


def asked_for(setting: Setting, n: int, replicates: int, rounds: int, root_seed: int, folder: Path) -> Experiment:
    """The experiment as the command would compose it."""
    reader = {"confusion": setting.confusion, "abstention": setting.abstention}
    drops = {"_target_": "driftloop.mitigations.drop_words.DropWords", "probability": setting.omission}
    return Experiment(
        name="validate_loop",
        dataset=Option("phantom", {"_target_": "driftloop.datasets.phantom.PhantomDataset", "n": n, "root_seed": root_seed}),
        generator=Option("exact", {"_target_": "driftloop.phantom.exact.ExactGenerator"}),
        captioner=Option(
            "exact",
            {"_target_": "driftloop.phantom.exact.ExactCaptioner", "omission": 0.0 if setting.dropped else setting.omission},
        ),
        locator=Option("whole_image", {"_target_": "driftloop.locators.whole_image.WholeImage"}),
        engine=Option("local", {"_target_": "driftloop.engines.local.Local"}),
        mitigations=[Option("drop_words", drops)] if setting.dropped else [],
        classifiers=[Option("exact", {"_target_": "driftloop.phantom.exact.ExactClassifier", **reader})],
        rounds=rounds,
        replicates=replicates,
        root_seed=root_seed,
        resamples=100,
        results_dir=folder,
    )


def _dense(readings: pd.DataFrame, shape: tuple[int, ...]) -> Ints:
    """Tidy readings as (seeds in order of their names, replicates, rounds, attributes)."""
    ordered = readings.assign(at=readings["attribute"].map({name: i for i, name in enumerate(ATTRIBUTES)}))
    ordered = ordered.sort_values(["seed_id", "replicate", "round", "at"])
    labels = zip(ordered["attribute"], ordered["label"].astype(object), ordered["status"], strict=True)
    codes = [CATEGORIES[name].index(label) if status == "ok" else -1 for name, label, status in labels]
    return np.array(codes).reshape(shape)
