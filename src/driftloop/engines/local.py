"""Plays an experiment on this machine, in this process or in several; shards share nothing but the run folder.

Started by `accelerate launch` or `torchrun`, every process plays the shard of its rank. Nobody talks to anybody: the first
of them, which goes on to the analysis, waits until the rows of all others are in the run folder.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import queue
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing.queues import Queue
from typing import TYPE_CHECKING, Any

from driftloop.core.attempts import Room
from driftloop.core.counterfactuals import probe_identity
from driftloop.core.errors import DriftloopError, Interrupted
from driftloop.core.experiment import Experiment
from driftloop.core.limits import take, taken
from driftloop.core.placement import Placement, check_there
from driftloop.core.records import Chain, chain_key
from driftloop.core.rng import derive
from driftloop.core.watch import Watch, listening
from driftloop.stages.embed import embed, embeddable, unembedded
from driftloop.stages.intake import intake, seeds_of
from driftloop.stages.measure import measure, pictures, unread
from driftloop.stages.play import Play, Players
from driftloop.stages.probe import Probe, Show, captions_of, drawings, place_of, probed_seeds, shown_of, views

if TYPE_CHECKING:
    from driftloop.core.store import Store

Message = tuple[str, Any]
Row = dict[str, Any]
WAITING_SECONDS = 1.0
STOPS = {signal.SIGINT, signal.SIGTERM}


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`: the chains whose seed hashes to it."""

    index: int = 0
    count: int = 1

    def has(self, seed_id: str) -> bool:
        return self.count == 1 or derive(0, "shard", seed_id) % self.count == self.index


