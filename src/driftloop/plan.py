"""What a study would cost, before it costs it: weights, memory, pictures, disk, time, work left, and what is missing.

Nothing is written, nothing fetched, no server is asked for a picture or a caption. The one thing that is spent is a short
calibration: where the checkpoints of a stage are here, one batch is timed. It is left out on a processor for models too
large for one, and where the run has rows of its own to tell the time from.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftloop.core.config import Option
from driftloop.core.counterfactuals import most_versions
from driftloop.core.errors import DriftloopError
from driftloop.core.experiment import Experiment
from driftloop.core.inventory import Weight, here, licence, memory, weights_in
from driftloop.core.packs import encode
from driftloop.core.placement import OURS, WORKING, fits, free_memory, needs
from driftloop.core.records import Seed, chain_key
from driftloop.core.store import Store
from driftloop.core.weights import BUILTIN
from driftloop.run import build_all, console
from driftloop.stages.fetch import offered
from driftloop.stages.probe import captions_of, drawings, place_of, probed_seeds

if TYPE_CHECKING:
    from PIL.Image import Image

TOO_LARGE = 2 * 2**30  # bytes of weights that a processor is not asked to run for a mere plan
SAMPLED = 3  # seeds whose pictures are encoded to see what they take
PIXEL_BYTES = 1.6  # of a photograph as our lossless files, where no picture is at hand
CAPTION = "a photo of a person who reads a book at a kitchen table"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint and who needs it. `bytes` on disk (or at the hub), `memory` once loaded; None where nobody knows."""

    who: str
    weight: Weight
    commit: str = ""
    bytes: int | None = None
    memory: int | None = None
    licence: str = ""
    here: bool = False


@dataclass(frozen=True, slots=True)
class Work:
    """What is left of one stage. `seconds` is for all that is left, None where it cannot be known; `origin` says whence."""

    stage: str
    whole: int
    done: int
    seconds: float | None = None
    origin: str = ""

    @property
    def left(self) -> int:
        return max(0, self.whole - self.done)


@dataclass(slots=True)
class Plan:
    """Everything that `plan=true` says."""

    where: str
    chains: int | None = None
    rounds: int = 0
    checkpoints: list[Checkpoint] = field(default_factory=list)
    memory: list[str] = field(default_factory=list)
    work: list[Work] = field(default_factory=list)
    pictures: int | None = None
    disk: float | None = None
    free: int = 0
    missing: list[str] = field(default_factory=list)


def plan(experiment: Experiment) -> None:
    """Says it all on the terminal."""
    show(planned(experiment))


def planned(experiment: Experiment) -> Plan:
    """Looks at what is here. What is wrong is listed, not raised, so that everything else can be told."""
    build_all(experiment)
    said = Plan(where=str(experiment.results_dir), rounds=experiment.rounds, free=_free(experiment.results_dir))
    said.checkpoints = [_checkpoint(who, weight, said.missing) for who, weight in experiment.weights()]
    said.missing += _to_fetch(said.checkpoints)
    seeds = _told(lambda: experiment.seeds, said.missing)
    store = _told(experiment.store, said.missing)
    if seeds is not None:
        said.chains = len(seeds) * experiment.replicates
        said.pictures = said.chains * experiment.rounds
        if store is not None:
            said.where = str(store.folder)
            _fill(said, experiment, store, seeds)
    said.memory = list(_memory(experiment))
    return said


def _told(call: Callable[[], Any], missing: list[str]) -> Any:
    try:
        return call()
    except DriftloopError as error:
        if str(error) not in missing:
            missing.append(str(error))
        return None


# Checkpoints and memory ----------------------------------------------------------------------------------------------


def _checkpoint(who: str, weight: Weight, missing: list[str]) -> Checkpoint:
    found = _told(lambda: here(weight), missing)
    if found is not None:
        card = "with driftloop" if weight.model.startswith(BUILTIN) else licence(found.folder)
        return Checkpoint(who, weight, found.commit or "", found.bytes, memory(found, weight.dtype), card, here=True)
    offer = _told(lambda: offered(weight), []) if not weight.model.startswith((BUILTIN, "/", ".", "~")) else None
    if offer is None:
        return Checkpoint(who, weight)
    return Checkpoint(who, weight, offer.commit, sum(offer.files.values()))


