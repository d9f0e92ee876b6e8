"""What an experiment's options name by `model`, which of a model's files are needed, and what of them is here.

Adapters need not declare anything: an option is plain data, and whatever mapping in it has a `model` names weights, with
`revision`, `variant` and `file` beside it, and `dtype` and `device` beside it or further out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from driftloop.core.weights import COMMIT, HASHED, cached_commit, folder_of, snapshot

# The names that diffusers, transformers and peft save weights under; anything else beside them is for other programs.
WEIGHTS = re.compile(
    r"(?:model|diffusion_pytorch_model|adapter_model|pytorch_lora_weights)"
    r"(?:\.(?P<variant>\w+))?(?:-\d{5}-of-\d{5}(?:\.(?P<late>\w+))?)?\.safetensors"
)
CARD = ("readme.md", "card.md")
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
LICENCE = re.compile(r"^(license|license_name):\s*[\"']?([^\"'\s]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Weight:
    """One checkpoint that an option names, and how it is loaded.

    `file` is one file of it, where not the whole is wanted; `without` are components of a pipeline that come from elsewhere.
    """

    model: str
    revision: str | None = None
    variant: str | None = None
    file: str | None = None
    without: tuple[str, ...] = ()
    dtype: str = "float32"
    device: str = "auto"
    remote_code: bool = False

    @property
    def pinned(self) -> bool:
        return bool(self.revision and COMMIT.fullmatch(self.revision))


def weights_in(call: Any, **around: Any) -> Iterator[Weight]:
    """Every checkpoint that an option names, at any depth, the built-in ones and folders too."""
    if isinstance(call, Mapping):
        around |= {key: call[key] for key in ("dtype", "device", "remote_code") if call.get(key) is not None}
        if isinstance(call.get("model"), str) and call["model"] != "???":
            yield _weight(call, around)
        for value in call.values():
            yield from weights_in(value, **around)
    elif isinstance(call, list | tuple):
        for value in call:
            yield from weights_in(value, **around)


def _weight(call: Mapping[str, Any], around: Mapping[str, Any]) -> Weight:
    own = {key: call[key] for key in ("revision", "variant", "file") if isinstance(call.get(key), str)}
    parts = call.get("parts")
    return Weight(call["model"], **own, without=tuple(parts) if isinstance(parts, Mapping) else (), **around)


def needed(names: Iterable[str], weight: Weight) -> list[str]:
    """The files of a checkpoint that are loaded: configs, tokenizers, and one set of safetensors a component.

    A pipeline (it has a model_index.json) keeps its weights in folders that have a config.json, any other model beside its
    own. Where `variant` is asked for, its files stand in for the plain ones in each folder that has them.
    """
    names = sorted(names)
    if weight.file is not None:
        return [name for name in names if name == weight.file]
    small = [name for name in names if _is_small(name, weight)]
    folders = _weight_folders(names, weight)
    chosen = [name for folder in folders for name in _one_set([n for n in names if _parent(n) == folder], weight.variant)]
    return sorted({*small, *(chosen or _loose(names))})


def _is_small(name: str, weight: Weight) -> bool:
    path = Path(name)
    if path.suffix == ".safetensors" or any(part.startswith(".") for part in path.parts):
        return False
    return path.name.lower() in CARD or (path.suffix in HASHED and (weight.remote_code or path.suffix != ".py"))


def _weight_folders(names: Sequence[str], weight: Weight) -> list[str]:
    if "model_index.json" not in names:
        return [""]
    return sorted({_parent(n) for n in names if n.endswith("/config.json") and _parent(n) not in weight.without})


def _one_set(names: Sequence[str], variant: str | None) -> list[str]:
    """The weight files of one folder in one variant; unsharded ones where there are both."""
    found = {name: match for name in names if (match := WEIGHTS.fullmatch(Path(name).name))}
    by_variant = {kind: [name for name, match in found.items() if _variant(match) == kind] for kind in (variant, None)}
    files = by_variant[variant] or by_variant[None]
    return [name for name in files if "-of-" not in name] or files


def _variant(match: re.Match[str]) -> str | None:
    return match["variant"] or match["late"]


def _loose(names: Sequence[str]) -> list[str]:
    """Weights under a name of their own, where there are none under a usual one."""
    return [name for name in names if name.endswith(".safetensors") and "/" not in name]


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


# What is here --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Copy:
    """A checkpoint on this machine: its folder, its commit (None for a folder of one's own), its needed files with sizes."""

    folder: Path
    commit: str | None
    files: Mapping[str, int]

    @property
    def bytes(self) -> int:
        return sum(self.files.values())


def here(weight: Weight) -> Copy | None:
    """What of a checkpoint lies here, ready to load; None where it is not, or not all of it. No network is asked."""
    folder, commit = folder_of(weight.model), None
    if folder is None:
        commit = weight.revision if weight.pinned else cached_commit(weight.model, weight.revision or "main")
        folder = snapshot(weight.model, commit) if commit else None
    if folder is None or not folder.is_dir():
        return None
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    files = needed(names, weight)
    whole = _whole(files, weight)
    return Copy(folder, commit, {name: (folder / name).stat().st_size for name in files}) if whole else None


def _whole(files: Sequence[str], weight: Weight) -> bool:
    """Whether every component has its weights, and every shard that an index of the chosen variant names is there."""
    weights = [name for name in files if name.endswith(".safetensors")]
    bare = set(_weight_folders(files, weight)) - {_parent(name) for name in weights}
    if not weights or (weight.file is None and "model_index.json" in files and bare):
        return False
    shards = [name for name in weights if "-of-" in name]
    return all(len(same) == count for same, count in _sets(shards))


def _sets(shards: Sequence[str]) -> Iterator[tuple[list[str], int]]:
    """The shards of each set, and how many their names say there are."""
    key = {name: re.sub(r"-\d{5}-of-", "-of-", name) for name in shards}
    for one in sorted(set(key.values())):
        count = re.search(r"-of-(\d{5})", one)
        yield [name for name in shards if key[name] == one], int(count[1]) if count else 0


def memory(copy: Copy, dtype: str) -> int:
    """Bytes of a checkpoint's weights once loaded: floating-point tensors in `dtype`, all others as they are stored."""
    weights = [copy.folder / name for name in copy.files if name.endswith(".safetensors")]
    return sum(_loaded(path, BYTES.get(dtype, 4)) for path in weights)


def _loaded(path: Path, each: int) -> int:
    sizes = 0
    for name, entry in _header(path).items():
        if name != "__metadata__":
            stored = entry["data_offsets"][1] - entry["data_offsets"][0]
            sizes += math.prod(entry["shape"]) * each if entry["dtype"] in FLOATS else stored
    return sizes


def _header(path: Path) -> dict[str, Any]:
    """The table at the head of a safetensors file: names, dtypes and shapes, without the weights. {} if it has none."""
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            return dict(json.loads(stream.read(length))) if length <= path.stat().st_size else {}
    except ValueError:
        return {}


def licence(folder: Path) -> str:
    """The licence that the model card's metadata names; "" where it names none."""
    for card in sorted((path for path in folder.iterdir() if path.name.lower() in CARD), reverse=True):
        text = card.read_text(encoding="utf-8", errors="replace")
        found = dict(LICENCE.findall(text.split("\n---", 1)[0])) if text.startswith("---") else {}
        if found:
            return str(found.get("license_name") or found["license"])
    return ""
