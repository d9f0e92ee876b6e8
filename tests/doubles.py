"""Doubles of every plug-in kind: instant, deterministic per item, and able to fail as their options or the environment say.

What changes results is an option (so it is in the run's identity); what must not is an environment variable:
DOUBLES_LOG     file that gets one line for every call of a model ("generate 4": four items) and every one built ("built …")
DOUBLES_SLOW    seconds that every model call takes
DOUBLES_KILL    "<event>:<number>": SIGKILL this process at the n-th generate, describe, read, write, rename or unlink
DOUBLES_SIGNAL  "<event>:<number>:<signal number>": sends itself that signal instead
"""

from __future__ import annotations

import errno
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from driftloop.core.packs import pixel_hash
from driftloop.core.records import Caption, Context, Describe, Generate, Picture, Reading, Seed
from driftloop.core.rng import derive

EVENTS = Counter[str]()


class ToyGenerator:
    """A colour with a stripe, from caption and seed. `fail`, `black`: patterns of captions that raise or come out black.

    `black_share`: the share of draws (not of captions) that come out black. `most`: more items than this raise MemoryError.
    """

    def __init__(
        self,
        *,
        guidance: float = 1.0,
        size: int = 16,
        batch_size: int = 64,
        fail: str | None = None,
        black: str | None = None,
        black_share: float = 0.0,
        most: int | None = None,
        torch_memory: bool = False,
    ) -> None:
        happened("built", "generator")
        self.guidance, self.size, self.batch_size = guidance, size, batch_size
        self.fail, self.black, self.black_share = fail, black, black_share
        self.most, self.torch_memory = most, torch_memory

    def generate(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Picture]:
        happened("generate", len(captions))
        if self.most is not None and len(captions) > self.most:
            raise out_of_memory(self.torch_memory)
        return [self._one(caption, seed) for caption, seed in zip(captions, seeds, strict=True)]

    def _one(self, caption: str, seed: int) -> Picture:
        if self.fail and re.search(self.fail, caption):
            raise RuntimeError(f"cannot draw {caption!r}")
        if (self.black and re.search(self.black, caption)) or share(seed, "black") < self.black_share:
            return Picture(Image.new("RGB", (self.size, self.size)))
        return Picture(painted(derive(seed, caption, str(self.guidance)), self.size))


class ToyCaptioner:
    """ "an elderly woman in room 815", from pixels and seed. `mute_share`: the share of draws that say nothing."""

    def __init__(
        self, *, batch_size: int = 64, mute_share: float = 0.0, fail_share: float = 0.0, most: int | None = None
    ) -> None:
        happened("built", "captioner")
        self.batch_size, self.mute_share, self.fail_share, self.most = batch_size, mute_share, fail_share, most

    def describe(self, images: Sequence[Image.Image], seeds: Sequence[int]) -> list[Caption]:
        happened("describe", len(images))
        if self.most is not None and len(images) > self.most:
            raise out_of_memory()
        return [self._one(image, seed) for image, seed in zip(images, seeds, strict=True)]

    def _one(self, image: Image.Image, seed: int) -> Caption:
        assert image.getextrema() != ((0, 0),) * 3, "a black picture was described"
        if share(seed, "fail") < self.fail_share:
            raise ValueError("cannot describe")
        if share(seed, "mute") < self.mute_share:
            return Caption("  ")
        value = derive(seed, pixel_hash(image))
        return Caption(f"an elderly {('woman', 'man')[value % 2]} in room {value // 2 % 1000}", tokens=6)


class ToyClassifier:
    """Reads gender and age from pixels. `fail_share`: the share of pictures that it cannot read."""

    categories = {"gender": ("female", "male"), "age": ("young", "old")}  # noqa: RUF012

    def __init__(
        self, *, threshold: float = 0.6, batch_size: int = 64, fail_share: float = 0.0, most: int | None = None
    ) -> None:
        happened("built", "classifier")
        self.threshold, self.batch_size, self.fail_share, self.most = threshold, batch_size, fail_share, most

    def read(self, images: Sequence[Image.Image]) -> list[list[Reading]]:
        happened("read", len(images))
        if self.most is not None and len(images) > self.most:
            raise out_of_memory()
        return [self._one(image) for image in images]

    def _one(self, image: Image.Image) -> list[Reading]:
        value = derive(0, pixel_hash(image))
        if share(value, "fail") < self.fail_share:
            raise ValueError("cannot read")
        return [self._reading(attribute, derive(value, attribute)) for attribute in self.categories]

    def _reading(self, attribute: str, value: int) -> Reading:
        first = share(value, "probability")
        best = max(first, 1 - first)
        label = self.categories[attribute][int(first < 0.5)] if best >= self.threshold else None
        return Reading(attribute, "ok" if label else "low_confidence", label, best, (first, 1 - first))