def _to_fetch(checkpoints: Sequence[Checkpoint]) -> Iterator[str]:
    absent = {one.weight.model: one.bytes for one in checkpoints if not one.here}
    if absent:
        known = sum(size or 0 for size in absent.values())
        size = f" ({_size(known)})" if known else ""
        yield f"checkpoints that are not here: {', '.join(absent)}{size}. The same command with 'stages=[fetch]' brings them."


def _memory(experiment: Experiment) -> Iterator[str]:
    """What each placement takes on which device."""
    calls = [option.call for option in (experiment.generator, experiment.captioner, *experiment.mitigations)]
    weights = list(weights_in(calls))
    if not all(_told(partial(here, weight), []) for weight in weights):
        yield "known once all checkpoints of generator and captioner are here"
        return
    if not weights:
        return
    each = [sum(needs([call]).values()) for call in calls]
    others = sum(each[2:])
    yield f"resident: {_size(sum(each))}; swap: {_size(max(each[:2]) + others)}, weights and {WORKING:.0%} to work with"
    for device in sorted({device for call in calls for device in needs([call])}):
        name, room = free_memory(device)
        if room is not None:
            yield f"{name} has {_size(room)} free, of which placement=auto fills {OURS:.0%}"
    yield f"placement={experiment.placement}" + (f": {_auto(calls)}" if experiment.placement == "auto" else "")


def _auto(calls: Sequence[Any]) -> str:
    return "resident" if fits(needs(calls), free_memory) else "swap"


# Work, time and disk -------------------------------------------------------------------------------------------------


def _fill(said: Plan, experiment: Experiment, store: Store, seeds: Sequence[Seed]) -> None:
    chains = [chain_key(seed.seed_id, number) for seed in seeds for number in range(experiment.replicates)]
    pictures = _samples(seeds)
    said.work = list(_work(experiment, store, chains, pictures))
    new = sum(work.left for work in said.work if work.stage in ("generate", "probe"))
    size = _picture_bytes(store, experiment, pictures)
    said.disk = None if size is None else new * size + _seed_bytes(store, seeds, pictures)
    if said.disk is not None and said.disk > said.free:
        said.missing.append(f"room on the disk: about {_size(said.disk)} are needed, {_size(said.free)} are free")


def _work(experiment: Experiment, store: Store, chains: Sequence[str], pictures: list[Image]) -> Iterator[Work]:
    """Rows of play, which are pictures and captions, then what each instrument has to read."""
    rows = store.rounds(["chain", "round", "seconds_generate", "seconds_describe"])
    rows = rows[rows["chain"].isin(chains) & (rows["round"] <= experiment.rounds)]
    whole = len(chains) * (experiment.rounds + 1)
    if "play" in experiment.stages:
        made = int((rows["round"] > 0).sum())
        recorded = {name: rows[f"seconds_{name}"].dropna().mean() for name in ("generate", "describe")}
        yield Work("play", whole, len(rows))
        for stage, option, all_of, done in (
            ("generate", experiment.generator, len(chains) * experiment.rounds, made),
            ("describe", experiment.captioner, whole, len(rows)),
        ):
            seconds = float(recorded[stage]) if rows[f"seconds_{stage}"].notna().any() else None
            yield _timed(stage, all_of, done, seconds, lambda: _play_seconds(option, pictures))  # noqa: B023
    if "probe" in experiment.stages:
        yield _probe_work(experiment, store, pictures)
    for folder, option, _ in experiment.instruments() if "measure" in experiment.stages else []:
        found = store.rows(folder, ["chain", "round"], chains).to_pydict()
        read = sum(number <= experiment.rounds for _, number in {*zip(found["chain"], found["round"], strict=True)})
        yield _timed(f"measure {option.name}", whole, read, None, lambda: _read_seconds(option, experiment, pictures))  # noqa: B023
    for folder, option, _ in experiment.encodings() if "measure" in experiment.stages else []:
        found = store.rows(folder, ["chain", "round"], chains).to_pydict()
        seen = sum(number <= experiment.rounds for _, number in {*zip(found["chain"], found["round"], strict=True)})
        yield _timed(f"embed {option.name}", whole, seen, None, lambda: _embed_seconds(option, pictures))  # noqa: B023


