"""Brings every checkpoint that an experiment names into the local hub cache, so that a box without a network can play it.

Safetensors, configs and tokenizers only, at one commit each; what is here already is left as it is. The branch that was
asked for is remembered last, when all files are there: from then on its commit is the model's identity.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from driftloop.core.errors import DriftloopError
from driftloop.core.inventory import Weight, here, licence, needed
from driftloop.core.watch import Watch
from driftloop.core.weights import MissingModelError, ModelError, cached, folder_of, snapshot

AT_ONCE = 4  # files on their way together
MIB = 2**20
SPARE = 2**30  # bytes of disk that stay free


@dataclass(frozen=True, slots=True)
class Fetched:
    """One checkpoint that is here now; `new` says whether this invocation brought it."""

    model: str
    revision: str
    commit: str
    files: int
    bytes: int
    licence: str
    folder: str
    new: bool
    at: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What the hub has of a checkpoint: its commit and the needed files with their sizes."""

    weight: Weight
    commit: str
    files: Mapping[str, int]


def fetch(weights: Iterable[Weight], watch: Watch) -> list[Fetched]:
    """Fetches what is not here; folders and built-in models need nothing. Asks the hub for everything before it loads
    anything: a wrong name, a gate or too small a disk is told before an hour of downloads. Raises ModelError."""
    wanted = list(dict.fromkeys(_as_fetched(weight) for weight in weights if folder_of(weight.model) is None))
    offers = [offered(weight) for weight in wanted if here(weight) is None]
    _check_disk(offers)
    total = sum(sum(offer.files.values()) for offer in offers)
    watch.start("fetch (MiB)", -(-total // MIB))
    bar = _counting(watch, total)
    for offer in offers:
        _download(offer, bar, watch)
    new = {offer.weight for offer in offers}
    return [_fetched(weight, weight in new) for weight in wanted]


def offered(weight: Weight) -> Offer:
    """What the hub would send of a checkpoint. Raises ModelError in one sentence."""
    from huggingface_hub import HfApi

    with _asking(weight):
        info = HfApi().model_info(weight.model, revision=weight.revision, files_metadata=True, timeout=10)
    sizes = {file.rfilename: int(file.size or 0) for file in info.siblings or []}
    files = needed(sizes, weight)
    if not any(name.endswith(".safetensors") for name in files):
        raise ModelError(
            f'the hub has no safetensors of "{weight.model}" at {weight.revision or "main"}'
            f"{f' called {weight.file}' if weight.file else ''}; other formats can run code when they are loaded and are not "
            "fetched. Write it again with `save_pretrained(folder, safe_serialization=True)` and give the folder."
        )
    return Offer(weight, str(info.sha), {name: sizes[name] for name in files})


@contextlib.contextmanager
def _asking(weight: Weight) -> Iterator[None]:
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    name, revision = weight.model, weight.revision or "main"
    if constants.HF_HUB_OFFLINE:
        raise MissingModelError(f'"{name}" cannot be fetched: HF_HUB_OFFLINE is set')
    try:
        yield
    except GatedRepoError as error:
        raise MissingModelError(
            f'"{name}" is gated: accept its licence at {constants.ENDPOINT}/{name} and log in with `hf auth login`, then '
            "fetch again"
        ) from error
    except RevisionNotFoundError as error:
        raise MissingModelError(f'the hub has no revision "{revision}" of "{name}"') from error
    except RepositoryNotFoundError as error:
        raise MissingModelError(f'the hub has no model "{name}", or it is private and needs `hf auth login`') from error
    except DriftloopError:
        raise
    except Exception as error:
        raise MissingModelError(
            f'"{name}" could not be fetched from {constants.ENDPOINT}: {" ".join(str(error).split())[:300]}. What arrived is '
            "kept; the same command goes on from there."
        ) from error


def _as_fetched(weight: Weight) -> Weight:
    """Without what matters only once it is loaded."""
    return Weight(**{**asdict(weight), "dtype": "float32", "device": "auto"})


def _check_disk(offers: Sequence[Offer]) -> None:
    for cache in {cached(offer.weight.model).parent for offer in offers}:
        asked = sum(sum(offer.files.values()) for offer in offers)
        place = next(path for path in (cache, *cache.absolute().parents) if path.exists())
        free = shutil.disk_usage(place).free
        if asked + SPARE > free:
            raise ModelError(
                f"{asked / 2**30:.1f} GiB are to be fetched into {cache}, where {free / 2**30:.1f} GiB are free; make room, or "
                "choose another place with fetch.into=FOLDER"
            )


def _download(offer: Offer, bar: Any, watch: Watch) -> None:
    from huggingface_hub import hf_hub_download

    model, commit = offer.weight.model, offer.commit

    def one(name: str) -> None:
        watch.stop_if_asked()
        hf_hub_download(model, name, revision=commit, cache_dir=cached(model).parent, tqdm_class=bar)

    with _asking(offer.weight), ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, offer.files))
    if not offer.weight.pinned:
        _remember(model, offer.weight.revision or "main", commit)


def _remember(model: str, revision: str, commit: str) -> None:
    """The hub library's own note of what a branch was; written whole, after everything else."""
    path = cached(model) / "refs" / revision
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(commit)
    temporary.replace(path)


def _fetched(weight: Weight, new: bool) -> Fetched:
    found = here(weight)
    if found is None or found.commit is None:
        raise ModelError(
            f'"{weight.model}" was fetched, but not all that its configs ask for is at the hub as safetensors; '
            f"look into {cached(weight.model)}"
        )
    return Fetched(
        model=weight.model,
        revision=weight.revision or "main",
        commit=found.commit,
        files=len(found.files),
        bytes=found.bytes,
        licence=licence(found.folder),
        folder=str(snapshot(weight.model, found.commit)),
        new=new,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _counting(watch: Watch, total: int) -> type[Any]:
    """A bar class for the hub library to tell of bytes, all files together; bars of its own would break up ours."""
    lock, arrived = Lock(), 0

    class Counting:
        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def __enter__(self) -> Counting:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def update(self, count: float | None = 1) -> None:
            nonlocal arrived
            with lock:
                before, arrived = arrived, min(total, arrived + int(count or 0))
                watch.advance(-(-arrived // MIB) - -(-before // MIB))
            watch.stop_if_asked()

    return Counting


def record_of(fetched: Sequence[Fetched]) -> dict[str, dict[str, Any]]:
    """For provenance: model@revision -> what was fetched."""
    return {f"{one.model}@{one.revision}": asdict(one) for one in fetched}
