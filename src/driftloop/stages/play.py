"""The experiment: describe and generate take turns for N rounds.

Chains are played in waves, each wave stage-major: all pictures of a round, then all their captions, so that each model works
in full batches. A picture is journalled as soon as it is made; its row is final once it is described. Whatever is found
finished is not played again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from driftloop.core.attempts import Outcome, Room, attempt, check_caption, check_picture
from driftloop.core.batches import batches
from driftloop.core.errors import DriftloopError, TooManyFailuresError
from driftloop.core.packs import is_black, pixel_hash
from driftloop.core.placement import Placement
from driftloop.core.records import (
    Caption,
    Captioner,
    Chain,
    Context,
    Describe,
    Generate,
    Generator,
    Mitigation,
    Picture,
    Redrawer,
)
from driftloop.core.rng import derive
from driftloop.core.watch import Watch

if TYPE_CHECKING:
    from PIL.Image import Image

    from driftloop.core.store import Store, Writer

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Players:
    """The two models behind their mitigations (the first of the list stands outermost), and how many items at a time."""

    generator: Generator | Redrawer
    captioner: Captioner
    mitigations: Sequence[Mitigation] = ()
    generate_batch: int = 64
    describe_batch: int = 64
    placement: Placement = field(default_factory=Placement)
    at_work: dict[str, Any] = field(default_factory=dict, init=False)

    @cached_property
    def generate(self) -> Generate:
        def plain(captions: Sequence[str], items: Sequence[Context]) -> list[Picture]:
            self.placement.bring(self.generator)
            self.at_work["generator"] = self.generator
            seeds = [item.draw("generate") for item in items]
            if isinstance(self.generator, Redrawer):
                return self.generator.redraw([_parent(item) for item in items], seeds)
            return self.generator.generate(captions, seeds)

        call: Generate = plain
        for mitigation in reversed(self.mitigations):
            call = partial(mitigation.generate, inner=call)
        return call

    @cached_property
    def describe(self) -> Describe:
        def plain(images: Sequence[Image], items: Sequence[Context]) -> list[Caption]:
            self.placement.bring(self.captioner)
            self.at_work["captioner"] = self.captioner
            return self.captioner.describe(images, [item.draw("describe") for item in items])

        call: Describe = plain
        for mitigation in reversed(self.mitigations):
            call = partial(mitigation.describe, inner=call)
        return call


@dataclass(slots=True)
class Stand:
    """Where a chain stands: the last finished round and what the next one needs of it."""

    round: int = -1
    status: str = "ok"
    caption: str | None = None
    image: str = ""
    image_sha256: str | None = None
    first_caption: str | None = None

    @property
    def goes_on(self) -> bool:
        """Whether there is a caption to generate from: a round that was played elsewhere may have none."""
        return self.status == "ok" and self.caption is not None

    def step(self, row: Mapping[str, Any]) -> None:
        self.round, self.status, self.caption = row["round"], row["status"], row["caption"]
        self.image, self.image_sha256 = row["image"], row["image_sha256"]
        if self.round == 0:
            self.first_caption = self.caption


@dataclass(kw_only=True)
class Play:
    """The loop over one shard of chains: `run` is the whole algorithm, the methods below it are its steps."""

    store: Store
    players: Players
    root_seed: int
    retries: int = 1
    max_failures: float = float("inf")
    again: bool = False
    watch: Watch = field(default_factory=Watch)
    failures: int = field(default=0, init=False)
    drawing: Room = field(init=False)
    telling: Room = field(init=False)

    def __post_init__(self) -> None:
        self.drawing, self.telling = Room(self.players.generate_batch), Room(self.players.describe_batch)

    def run(self, chains: Iterable[Chain], rounds: int, wave: int = 1024) -> None:
        """Plays every chain from where it stands up to round `rounds`."""
        last = self.store.last_rounds(again=self.again)
        for crew in batches(self.unfinished(list(chains), rounds, last), wave):
            stands = self.recall(crew, last)
            for number in range(rounds + 1):
                due = [chain for chain in crew if stands[chain.key].round == number - 1]
                if not due:
                    continue
                with self.store.writer("rounds", "_pending") as journal, self.store.writer("rounds") as final:
                    drawn = self.draw(due, stands, number, journal)
                    told = self.tell(due, stands, drawn, final)
                    final.merge()
                    journal.discard()
                for row in told:
                    stands[row["chain"]].step(row)
        self.store.drop_described()

    def draw(self, due: Sequence[Chain], stands: Stands, number: int, journal: Writer) -> dict[str, Row]:
        """The picture of round `number` for each chain: the seed's own, or one generated from the last caption."""
        if number == 0:
            return {chain.key: _seed_row(chain) for chain in due}
        rows = {c.key: _row(c, number, status="parent_failed") for c in due if not stands[c.key].goes_on}
        rows |= {row["chain"]: row for row in self.store.pending([c.key for c in due if c.key not in rows], number)}
        for batch in self.drawing.batches([chain for chain in due if chain.key not in rows]):
            self.watch.stop_if_asked()
            made = self.generate(batch, stands, number, journal)
            journal.add(made)
            self.count_failures(made)
            rows |= {row["chain"]: row for row in made}
        journal.settle()
        return rows

    def tell(self, due: Sequence[Chain], stands: Stands, drawn: Mapping[str, Row], final: Writer) -> list[Row]:
        """The caption of every picture, which makes its row final; a row without a picture to describe is final as it is."""
        silent = [chain for chain in due if _needs_caption(drawn[chain.key])]
        told = [drawn[chain.key] for chain in due if not _needs_caption(drawn[chain.key])]
        final.add(told)
        self.count_failures([row for row in told if row["round"] == 0])
        self.watch.advance(len(told))
        for batch in self.telling.batches(silent):
            self.watch.stop_if_asked()
            rows = self.describe(batch, stands, [drawn[chain.key] for chain in batch])
            final.add(rows)
            self.count_failures(rows)
            told += rows
            self.watch.advance(len(rows))
        return told

    def generate(self, batch: Sequence[Chain], stands: Stands, number: int, journal: Writer) -> list[Row]:
        def call(chains: Sequence[Chain], trial: int) -> list[Picture]:
            captions = [str(stands[chain.key].caption) for chain in chains]
            return self.players.generate(captions, self.contexts(chains, stands, number, trial))

        started = time.perf_counter()
        outcomes = attempt(batch, call, _picture_fault, self.retries, self.drawing)
        each = (time.perf_counter() - started) / len(batch)
        self.tell_of_models()
        device = str(getattr(self.players.generator, "device", "cpu"))
        return [
            _row(chain, number, parent_sha256=stands[chain.key].image_sha256, seconds_generate=each, device=device)
            | _drawn(outcome, journal, number)
            | {"generator_seed": self.context(chain, stands, number, outcome.attempts - 1).draw("generate")}
            for chain, outcome in zip(batch, outcomes, strict=True)
        ]

    def describe(self, batch: Sequence[Chain], stands: Stands, rows: Sequence[Row]) -> list[Row]:
        number = rows[0]["round"]
        images = {
            row["chain"]: image for row, image in zip(rows, self.store.images([row["image"] for row in rows]), strict=True)
        }

        def call(chains: Sequence[Chain], trial: int) -> list[Caption]:
            return self.players.describe([images[chain.key] for chain in chains], self.contexts(chains, stands, number, trial))

        started = time.perf_counter()
        outcomes = attempt(batch, call, _caption_fault, self.retries, self.telling)
        each = (time.perf_counter() - started) / len(batch)
        self.tell_of_models()
        return [
            row
            | _told(outcome, row)
            | {"captioner_seed": self.context(chain, stands, number, outcome.attempts - 1).draw("describe")}
            | {"seconds_describe": each}
            for chain, row, outcome in zip(batch, rows, outcomes, strict=True)
        ]

    def tell_of_models(self) -> None:
        """What works, while it is loaded; a mitigation may have answered in its place."""
        while self.players.at_work:
            self.watch.used(*self.players.at_work.popitem())

    def contexts(self, chains: Sequence[Chain], stands: Stands, number: int, trial: int) -> list[Context]:
        return [self.context(chain, stands, number, trial) for chain in chains]

    def context(self, chain: Chain, stands: Stands, number: int, trial: int) -> Context:
        draw = partial(derive, self.root_seed, chain.seed.seed_id, chain.replicate, number, trial)
        stand = stands[chain.key]
        parent = partial(self.store.image, stand.image) if stand.image else None
        return Context(chain=chain, round=number, first_caption=stand.first_caption, draw=draw, parent=parent)

    def count_failures(self, rows: Sequence[Row]) -> None:
        """Stops the run, with everything finished kept, once more chains failed than the config allows."""
        failed = [row for row in rows if row["status"] not in ("ok", "parent_failed")]
        self.failures += len(failed)
        if self.failures > self.max_failures:
            raise TooManyFailuresError(
                f"{self.failures} chains failed, more than on_failure.max_share allows ({self.max_failures:g}); for example "
                f"{failed[-1]['chain']} in round {failed[-1]['round']}: {failed[-1]['status']} {failed[-1]['error']}. "
                "Everything finished is kept; mend the cause and run the same command with on_failure.again=true."
            )

    def unfinished(self, chains: list[Chain], rounds: int, last: Mapping[str, int]) -> list[Chain]:
        """The chains that lack a row of some round up to `rounds`, and tells the watch how much is done."""
        found = [last.get(chain.key, -1) for chain in chains]
        self.watch.start("play", len(chains) * (rounds + 1), sum(min(number, rounds) + 1 for number in found))
        return [chain for chain, number in zip(chains, found, strict=True) if number < rounds]

    def recall(self, crew: Sequence[Chain], last: Mapping[str, int]) -> dict[str, Stand]:
        """Where each chain of a wave stands, from its rows; nothing is read for chains that have none."""
        stands = {chain.key: Stand() for chain in crew}
        begun = [key for key in stands if key in last]
        for row in self.store.history(begun, again=self.again) if begun else []:
            stands[row["chain"]].step(row)
        return stands