def _probe_work(experiment: Experiment, store: Store, pictures: list[Image]) -> Work:
    """Pictures of probes; before there are captions, as many as there can be at most."""
    seeds, asked = probed_seeds(experiment.seeds, experiment), (experiment.probe_attributes, experiment.probe_replicates)
    captions = _told(lambda: captions_of(store, seeds), [])
    if captions is None:
        whole, done = len(seeds) * asked[1] * most_versions(asked[0]), 0
    else:
        there = set(store.probes(place_of(experiment))["chain"])
        drawn = {
            (row["seed_id"], row["replicate"], row["caption"]): row["chain"] in there for row in drawings(captions, *asked)
        }
        whole, done = len(drawn), sum(drawn.values())
    return _timed("probe", whole, done, None, lambda: _play_seconds(experiment.generator, pictures))


def _timed(stage: str, whole: int, done: int, recorded: float | None, calibrate: Callable[[], float | None]) -> Work:
    left = max(0, whole - done)
    if not left:
        return Work(stage, whole, done, 0.0)
    if recorded is not None:
        return Work(stage, whole, done, left * recorded, f"{_rate(recorded)} in this run so far")
    each = calibrate()
    if each is None:
        return Work(stage, whole, done)
    return Work(stage, whole, done, left * each, f"{_rate(each)} in a calibration of one batch")


def _play_seconds(option: Option, pictures: list[Image]) -> float | None:
    """Seconds an item, of one batch of a generator or captioner; generated pictures join `pictures`."""
    if not _can_be_timed(option):
        return None
    model, rows = option.build(), option.batch_size
    try:
        if hasattr(model, "generate"):
            each, made = _clocked(lambda count: model.generate([CAPTION] * count, range(count)), rows)
            pictures[:0] = [picture.image for picture in made]
            return each
        shown = [pictures[number % len(pictures)] for number in range(rows)] if pictures else []
        return _clocked(lambda count: model.describe(shown[:count], range(count)), rows)[0] if shown else None
    finally:
        if hasattr(model, "unload"):
            model.unload()


def _read_seconds(option: Option, experiment: Experiment, pictures: Sequence[Image]) -> float | None:
    """Seconds a picture, of one batch of an instrument and its locator."""
    from driftloop.stages.measure import look, read

    if not pictures or not _can_be_timed(option) or not _costs_nothing(experiment.locator):
        return None
    classifier, locator = option.build(), experiment.locator.build()
    shown = [pictures[number % len(pictures)] for number in range(option.batch_size)]
    try:
        return _clocked(lambda count: read(look(shown[:count], locator), classifier), len(shown))[0]
    finally:
        if hasattr(classifier, "unload"):
            classifier.unload()


def _embed_seconds(option: Option, pictures: Sequence[Image]) -> float | None:
    """Seconds a picture and its caption, of one batch of an encoder."""
    if not pictures or not _can_be_timed(option):
        return None
    encoder, rows = option.build(), option.batch_size
    shown = [pictures[number % len(pictures)] for number in range(rows)]
    sides: list[tuple[Any, list[Any]]] = [(encoder.embed_images, shown), (encoder.embed_texts, [CAPTION] * rows)]
    try:
        return sum(_clocked(lambda count: call(items[:count]), rows)[0] for call, items in sides if call)  # noqa: B023
    finally:
        if hasattr(encoder, "unload"):
            encoder.unload()


def _clocked(call: Callable[[int], Sequence[Any]], rows: int) -> tuple[float, Sequence[Any]]:
    """Seconds a row of one whole batch, after a first row that loads and warms up."""
    call(1)
    started = time.perf_counter()
    made = call(rows)
    return (time.perf_counter() - started) / rows, made


def _can_be_timed(option: Option) -> bool:
    """Whether it runs on checkpoints that are all here, none of them too large for a processor, and asks no server."""
    weights = list(weights_in(option.call))
    return bool(weights) and _costs_nothing(option) and all(_quick(weight) for weight in weights)