class ToyDataset:
    """`n` painted seeds of two concepts; `broken` ones cannot be opened; `ids` replaces their names."""

    concept_kind = "activity"

    def __init__(
        self, *, n: int = 6, broken: Sequence[int] = (), ids: Sequence[str] | None = None, how: str = "OSError"
    ) -> None:
        names = ids if ids is not None else [f"toy-{number}" for number in range(n)]
        opens = [partial(_cannot, how) if number in broken else partial(painted, number) for number in range(len(names))]
        self.seeds = [
            Seed(name, "toy", "activity", ("reading", "dancing")[number % 2], {"gender": "female"}, picture)
            for number, (name, picture) in enumerate(zip(names, opens, strict=True))
        ]

    def fingerprint(self) -> str:
        return f"toy of {len(self.seeds)}"

    def load(self) -> list[Seed]:
        return list(self.seeds)


class Whisper:
    """A mitigation that says who it is before and after the captioner, and counts the captions that go out."""

    scope = "chain"

    def __init__(self, *, word: str) -> None:
        self.word = word

    def describe(self, images: Sequence[Image.Image], contexts: Sequence[Context], inner: Describe) -> list[Caption]:
        return [Caption(f"{self.word} {caption.text}", caption.tokens) for caption in inner(images, contexts)]

    def generate(self, captions: Sequence[str], contexts: Sequence[Context], inner: Generate) -> list[Picture]:
        return inner([f"{caption} {self.word}" for caption in captions], contexts)


class Stencil(Whisper):
    """A mitigation that takes its word from the name of a file."""

    def __init__(self, *, file: str) -> None:
        super().__init__(word=file)


def painted(value: int, size: int = 16) -> Image.Image:
    """A colour, and a stripe of another."""
    image = Image.new("RGB", (size, size), (64 + value % 191, 64 + (value >> 8) % 191, 64 + (value >> 16) % 191))
    image.paste((64 + (value >> 24) % 191, 80, 90), (0, 0, size // 2, 2))
    return image


def share(seed: int, name: str) -> float:
    """A number in [0, 1) that belongs to a seed and a name."""
    return derive(seed, name) / 2**63


def out_of_memory(of_torch: bool = False) -> Exception:
    if of_torch:
        import torch

        return torch.OutOfMemoryError("CUDA out of memory")
    return MemoryError("too many at once")


def happened(event: str, what: object) -> None:
    """Counts an event, tells the log, and does what the environment plans for it."""
    EVENTS[event] += 1
    if log := os.environ.get("DOUBLES_LOG"):
        with Path(log).open("a") as handle:
            handle.write(f"{event} {what}\n")
    if event in ("generate", "describe", "read"):
        time.sleep(float(os.environ.get("DOUBLES_SLOW", "0")))
    _planned(event)


def _planned(event: str) -> None:
    for variable, number in (("DOUBLES_KILL", signal.SIGKILL), ("DOUBLES_SIGNAL", signal.SIGTERM)):
        name, _, rest = os.environ.get(variable, "").partition(":")
        moment, _, other = rest.partition(":")
        if name == event and EVENTS[event] == int(moment):
            os.kill(os.getpid(), int(other or number))


def watch_the_disk() -> None:
    """Makes writes, renames and deletions of files events too (before they happen). For processes of their own only."""
    for event, owner, name in (("rename", Path, "replace"), ("unlink", Path, "unlink"), ("write", os, "fsync")):
        setattr(owner, name, partial(_told, event, getattr(owner, name)) if owner is os else _method(event, owner, name))


def _told(event: str, call: Any, *words: Any, **named: Any) -> Any:
    happened(event, words[0])
    return call(*words, **named)


def _method(event: str, owner: type, name: str) -> Any:
    before = getattr(owner, name)

    def method(self: Path, *words: Any, **named: Any) -> Any:
        happened(event, self.name)
        return before(self, *words, **named)

    return method


def no_room(*_: object) -> None:
    """What a full disk says."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _cannot(how: str) -> Image.Image:
    known: dict[str, type[Exception]] = {
        "OSError": OSError,
        "KeyError": KeyError,
        "bomb": Image.DecompressionBombError,
        "EOFError": EOFError,
    }
    raise known[how]("truncated")


if os.environ.get("DOUBLES_KILL", "").split(":")[0] in ("rename", "unlink", "write"):
    watch_the_disk()
