"""What a model is made of: where its weights lie, what identifies them, and what is refused to load."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftloop.core.errors import DriftloopError, out_of_memory

if TYPE_CHECKING:
    import torch

BUILTIN = "builtin:"
DTYPES = ("float32", "bfloat16", "float16")
COMMIT = re.compile(r"[0-9a-f]{40}")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
# What decides a model's answers: weights, configs, tokenizer files, chat templates, code. Cards and pictures do not.
HASHED = (".safetensors", ".json", ".txt", ".model", ".jinja", ".tiktoken", ".py")
CARDS = ("readme", "card.json", "license", "notice")


class ModelError(DriftloopError):
    """A model is not there, is not what was described, or is refused."""


class MissingModelError(ModelError):
    """A hub's model is not here, or not all of it: it has to be fetched first."""


def locate(model: str, revision: str | None = None) -> tuple[str, str | None]:
    """Where to load `model` from, and at which revision: (folder, None), or (hub id, commit).

    `builtin:NAME` is a spelling of the folder that ships inside the package. A hub id is pinned to the commit that
    `fingerprint` gives, so that what is loaded is what was identified.
    """
    folder = folder_of(model)
    return (str(folder), None) if folder else (model, fingerprint(model, revision))


def fingerprint(model: str, revision: str | None = None) -> str:
    """The identity of a model: the SHA-256 of a folder's content, wherever it lies, or the commit of a hub id.

    A branch or tag is looked up in the local hub cache first (what is here is what will be loaded), then at the hub.
    """
    folder = folder_of(model)
    if folder:
        return _folder_hash(folder)
    return revision if revision and COMMIT.fullmatch(revision) else _commit(model, revision or "main")


def config_of(model: str, revision: str | None = None) -> dict[str, Any]:
    """The config.json of a model, without its weights and without a library that reads it; {} where it has none."""
    place, commit = locate(model, revision)
    if commit is None:
        return _json(Path(place) / "config.json") if (Path(place) / "config.json").is_file() else {}
    from huggingface_hub import hf_hub_download

    with _fetching(model, commit):
        return _json(Path(hf_hub_download(place, "config.json", revision=commit)))


def family(model: str, revision: str | None = None) -> str:
    """The architecture that a model's config names; the model's own name where no config can be had (a served model)."""
    try:
        return str(config_of(model, revision).get("model_type") or model)
    except ModelError:
        return model


def check_safe(folder: str | Path, *, remote_code: bool = False) -> None:
    """Refuses pickle checkpoints (they run code when loaded) and, unless asked for, code shipped with the weights."""
    folder = Path(folder)
    if not folder.is_dir():  # a hub id: the libraries are told safetensors only, and no remote code
        return
    for path in _visible(folder):
        _refuse_pickle(path, folder)
        if not remote_code:
            _refuse_code(path, folder)


@contextlib.contextmanager
def loading(model: str) -> Iterator[None]:
    """Whatever goes wrong while a model loads is the model's fault, never that of the items it was loaded for.

    Some architectures draw their initial weights before the real ones arrive: the global generator is put back.
    """
    import torch

    _hush("diffusers", "transformers")
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    except DriftloopError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise ModelError(too_little_memory(model)) from None
        told = f'the model "{model}" could not be loaded: {type(error).__name__}: {error}'
        raise (MissingModelError if isinstance(error, OSError) and folder_of(model) is None else ModelError)(told) from error


def too_little_memory(model: str) -> str:
    """What to say of a model that does not fit on its device."""
    return (
        f'there is not enough memory to load the model "{model}"{_free_memory()}. Say placement=swap to have one model there '
        "at a time, choose a dtype of 16 bit, another device, or a smaller model; plan=true says what each needs."
    )


def _free_memory() -> str:
    """' (cuda:0 has 3.1 GiB of 11.8 GiB free)', if there is a GPU and it still answers."""
    import torch

    with contextlib.suppress(Exception):
        if torch.cuda.is_available():
            free, whole = torch.cuda.mem_get_info()
            return f" (cuda:{torch.cuda.current_device()} has {free / 2**30:.1f} GiB of {whole / 2**30:.1f} GiB free)"
    return ""


