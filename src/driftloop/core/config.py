"""What Hydra cannot say alone: which targets may be built, that options bind to them, and what identifies their results."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from driftloop.core.errors import ConfigError, nearest
from driftloop.core.weights import check_safe, fingerprint

TARGET = "_target_"
ALLOWED = ("driftloop",)

# Settings that change how fast or where, never what: they are in no identity.
MEANS = frozenset({"batch_size", "device", "endpoint", "workers"})
# Where a data set lies; what it holds is in its fingerprint. (A model folder's weights are hashed in its stead.)
PLACES = frozenset({"annotations", "file", "root"})
# Files of a model's place in the loop: what they hold counts, not where they lie.
FILES = frozenset({"captions_file"})


@dataclass(frozen=True)
class Option:
    """One chosen plug-in: the name of the choice, and its constructor call as plain data."""

    name: str
    call: Mapping[str, Any]

    def build(self) -> Any:
        """The object itself. Nothing heavy happens before it is used: weights load at the first call."""
        try:
            return build(self.call)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{self.name}: {error}") from error

    def identity(self) -> dict[str, Any]:
        """Everything that can change its results: target, arguments with their defaults, weights; less MEANS."""
        return dict(_identity(self.call))

    @property
    def batch_size(self) -> int:
        return int(self.call.get("batch_size", 64))


def digest(identity: object) -> str:
    """SHA-256 (hex) of plain data in canonical JSON."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def check(call: Any, allowed: Iterable[str] = ALLOWED, where: str = "config") -> None:
    """Every `_target_` at any depth is allowed, exists, and takes the arguments given. Raises ConfigError."""
    for path, node in _targets(call, where):
        _check_allowed(str(node[TARGET]), tuple(allowed), path)
        _bind(node, path)


def build(call: Any) -> Any:
    """Calls targets innermost first; everything else stays plain data."""
    if isinstance(call, Mapping):
        arguments = {key: build(value) for key, value in call.items() if key != TARGET}
        return _resolve(str(call[TARGET]))(**arguments) if TARGET in call else arguments
    if isinstance(call, list | tuple):
        return [build(value) for value in call]
    return call


def _targets(node: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(node, Mapping):
        if TARGET in node:
            yield path, node
        for key, value in node.items():
            yield from _targets(value, f"{path}.{key}")
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from _targets(value, f"{path}[{index}]")


def _check_allowed(target: str, allowed: tuple[str, ...], path: str) -> None:
    if target.partition(".")[0] not in allowed:
        raise ConfigError(
            f"{path}: _target_ {target!r} is not allowed; allowed are targets of {', '.join(sorted(allowed))}. "
            f"For code of your own say allow_targets=[{target.partition('.')[0]}] on the command line."
        )
    found = _resolve(target, path)
    # A dotted name could walk out of an allowed package through what it imports (driftloop.x.os.system).
    if getattr(found, "__module__", "").partition(".")[0] not in allowed:
        raise ConfigError(f"{path}: _target_ {target!r} leads to {found!r}, outside {', '.join(sorted(allowed))}")


def _resolve(target: str, path: str = "config") -> Any:
    module, _, name = target.rpartition(".")
    try:
        found = importlib.import_module(module)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{path}: _target_ {target!r} cannot be imported: {error}") from error
    if not hasattr(found, name):
        names = [known for known in vars(found) if not known.startswith("_")]
        raise ConfigError(f"{path}: {module} has no {name!r}.{nearest(name, names)}")
    return getattr(found, name)


def _bind(node: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """All arguments of the call, defaults filled in."""
    signature = inspect.signature(_resolve(str(node[TARGET]), path))
    arguments = {str(key): value for key, value in node.items() if key != TARGET}
    missing = [key for key, value in arguments.items() if value == "???"]
    takes = [name for name in signature.parameters if name != "self"]
    for name in arguments:
        if name not in takes:
            raise ConfigError(f"{path}: {node[TARGET]} takes no {name!r}.{nearest(name, takes)} It takes: {', '.join(takes)}.")
    if missing:
        raise ConfigError(f"{path}.{missing[0]} must be given, for example {path}.{missing[0]}=...")
    try:
        bound = signature.bind(**arguments)
    except TypeError as error:
        raise ConfigError(f"{path}: {node[TARGET]} cannot be called: {error}. It takes: {', '.join(takes)}.") from error
    bound.apply_defaults()
    return bound.arguments


def _identity(node: Any) -> Any:
    if isinstance(node, Mapping):
        plain = dict(_bind(node, "config")) | {TARGET: node[TARGET]} if TARGET in node else dict(node)
        kept = {str(key): _identity(value) for key, value in plain.items() if key not in MEANS}
        if isinstance(kept.get("model"), str):
            check_safe(kept["model"], remote_code=bool(kept.get("remote_code")))  # here, before a run folder is made
            kept["model"] = fingerprint(kept["model"], kept.get("revision"))
        return kept | {name: _content(kept[name]) for name in FILES & kept.keys()}
    if isinstance(node, list | tuple):
        return [_identity(value) for value in node]
    return node


def _content(file: Any) -> str:
    try:
        return hashlib.sha256(Path(str(file)).expanduser().read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror or error}") from error