class Local:
    """`processes` workers on this machine, or by `shard` ("0/2") one part of a run whose other parts play elsewhere.

    Of several processes on several GPUs each sees its own, as its `cuda:0`. `leads` is false for all but the first process of
    a launch: what comes after the measuring is not theirs.
    """

    def __init__(self, *, processes: int = 1, shard: str | None = None) -> None:
        if processes < 1 or (processes > 1 and shard is not None):
            raise ValueError(f"engine.processes must be at least 1, and 1 with engine.shard; got {processes}, {shard!r}")
        rank = launched()
        if rank is not None and (processes > 1 or shard is not None):
            raise ValueError("engine.processes and engine.shard are for runs without a launcher; here each rank is a shard")
        self.shards = [_parsed(shard)] if shard is not None else [Shard(i, processes) for i in range(processes)]
        self.launched, self.leads = rank is not None, rank is None or rank.index == 0
        if rank is not None:
            self.shards = [rank]

    def play(self, experiment: Experiment, store: Store, watch: Watch) -> None:
        """Takes the seeds in, then plays every shard."""
        with store.lock("seeds", wait=True):
            intake(store, experiment.seeds, watch, again=experiment.again)
        experiment.close_source()
        self._each(partial(play_shard, experiment), watch)

    def measure(self, experiment: Experiment, store: Store, watch: Watch) -> None:
        """Reads every picture with every instrument, and embeds pictures and captions with every encoder."""
        for folder, option, identity in experiment.instruments():
            store.write_json(f"{folder}/classifier.json", {"name": option.name, **identity})
        for folder, option, identity in experiment.encodings():
            store.write_json(f"{folder}/encoder.json", {"name": option.name, **identity})
        self._each(partial(measure_shard, experiment), watch)
        while self.launched and self.leads and _others_at_work(experiment, store):
            watch.stop_if_asked()  # a launcher ends all when one fails
            time.sleep(WAITING_SECONDS)

    def probe(self, experiment: Experiment, store: Store, watch: Watch) -> None:
        """Probes generator and captioner, and reads what the generator drew."""
        place = place_of(experiment)
        store.write_json(f"{place}/probe.json", probe_identity(experiment.probe_attributes))
        for folder, option, instrument in experiment.instruments():
            store.write_json(f"{place}/{folder}/classifier.json", {"name": option.name, **instrument})
        self._each(partial(probe_shard, experiment), watch)
        while self.launched and self.leads and _others_probe(experiment, store):
            watch.stop_if_asked()
            time.sleep(WAITING_SECONDS)

    def _each(self, job: Callable[[Shard, Watch], None], watch: Watch) -> None:
        if len(self.shards) == 1:
            if self.launched:
                see_own_gpus(int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
            job(self.shards[0], watch)
        else:
            _in_processes(job, self.shards, watch)


def launched() -> Shard | None:
    """The part of this process where a launcher (accelerate launch, torchrun) started several; None where none did."""
    rank, count = (os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE"))
    return Shard(int(rank), int(count)) if rank.isdigit() and count.isdigit() and int(count) > 1 else None


@cache
def see_own_gpus(index: int, count: int) -> None:
    """Of the machine's GPUs, leaves process `index` of `count` every `count`-th; where there are fewer, they are shared.

    Only before torch looks at them, and once: torch reads the variable once.
    """
    there = visible_gpus()
    if count > 1 and there:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(there[index::count] or [there[index % len(there)]])


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA names them, without torch."""
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is not None:
        return [name.strip() for name in said.split(",") if name.strip()]
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return []
    done = subprocess.run([smi, "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.split() if done.returncode == 0 else []


def _parsed(shard: str) -> Shard:
    index, _, count = str(shard).partition("/")
    if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
        raise ValueError(f'engine.shard must look like "0/2" (part 0 of 2), got {shard!r}')
    return Shard(int(index), int(count))


def chains_of(experiment: Experiment, store: Store, shard: Shard) -> list[Chain]:
    """The chains of the declared extent that fall into a shard, from what was taken in."""
    seeds = take(seeds_of(store), experiment.limit, experiment.limit_per_concept)
    mine = [seed for seed in seeds if shard.has(seed.seed_id)]
    return [Chain(seed, replicate) for seed in mine for replicate in range(experiment.replicates)]


def keys_of(experiment: Experiment, store: Store, shard: Shard) -> list[str]:
    """Of the same chains the keys alone, which a table gives fast."""
    mine = filter(shard.has, taken(store.seeds(), experiment.limit, experiment.limit_per_concept))
    return [chain_key(seed_id, replicate) for seed_id in mine for replicate in range(experiment.replicates)]


def play_shard(experiment: Experiment, shard: Shard, watch: Watch) -> None:
    """One shard's chains, up to the experiment's last round. Builds (and loads) models only when a chain needs them."""
    store = experiment.store()
    with store.lock("play", shared=shard.count > 1), store.lock(f"play-{shard.index}-{shard.count}"):
        chains = chains_of(experiment, store, shard)
        both = players(experiment)
        Play(
            store=store,
            players=both,
            root_seed=experiment.root_seed,
            retries=experiment.retries,
            max_failures=experiment.max_share * len(chains),
            again=experiment.again,
            watch=watch,
        ).run(chains, experiment.rounds, experiment.wave)
        both.placement.clear()


def measure_shard(experiment: Experiment, shard: Shard, watch: Watch) -> None:
    """One shard's pictures, by every instrument in turn."""
    store = experiment.store()
    chains = set(keys_of(experiment, store, shard))
    with store.lock("measure", shared=shard.count > 1), store.lock(f"measure-{shard.index}-{shard.count}"):
        _read(experiment, store, pictures(store, chains, experiment.rounds), watch)
        _embed(experiment, store, chains, watch)


def _embed(experiment: Experiment, store: Store, chains: Collection[str], watch: Watch) -> None:
    """Pictures and captions of some chains, by every encoder in turn."""
    if not experiment.encoders:
        return
    rows = embeddable(store, chains, experiment.rounds)
    built = [(folder, option, option.build()) for folder, option, _ in experiment.encodings()]
    work = [(f, option, encoder, unembedded(store, f, encoder, rows, again=experiment.again)) for f, option, encoder in built]
    check_there([option.call for _, option, _, todo in work if todo])
    for folder, option, encoder, todo in work:
        watch.start(f"embed {option.name}", len(rows), len(rows) - sum(map(len, todo)))
        embed(
            store=store,
            name=option.name,
            folder=folder,
            encoder=encoder,
            todo=todo,
            batch_size=option.batch_size,
            watch=watch,
        )


def probe_shard(experiment: Experiment, shard: Shard, watch: Watch) -> None:
    """One shard's seeds: what is missing of their probes, then of the readings. Models are built when something is."""
    store, place = experiment.store(), place_of(experiment)
    with store.lock("probe", shared=shard.count > 1), store.lock(f"probe-{shard.index}-{shard.count}"):
        rows, shown = probes_of(experiment, store, shard)
        probe = Probe(
            store=store,
            folder=place,
            root_seed=experiment.root_seed,
            retries=experiment.retries,
            max_failures=experiment.max_share * (len(rows) + len(shown)),
            again=experiment.again,
            watch=watch,
        )
        left = {row["chain"] for row in probe.missing([*rows, *(row for row, _ in shown)])}
        drawn = [row for row in rows if row["chain"] in left]
        told = [(row, show) for row, show in shown if row["chain"] in left]
        watch.start("probe", len(rows) + len(shown), len(rows) + len(shown) - len(left))
        placement = Placement(kind=experiment.placement, options=[experiment.generator.call, experiment.captioner.call])
        if drawn:
            generator = experiment.generator.build()
            placement.bring(generator)
            probe.draw(generator, drawn, Room(experiment.generator.batch_size))
        if told:
            captioner = experiment.captioner.build()
            placement.bring(captioner)
            probe.describe(captioner, told, Room(experiment.captioner.batch_size))
        placement.clear()
        _read(experiment, store, shown_of(store, place, rows), watch, place)


def probes_of(experiment: Experiment, store: Store, shard: Shard) -> tuple[list[Row], list[tuple[Row, Show]]]:
    """What a shard is to draw, and what it is to describe."""
    seeds = [seed for seed in probed_seeds(seeds_of(store), experiment) if shard.has(seed.seed_id)]
    asked = experiment.probe_attributes, experiment.probe_replicates
    return drawings(captions_of(store, seeds), *asked), views(seeds, experiment.dataset.build(), *asked)


def _read(experiment: Experiment, store: Store, rows: Sequence[Row], watch: Watch, place: str = "") -> None:
    """Reads the pictures of `rows` by every instrument in turn, into its folder in the run or in a `place` of it."""
    before, stage = (f"{place}/", "probe") if place else ("", "measure")
    folders = [(f"{before}{folder}", option) for folder, option, _ in experiment.instruments()]
    work = [(folder, option, unread(store, folder, rows, again=experiment.again)) for folder, option in folders]
    check_there([option.call for _, option, todo in work if todo])
    for folder, option, todo in work:
        watch.start(f"{stage} {option.name}", len(rows), len(rows) - sum(map(len, todo.values())))
        measure(
            store=store,
            name=option.name,
            folder=folder,
            classifier=option.build(),
            locator=experiment.locator.build(),
            todo=todo,
            batch_size=option.batch_size,
            watch=watch,
        )


def _others_at_work(experiment: Experiment, store: Store) -> bool:
    """Whether rows or readings of the whole extent are missing still."""
    chains = set(keys_of(experiment, store, Shard()))
    if "play" in experiment.stages:
        last = store.last_rounds()
        if any(last.get(chain, -1) < experiment.rounds for chain in chains):
            return True
    rows = pictures(store, chains, experiment.rounds)
    if any(unread(store, folder, rows) for folder, _, _ in experiment.instruments()):
        return True
    encodings = [(folder, option.build()) for folder, option, _ in experiment.encodings()]
    rows = embeddable(store, chains, experiment.rounds) if encodings else []
    return any(unembedded(store, folder, encoder, rows) for folder, encoder in encodings)


def _others_probe(experiment: Experiment, store: Store) -> bool:
    """Whether probes or readings of the whole extent are missing still."""
    place, (rows, shown) = place_of(experiment), probes_of(experiment, store, Shard())
    if not {row["chain"] for row in (*rows, *(row for row, _ in shown))} <= set(store.probes(place)["chain"]):
        return True
    read = shown_of(store, place, rows)
    return any(unread(store, f"{place}/{folder}", read) for folder, _, _ in experiment.instruments())


def players(experiment: Experiment) -> Players:
    options = (experiment.generator, experiment.captioner, *experiment.mitigations)
    return Players(
        generator=experiment.generator.build(),
        captioner=experiment.captioner.build(),
        mitigations=[option.build() for option in experiment.mitigations],
        generate_batch=experiment.generator.batch_size,
        describe_batch=experiment.captioner.batch_size,
        placement=Placement(kind=experiment.placement, options=[option.call for option in options]),
    )


class _Reporting(Watch):
    """A worker's watch: sends what it is told to the parent, and stops when the parent says so."""

    def __init__(self, messages: Queue[Message], asked: Any) -> None:
        super().__init__()
        self._messages, self._asked = messages, asked

    def start(self, stage: str, total: int, done: int = 0) -> None:
        self._messages.put(("start", (stage, total, done)))

    def advance(self, count: int = 1) -> None:
        self._messages.put(("advance", count))

    def used(self, role: str, model: Any) -> None:
        before = set(self.models)
        super().used(role, model)
        for found in set(self.models) - before:
            self._messages.put(("used", (found, self.models[found])))

    def stop_if_asked(self) -> None:
        parent = mp.parent_process()
        orphaned = parent is not None and not parent.is_alive()  # killed, it could not ask
        self.stopping = self.stopping or self._asked.is_set() or orphaned
        super().stop_if_asked()


def _in_processes(job: Callable[[Shard, Watch], None], shards: Sequence[Shard], watch: Watch) -> None:
    """Runs the job once a shard, each in a fresh process; the first error stops the others at their next batch."""
    context = mp.get_context("spawn")
    messages, asked = context.Queue(), context.Event()
    threads = max(1, (os.cpu_count() or 1) // len(shards))
    workers = [context.Process(target=_work, args=(job, shard, messages, asked, threads)) for shard in shards]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # a worker starts deaf, and hears once it can finish its batch
    for worker in workers:
        worker.start()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    errors: list[DriftloopError] = []
    while any(worker.is_alive() for worker in workers) or not messages.empty():
        if watch.stopping or errors:
            asked.set()
        errors += _heard(messages, watch)
    for worker in workers:
        worker.join()
    died = [worker.exitcode for worker in workers if worker.exitcode]
    if errors:
        raise next((error for error in errors if not isinstance(error, Interrupted)), errors[0])
    if died:
        raise DriftloopError(f"a worker process died (exit code {died[0]}); everything finished is written, run again")


def _heard(messages: Queue[Message], watch: Watch) -> list[DriftloopError]:
    try:
        kind, body = messages.get(timeout=0.1)
    except queue.Empty:
        return []
    if kind == "error":
        return [body]
    if kind == "start":
        watch.start(*body)
    elif kind == "used":
        watch.models.setdefault(*body)
    else:
        watch.advance(body)
    return []


def _work(job: Callable[[Shard, Watch], None], shard: Shard, messages: Queue[Message], asked: Any, threads: int) -> None:
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read when torch is first imported, which is later than here
    see_own_gpus(shard.index, shard.count)
    watch = _Reporting(messages, asked)
    with listening(watch):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        try:
            job(shard, watch)
        except DriftloopError as error:
            messages.put(("error", error))