def _hush(*libraries: str) -> None:
    """Their bars and notices would break up ours; what really goes wrong comes as an exception. A set verbosity stays."""
    kept = [library for library in libraries if os.environ.setdefault(f"{library.upper()}_VERBOSITY", "error") != "error"]
    for library in set(libraries) - set(kept):  # only now: importing the one imports the other
        logger = importlib.import_module(f"{library}.utils.logging")
        logger.set_verbosity_error()
        logger.disable_progress_bar()


def device_of(name: str) -> torch.device:
    """The torch device of a name; `auto` is the GPU where there is one. ModelError where there is no such device."""
    import torch

    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    except RuntimeError as error:
        raise ModelError(f'device must be auto, cpu, cuda, cuda:1 or the like, got "{name}"') from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(f'there is no device "{name}": this process sees {torch.cuda.device_count()} GPUs')
    return device


def check_dtype(name: str) -> str:
    """`name`, if it is one of DTYPES."""
    if name not in DTYPES:
        raise ValueError(f'dtype must be one of {", ".join(DTYPES)}, got "{name}"')
    return name


def check_at_least(minimum: float, **values: float | None) -> None:
    """Raises ValueError for the first named value below `minimum`; None passes."""
    for name, value in values.items():
        if value is not None and value < minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {value}")


def check_installed(package: str, extra: str) -> None:
    """Raises ModelError for a package that only an extra of ours brings."""
    if package not in sys.modules and importlib.util.find_spec(package) is None:
        raise ModelError(
            f'this needs the package "{package}", which the extra "{extra}" brings: pip install "driftloop[{extra}]"'
        )


def library_versions(*names: str) -> dict[str, str]:
    """The installed versions of libraries, without importing them."""
    from importlib.metadata import version

    return {name: version(name) for name in names}


# Folders -------------------------------------------------------------------------------------------------------------


def folder_of(model: str) -> Path | None:
    """Where a model lies that is a folder or a built-in; None for a hub id. ModelError for a folder that does not exist."""
    if model.startswith(BUILTIN):
        return _builtin(model.removeprefix(BUILTIN))
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise ModelError(f'the model folder "{model}" does not exist')
    return None


def _builtin(name: str) -> Path:
    root = Path(str(files("driftloop"))) / "phantom" / "models"
    if not (root / name).is_dir():
        there = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
        raise ModelError(f'there is no built-in model "{name}"; there are: {", ".join(there) or "none"}')
    return root / name


def _visible(folder: Path) -> Iterator[Path]:
    """Files below a folder in the order of their relative names, without hidden ones (.git, .cache)."""
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in parts):
            yield path


def _folder_hash(folder: Path) -> str:
    known = _HashCache()
    whole = hashlib.sha256()
    names = [path for path in _visible(folder) if _counts(path)]
    if not names:
        raise ModelError(f'the model folder "{folder}" holds no weights or configs ({", ".join(HASHED)})')
    for path in names:
        whole.update(f"{path.relative_to(folder).as_posix()}\0{known.digest(path)}\n".encode())
    known.save()
    return whole.hexdigest()


def _counts(path: Path) -> bool:
    return path.suffix in HASHED and not path.name.lower().startswith(CARDS)


class _HashCache:
    """Hashes of files by (real path, size, mtime), kept below the user's cache folder; losing it costs only time."""

    def __init__(self) -> None:
        self.path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftloop" / "weights.json"
        self.known: dict[str, str] = {}
        self.new: dict[str, str] = {}
        with contextlib.suppress(OSError, ValueError):
            read = json.loads(self.path.read_text())
            self.known = read if isinstance(read, dict) else {}

    def digest(self, path: Path) -> str:
        real = path.resolve()
        state = real.stat()
        key = f"{real}|{state.st_size}|{state.st_mtime_ns}"
        if key not in self.known:
            self.known[key] = self.new[key] = _file_hash(real)
        return self.known[key]

    def save(self) -> None:
        if not self.new:
            return
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
            temporary.write_text(json.dumps(self.known, indent=0, sort_keys=True))
            temporary.replace(self.path)


