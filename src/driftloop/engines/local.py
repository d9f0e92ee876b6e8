"""Plays an experiment on this machine, in this process or in several; shards share nothing but the run folder."""

from __future__ import annotations

import multiprocessing as mp
import os
import queue
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.queues import Queue
from typing import TYPE_CHECKING, Any

from driftloop.core.errors import ConfigError, DriftloopError, Interrupted
from driftloop.core.experiment import Experiment
from driftloop.core.limits import take
from driftloop.core.records import Chain
from driftloop.core.rng import derive
from driftloop.core.watch import Watch, listening
from driftloop.stages.intake import intake, seeds_of
from driftloop.stages.measure import measure, pictures, unread
from driftloop.stages.play import Play, Players

if TYPE_CHECKING:
    from driftloop.core.store import Store

Message = tuple[str, Any]


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`: the chains whose seed hashes to it."""

    index: int = 0
    count: int = 1

    def has(self, seed_id: str) -> bool:
        return self.count == 1 or derive(0, "shard", seed_id) % self.count == self.index


class Local:
    """`processes` workers on this machine, or by `shard` ("0/2") one part of a run whose other parts play elsewhere."""

    def __init__(self, *, processes: int = 1, shard: str | None = None) -> None:
        if processes < 1 or (processes > 1 and shard is not None):
            raise ValueError(f"engine.processes must be at least 1, and 1 with engine.shard; got {processes}, {shard!r}")
        self.shards = [_parsed(shard)] if shard is not None else [Shard(i, processes) for i in range(processes)]

    def play(self, experiment: Experiment, store: Store, watch: Watch) -> None:
        """Takes the seeds in, then plays every shard."""
        with store.lock("seeds", wait=True):
            intake(store, wanted_seeds(experiment), watch, again=experiment.again)
        experiment.close_source()
        self._each(partial(play_shard, experiment), watch)

    def measure(self, experiment: Experiment, store: Store, watch: Watch) -> None:
        """Reads every picture with every instrument."""
        for folder, option, identity in experiment.instruments():
            store.write_json(f"{folder}/classifier.json", {"name": option.name, **identity})
        self._each(partial(measure_shard, experiment), watch)

    def _each(self, job: Callable[[Shard, Watch], None], watch: Watch) -> None:
        if len(self.shards) == 1:
            job(self.shards[0], watch)
        else:
            _in_processes(job, self.shards, watch)


def _parsed(shard: str) -> Shard:
    index, _, count = str(shard).partition("/")
    if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
        raise ValueError(f'engine.shard must look like "0/2" (part 0 of 2), got {shard!r}')
    return Shard(int(index), int(count))


def wanted_seeds(experiment: Experiment) -> list[Any]:
    """The seeds within the limits, in hash order."""
    seeds = experiment.source.load()
    if not seeds:
        raise ConfigError(f"data set {experiment.dataset.name} is empty")
    twice = [seed_id for seed_id, count in Counter(seed.seed_id for seed in seeds).items() if count > 1]
    if twice:
        raise ConfigError(f"data set {experiment.dataset.name}: {len(twice)} seed ids are not unique, such as {twice[0]!r}")
    return list(take(seeds, experiment.limit, experiment.limit_per_concept))


def chains_of(experiment: Experiment, store: Store, shard: Shard) -> list[Chain]:
    """The chains of the declared extent that fall into a shard, from what was taken in."""
    seeds = take(seeds_of(store), experiment.limit, experiment.limit_per_concept)
    mine = [seed for seed in seeds if shard.has(seed.seed_id)]
    return [Chain(seed, replicate) for seed in mine for replicate in range(experiment.replicates)]


def play_shard(experiment: Experiment, shard: Shard, watch: Watch) -> None:
    """One shard's chains, up to the experiment's last round. Builds (and loads) models only when a chain needs them."""
    store = experiment.store()
    with store.lock("play", shared=shard.count > 1), store.lock(f"play-{shard.index}-{shard.count}"):
        chains = chains_of(experiment, store, shard)
        Play(
            store=store,
            players=players(experiment),
            root_seed=experiment.root_seed,
            retries=experiment.retries,
            max_failures=experiment.max_share * len(chains),
            again=experiment.again,
            watch=watch,
        ).run(chains, experiment.rounds, experiment.wave)


def measure_shard(experiment: Experiment, shard: Shard, watch: Watch) -> None:
    """One shard's pictures, by every instrument in turn."""
    store = experiment.store()
    chains = {chain.key for chain in chains_of(experiment, store, shard)}
    with store.lock("measure", shared=shard.count > 1), store.lock(f"measure-{shard.index}-{shard.count}"):
        rows = pictures(store, chains, experiment.rounds)
        for folder, option, _ in experiment.instruments():
            todo = unread(store, folder, rows, again=experiment.again)
            watch.start(f"measure {option.name}", len(rows), len(rows) - sum(map(len, todo.values())))
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


def players(experiment: Experiment) -> Players:
    return Players(
        generator=experiment.generator.build(),
        captioner=experiment.captioner.build(),
        mitigations=[option.build() for option in experiment.mitigations],
        generate_batch=experiment.generator.batch_size,
        describe_batch=experiment.captioner.batch_size,
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
    for worker in workers:
        worker.start()
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
    else:
        watch.advance(body)
    return []


def _work(job: Callable[[Shard, Watch], None], shard: Shard, messages: Queue[Message], asked: Any, threads: int) -> None:
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read when torch is first imported, which is later than here
    watch = _Reporting(messages, asked)
    with listening(watch):
        try:
            job(shard, watch)
        except DriftloopError as error:
            messages.put(("error", error))