Stands = Mapping[str, Stand]


def _row(chain: Chain, number: int, **values: Any) -> Row:
    """A row of rounds/ with its key; what is not known yet is None."""
    return {
        "seed_id": chain.seed.seed_id,
        "replicate": chain.replicate,
        "chain": chain.key,
        "round": number,
        "image": "",
        "image_sha256": None,
        "caption": None,
        "status": "ok",
        "error": "",
        "attempts": 0,
    } | values


def _seed_row(chain: Chain) -> Row:
    """Round 0 before its caption: a picture taken in, a prompt, or a picture that could not be read."""
    seed = chain.seed
    if seed.error:
        return _row(chain, 0, status="failed", error=seed.error)
    return _row(chain, 0, image=seed.image, image_sha256=seed.image_sha256, caption=seed.caption)


def _drawn(outcome: Outcome[Picture], journal: Writer, number: int) -> Row:
    found: Row = {"status": outcome.status, "error": outcome.error, "attempts": outcome.attempts, "batch_size": outcome.rows}
    if outcome.result is None:
        return found
    sha256 = pixel_hash(outcome.result.image)
    key = journal.picture(outcome.result.image, sha256, f"round-{number:03d}")
    return found | {"image": key, "image_sha256": sha256, "prompt_truncated": outcome.result.prompt_truncated}


def _told(outcome: Outcome[Caption], row: Row) -> Row:
    found: Row = {
        "status": outcome.status,
        "error": outcome.error,
        "attempts": max(row["attempts"], outcome.attempts),
        "caption": "",
    }
    if outcome.result is None:
        return found
    said = outcome.result
    return found | {
        "caption": said.text,
        "caption_tokens": said.tokens,
        "caption_truncated": said.truncated,
        "caption_echo": said.echo,
    }


def _parent(item: Context) -> Image:
    if item.parent is None:
        raise DriftloopError(f"{item.chain.key} began with a text: a generator that redraws pictures needs seeds with pictures")
    return item.parent()


def _needs_caption(row: Row) -> bool:
    return bool(row["status"] == "ok" and row["caption"] is None)


def _picture_fault(picture: Picture) -> str | None:
    check_picture(picture)
    return "black_image" if is_black(picture.image) else None


def _caption_fault(caption: Caption) -> str | None:
    check_caption(caption)
    return None if caption.text.strip() else "empty_caption"