def _file_hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# Hub ids -------------------------------------------------------------------------------------------------------------


@cache
def _commit(model: str, revision: str) -> str:
    return cached_commit(model, revision) or _hub_commit(model, revision)


def cached_commit(model: str, revision: str) -> str | None:
    """The commit that a branch or tag had when it was fetched; None where it was not."""
    with contextlib.suppress(OSError):
        commit = (cached(model) / "refs" / revision).read_text().strip()
        return commit if snapshot(model, commit).is_dir() else None
    return None


def cached(model: str) -> Path:
    """The folder of a hub id in the local hub cache, whether it is there or not."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{model.replace('/', '--')}"


def snapshot(model: str, commit: str) -> Path:
    """The folder of a hub id at a commit in the local hub cache."""
    return cached(model) / "snapshots" / commit


def use_hub_cache(folder: Path) -> None:
    """Takes another folder for the hub cache, in this process and those that it starts."""
    from huggingface_hub import constants

    os.environ["HF_HUB_CACHE"] = constants.HF_HUB_CACHE = str(folder.expanduser().absolute())


def check_fetched(model: str, revision: str | None, whole: bool) -> None:
    """Raises MissingModelError where a hub's model is not here as a `whole` and no network may be used."""
    from huggingface_hub import constants

    if not whole and constants.HF_HUB_OFFLINE:
        raise MissingModelError(_missing(model, revision or "main", "HF_HUB_OFFLINE is set"))


def _hub_commit(model: str, revision: str) -> str:
    from huggingface_hub import HfApi, constants

    reason = "HF_HUB_OFFLINE is set"
    if not constants.HF_HUB_OFFLINE:
        try:
            return str(HfApi().model_info(model, revision=revision, timeout=10).sha)
        except Exception as error:  # noqa: BLE001 (no network, no such model, no access: all end in the same sentence)
            reason = f"the hub did not answer for it ({type(error).__name__})"
    raise MissingModelError(_missing(model, revision, reason))


def _missing(model: str, revision: str, reason: str) -> str:
    return (
        f'the model "{model}" (revision {revision}) is neither a folder nor, as a whole, in the local hub cache '
        f"({cached(model).parent}), and {reason}. Fetch it where there is a network: the same command with "
        "'stages=[fetch]', or give a folder."
    )


@contextlib.contextmanager
def _fetching(model: str, commit: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise MissingModelError(f'the config of "{model}" at {commit} could not be fetched: {error}') from error


# Refusals ------------------------------------------------------------------------------------------------------------


def _refuse_pickle(path: Path, folder: Path) -> None:
    if path.suffix in PICKLES and not any(path.parent.glob("*.safetensors")):
        raise ModelError(
            f'"{path.relative_to(folder)}" in the model folder is a pickle checkpoint, which can run any code when it '
            "is loaded. Only safetensors are loaded: load it once where you trust it and write it again with "
            "`model.save_pretrained(folder, safe_serialization=True)`, then remove the pickle."
        )


def _refuse_code(path: Path, folder: Path) -> None:
    if path.suffix != ".json":
        return
    content = _json(path)
    if content.get("auto_map") or (path.name == "model_index.json" and _own_code(content, path.parent)):
        raise ModelError(
            f'"{path.relative_to(folder)}" asks to run code that ships with the weights. Read that code, pin a '
            "revision, and set `remote_code: true` for this model if you trust it; or use a checkpoint "
            "the library knows itself."
        )


def _own_code(index: Mapping[str, Any], folder: Path) -> bool:
    """Whether a diffusers index names a component (or the pipeline) whose module is a file of the folder."""
    modules = [(name, entry[0]) for name, entry in index.items() if isinstance(entry, list) and entry and entry[0]]
    return any((folder / place / f"{module}.py").is_file() for name, module in modules for place in (name, "."))


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
