"""Probes: what one changed word, or one changed attribute of a picture, changes in what a model makes of it.

A generator draws the caption of round 0 of some seeds as it is, with an attribute's words removed, and with each value
named (`core.counterfactuals`), all with the number that round 1 draws with: what differs between them the words made. A
captioner describes, with the number of round 0, pictures of one seed in which one attribute differs, where the data set can
show them. Both models stand alone, without the run's mitigations; so the version `as_is` is round 1 of a run without any.

Versions that read alike are drawn once. A draw that fails is tried with the same number again, for with another one it
would be no pair. Whatever is found finished is not done again.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from driftloop.core.attempts import Outcome, Room, attempt, check_caption, check_picture
from driftloop.core.counterfactuals import AS_IS, probe_folder, versions
from driftloop.core.errors import ConfigError, DriftloopError, TooManyFailuresError, nearest
from driftloop.core.limits import take
from driftloop.core.packs import is_black, pixel_hash
from driftloop.core.records import Caption, Captioner, Counterfactual, Generator, Picture, Redrawer, Seed
from driftloop.core.rng import derive
from driftloop.core.watch import Watch
from driftloop.core.words import TABLES

if TYPE_CHECKING:
    from PIL.Image import Image

    from driftloop.core.experiment import Experiment
    from driftloop.core.store import Store, Writer

Row = dict[str, Any]
Show = Mapping[str, Callable[[], "Image"]]
GENERATOR, CAPTIONER = "generator", "captioner"


def check(experiment: Experiment) -> None:
    """Raises ConfigError, before work starts, for what cannot be probed."""
    shows = isinstance(experiment.source, Counterfactual)
    for attribute in experiment.probe_attributes:
        if attribute not in TABLES and not shows:
            raise ConfigError(
                f"probe.attributes: captions have versions of {', '.join(TABLES)}, and data set {experiment.dataset.name} "
                f"cannot show its seeds otherwise; got {attribute!r}.{nearest(attribute, TABLES)}"
            )
    if isinstance(experiment.generator.build(), Redrawer):
        raise ConfigError(f"generator {experiment.generator.name} redraws pictures and is given no captions: nothing to probe")


def probed_seeds(seeds: Iterable[Seed], experiment: Experiment) -> list[Seed]:
    """The first `probe.n` of the run in hash order."""
    found = take(seeds, experiment.limit, experiment.limit_per_concept)[: experiment.probe_n]
    if not found:
        raise DriftloopError("the run has no seeds yet: a probe begins with their first captions, so let play go before")
    return found


def captions_of(store: Store, seeds: Sequence[Seed]) -> dict[str, str | None]:
    """seed_id -> its caption of round 0, of the first replicate; None where none could be had. All must be played."""
    keys = {f"{seed.seed_id}/0": seed.seed_id for seed in seeds}
    rows = [row for row in store.history(keys) if row["round"] == 0]
    found = {keys[row["chain"]]: row["caption"] if row["status"] == "ok" else None for row in rows}
    if missing := [seed.seed_id for seed in seeds if seed.seed_id not in found]:
        raise DriftloopError(
            f"{len(missing)} of the first {len(seeds)} seeds have no caption of round 0 yet, such as {missing[0]}: "
            "a probe begins with it, so let play go before."
        )
    return found


def drawings(captions: Mapping[str, str | None], attributes: Sequence[str], replicates: int) -> list[Row]:
    """A row for every version of every caption; one that is missing has the status of what hangs on it."""
    rows = []
    for seed_id, caption in captions.items():
        for probed in (attribute for attribute in attributes if attribute in TABLES):
            of = versions(caption or "", probed)
            gone = {"status": "parent_failed"} if caption is None else {}
            for version, text in of.texts.items() if caption is not None else [(AS_IS, None)]:
                rows += [
                    _row(seed_id, number, 1, GENERATOR, probed, version) | {"says": of.says, "caption": text} | gone
                    for number in range(replicates)
                ]
    return rows


def views(seeds: Sequence[Seed], source: object, attributes: Sequence[str], replicates: int) -> list[tuple[Row, Show]]:
    """A row for every picture that the data set can show of a seed with one of the attributes changed, and how to open it."""
    if not isinstance(source, Counterfactual):
        return []
    rows: list[tuple[Row, Show]] = []
    for seed in seeds:
        shown = source.counterfactuals(seed.seed_id)
        _check_shown(shown, attributes)
        for probed in (attribute for attribute in attributes if attribute in shown):
            for version in shown[probed]:
                rows += [
                    (_row(seed.seed_id, number, 0, CAPTIONER, probed, version), shown[probed]) for number in range(replicates)
                ]
    return rows


def _check_shown(shown: Mapping[str, Show], attributes: Sequence[str]) -> None:
    known = sorted({*TABLES, *shown})
    if strange := [attribute for attribute in attributes if attribute not in known]:
        raise ConfigError(f"probe.attributes may be {', '.join(known)}; got {strange[0]!r}.{nearest(strange[0], known)}")


@dataclass(kw_only=True)
class Probe:
    """Does what is missing of the rows it is given, in batches; every row stands for itself, in whatever order."""

    store: Store
    folder: str
    root_seed: int
    retries: int = 1
    max_failures: float = float("inf")
    again: bool = False
    watch: Watch = field(default_factory=Watch)
    failures: int = field(default=0, init=False)

    def missing(self, rows: Sequence[Row]) -> list[Row]:
        """Those that are not in the table yet; with `again`, what failed does not count."""
        found = self.store.probes(self.folder)
        kept = found[found["status"] == "ok"] if self.again else found
        have = set(kept["chain"])
        return [row for row in rows if row["chain"] not in have]

    def draw(self, generator: Generator, rows: Sequence[Row], room: Room) -> None:
        """One picture for all versions of a seed and replicate that read alike."""
        with self.store.writer(self.folder) as writer:
            writer.add(row for row in rows if row["caption"] is None)
            alike: dict[tuple[str, int, str], list[Row]] = defaultdict(list)
            for row in rows:
                if row["caption"] is not None:
                    alike[row["seed_id"], row["replicate"], row["caption"]].append(row)
            for batch in room.batches(list(alike.values())):
                self.watch.stop_if_asked()
                for same, found in zip(batch, self._drawn(generator, batch, room, writer), strict=True):
                    writer.add([row | found for row in same])
                    self._advance(found, len(same))
            writer.merge()

    def describe(self, captioner: Captioner, views: Sequence[tuple[Row, Show]], room: Room) -> None:
        """One caption a picture."""
        with self.store.writer(self.folder) as writer:
            for batch in room.batches(views):
                self.watch.stop_if_asked()
                for row in self._told(captioner, batch, room, writer):
                    writer.add([row])
                    self._advance(row, 1)
            writer.merge()

    def _drawn(self, generator: Generator, batch: Sequence[Sequence[Row]], room: Room, writer: Writer) -> Iterator[Row]:
        numbers = [self._number(same[0], 1, "generate") for same in batch]
        items = list(zip((str(same[0]["caption"]) for same in batch), numbers, strict=True))

        def call(some: Sequence[tuple[str, int]], _: int) -> list[Picture]:
            return generator.generate([caption for caption, _ in some], [number for _, number in some])

        started = time.perf_counter()
        outcomes = attempt(items, call, check_picture, self.retries, room)  # black ones are drawn black again
        self.watch.used(GENERATOR, generator)
        about = {"seconds": (time.perf_counter() - started) / len(batch), "device": str(getattr(generator, "device", "cpu"))}
        for number, outcome in zip(numbers, outcomes, strict=True):
            yield about | {"generator_seed": number} | self._kept(outcome, writer)

    def _kept(self, outcome: Outcome[Picture], writer: Writer) -> Row:
        found = _outcome(outcome)
        if outcome.result is None:
            return found
        image = outcome.result.image
        status = "black_image" if is_black(image) else "ok"
        return found | self._image(image, writer) | {"status": status, "prompt_truncated": outcome.result.prompt_truncated}

    def _told(self, captioner: Captioner, batch: Sequence[tuple[Row, Show]], room: Room, writer: Writer) -> Iterator[Row]:
        opened = attempt(batch, _opened, lambda _: None, retries=0)
        yield from (row | _outcome(one) for (row, _), one in zip(batch, opened, strict=True) if one.result is None)
        shown = [(row, one.result) for (row, _), one in zip(batch, opened, strict=True) if one.result is not None]
        items = [(image, self._number(row, 0, "describe")) for row, image in shown]

        def call(some: Sequence[tuple[Image, int]], _: int) -> list[Caption]:
            return captioner.describe([image for image, _ in some], [number for _, number in some])

        started = time.perf_counter()
        outcomes = attempt(items, call, check_caption, self.retries, room)
        self.watch.used(CAPTIONER, captioner)
        about = {"seconds": (time.perf_counter() - started) / len(batch), "device": str(getattr(captioner, "device", "cpu"))}
        for (row, _), (image, number), outcome in zip(shown, items, outcomes, strict=True):
            yield row | about | _said(outcome) | self._image(image, writer) | {"captioner_seed": number}

    def _image(self, image: Image, writer: Writer) -> Row:
        sha256 = pixel_hash(image)
        return {"image": writer.picture(image, sha256, self.folder.replace("/", "-")), "image_sha256": sha256}

    def _number(self, row: Row, round_: int, stage: str) -> int:
        """What the run draws with at this seed, replicate and round, in its first attempt (see `stages.play`)."""
        return derive(self.root_seed, row["seed_id"], row["replicate"], round_, 0, stage)

    def _advance(self, found: Row, count: int) -> None:
        self.watch.advance(count)
        self.failures += found["status"] != "ok"
        if self.failures > self.max_failures:
            raise TooManyFailuresError(
                f"{self.failures} probes failed, more than on_failure.max_share allows ({self.max_failures:g}); the last: "
                f"{found['status']} {found['error']}. Everything finished is kept; mend the cause and run the same command "
                "with on_failure.again=true."
            )


def shown_of(store: Store, place: str, rows: Sequence[Row]) -> list[Row]:
    """The finished ones of the generator's rows, with the pictures there are to read."""
    found = store.probes(place)
    shown = found[
        (found["model"] == GENERATOR) & (found["status"] == "ok") & found["chain"].isin([row["chain"] for row in rows])
    ]
    columns = ["seed_id", "replicate", "chain", "round", "image"]
    return [{str(key): value for key, value in row.items()} for row in shown[columns].to_dict("records")]


def place_of(experiment: Experiment) -> str:
    return probe_folder(experiment.probe_attributes)


def _row(seed_id: str, replicate: int, round_: int, model: str, probed: str, version: str) -> Row:
    key = f"{seed_id}/{replicate}/{model}/{probed}/{version}"
    return {
        "seed_id": seed_id, "replicate": replicate, "chain": key, "round": round_, "model": model, "probed": probed,
        "version": version, "says": "", "caption": None, "image": "", "status": "ok", "error": "", "attempts": 0,
    }  # fmt: skip


def _outcome(outcome: Outcome[Any]) -> Row:
    return {"status": outcome.status, "error": outcome.error, "attempts": outcome.attempts, "batch_size": outcome.rows}


def _said(outcome: Outcome[Caption]) -> Row:
    if outcome.result is None:
        return _outcome(outcome)
    said = outcome.result.text
    return _outcome(outcome) | {"caption": said, "status": "ok" if said.strip() else "empty_caption"}


def _opened(some: Sequence[tuple[Row, Show]], _: int) -> list[Image]:
    return [show[row["version"]]().convert("RGB") for row, show in some]