def _costs_nothing(option: Option) -> bool:
    return not any(_names(option.call, "endpoint")) and all(here(weight) for weight in weights_in(option.call))


def _quick(weight: Weight) -> bool:
    found = here(weight)
    return found is not None and (memory(found, weight.dtype) < TOO_LARGE or free_memory(weight.device)[1] is not None)


def _names(node: Any, word: str) -> Iterator[str]:
    if isinstance(node, Mapping):
        yield from (key for key in node if key == word)
        for value in node.values():
            yield from _names(value, word)


def _samples(seeds: Sequence[Seed]) -> list[Image]:
    found = []
    for seed in seeds[:SAMPLED]:
        if seed.picture is not None:
            try:
                found.append(seed.picture().convert("RGB"))
            except Exception:  # noqa: BLE001, S112 (a damaged picture becomes a row of the run; here it is only not a sample)
                continue
    return found


def _picture_bytes(store: Store, experiment: Experiment, pictures: Sequence[Image]) -> float | None:
    """Of one generated picture: of those that this run has, of a calibration, or by the number of pixels that is asked for."""
    packs = [path for path in (store.folder / "images").glob("round-*/*.zip") if path.parent.name != "round-000"]
    rows = store.rounds(["round", "image"]) if packs else None
    made = 0 if rows is None else int(((rows["round"] > 0) & (rows["image"] != "")).sum())
    if made:
        return sum(path.stat().st_size for path in packs) / made
    size = experiment.generator.call.get("size")
    if isinstance(size, int | list):
        width, height = (size, size) if isinstance(size, int) else size
        same = [picture for picture in pictures if picture.size == (width, height)]
        return len(encode(same[0])) if same else width * height * PIXEL_BYTES
    return len(encode(pictures[0])) if pictures else None


def _seed_bytes(store: Store, seeds: Sequence[Seed], pictures: Sequence[Image]) -> float:
    new = len(seeds) - len(store.seeds())
    own = pictures[-SAMPLED:]  # generated ones come before
    return new * sum(len(encode(one)) for one in own) / len(own) if own and new > 0 and seeds[0].picture else 0.0


def _free(folder: Path) -> int:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


# The terminal --------------------------------------------------------------------------------------------------------


def show(said: Plan) -> None:
    from rich.table import Table

    out = console()
    out.print(f"plan for {said.where}", soft_wrap=True)
    if said.checkpoints:
        table = Table("needed by", "checkpoint", "commit", "disk", "memory", "dtype", "licence", "here")
        for one in said.checkpoints:
            table.add_row(*_checkpoint_cells(one))
        out.print(table)
    for line in said.memory:
        out.print(f"memory: {line}", soft_wrap=True)
    if said.work:
        table = Table("stage", "whole", "done", "left", "time left", "by")
        for work in said.work:
            table.add_row(work.stage, str(work.whole), str(work.done), str(work.left), _time_left(work), work.origin)
        out.print(table)
    chains, pictures = ("?" if number is None else str(number) for number in (said.chains, said.pictures))
    disk = "disk not known before a first picture" if said.disk is None else f"about {_size(said.disk)} of disk to come"
    out.print(
        f"{chains} chains × {said.rounds} rounds = {pictures} pictures to make in all; {disk}, {_size(said.free)} free",
        soft_wrap=True,
    )
    out.print("missing: nothing" if not said.missing else "missing:", soft_wrap=True)
    for what in said.missing:
        out.print(f"  - {what}", soft_wrap=True, markup=False)


def _checkpoint_cells(one: Checkpoint) -> tuple[str, ...]:
    return (
        one.who,
        one.weight.model,
        one.commit[:10],
        "?" if one.bytes is None else _size(one.bytes),
        "?" if one.memory is None else _size(one.memory),
        one.weight.dtype,
        one.licence or "?",
        "yes" if one.here else "no",
    )


def _time_left(work: Work) -> str:
    if work.seconds is None:
        return "" if work.stage == "play" else "unknown before a first batch"
    return _duration(work.seconds)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _rate(each: float) -> str:
    return f"{each:.2g} s each" if each >= 0.1 else f"{1000 * each:.2g} ms each"


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
