"""The run card: everything that identifies a run, its instruments, and every look at it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from driftloop.report import words
from driftloop.report.material import Instrument, Material
from driftloop.report.parts import Card, Section, Table

Values = dict[str, Any]


def section(material: Material) -> Section:
    return Section("card", "Run card", "Run card", [Card(groups_of(material.perceived)), *invocations(material)])


def groups_of(material: Material) -> list[tuple[str, list[tuple[str, str]]]]:
    """(heading, (key, value) …): everything that identifies the run and its instruments."""
    identity, asked = material.manifest["identity"], material.experiment
    options = {"dataset": asked.dataset, "generator": asked.generator, "captioner": asked.captioner}
    groups: list[tuple[str, Values]] = [
        (group, {"option": option.name, **_model(option.call), **_mapping(identity.get(group))})
        for group, option in options.items()
    ]
    groups.append(("mitigation", {"option": material.manifest["names"]["mitigation"], **_mapping(identity["mitigation"])}))
    groups += [(f"instrument {each.name}", _instrument(each)) for each in material.instruments]
    said = {"said of the data set": "dataset_notes", "said of the instruments": "instrument_warnings"}
    groups += [(name, _mapping(lines)) for name, key in said.items() if (lines := material.told(key))]
    rest = {key: value for key, value in identity.items() if key not in (*options, "mitigation")}
    groups.append(("settings", {**rest, "level of intervals": material.level, "bootstrap draws": asked.resamples}))
    groups.append(("surroundings", _surroundings(material.provenance)))
    return [(name, [(key, words.safe(value, 600)) for key, value in flat(body)]) for name, body in groups]


def _instrument(instrument: Instrument) -> Values:
    reads = {name: ", ".join(values) for name, values in instrument.categories.items()}
    parts = {key: _mapping(value) for key, value in instrument.identity.items()}
    own = {"judges itself": "yes: it is of the captioner's family"} if instrument.judges_itself else {}
    return {"folder": instrument.folder, "reads": reads, **own, **parts}


def invocations(material: Material) -> list[Table]:
    """Every invocation: what extent was asked for, and what extent was looked at (each look is a chance to stop)."""
    rows = [
        {
            "start": str(entry.get("start", ""))[:19],
            "extent": _compact(entry.get("extent")),
            "looks": _compact(entry.get("looks")),
            "commit": str(entry.get("commit") or "unknown")[:12] + ("+dirty" if "+dirty" in str(entry.get("commit")) else ""),
            "device": str(entry.get("device") or ""),
            "outcome": words.safe(str(entry.get("outcome") or "at work when this page was made"), 120),
        }
        for entry in material.provenance
    ]
    return [Table("Invocations and looks, oldest first.", rows)] if rows else []


def flat(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys of nested plain data; a target is told by its last name."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from flat(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list | tuple) and any(isinstance(value, Mapping | list | tuple) for value in node):
        for index, value in enumerate(node):
            yield from flat(value, f"{path}[{index}]")
    elif path.endswith("_target_"):
        yield path.replace("_target_", "class"), str(node).rpartition(".")[2]
    else:
        yield (
            path,
            (node if isinstance(node, str) else json.dumps(node, default=str, ensure_ascii=False)) if node else _empty(node),
        )


def _empty(node: Any) -> str:
    """0 and false are values; nothing at all is a dash."""
    return "–" if node is None or node in ("", [], {}) else json.dumps(node)


def _mapping(node: Any) -> dict[str, Any]:
    """The identity of one group; a model's entry is a hash there, and called so."""
    if isinstance(node, Mapping):
        return {("weights" if key == "model" else str(key)): value for key, value in node.items()}
    return {str(index + 1): value for index, value in enumerate(node or [])}


def _model(call: Mapping[str, Any]) -> dict[str, Any]:
    """How the config names the model; the identity holds only its hash."""
    return {key: call[key] for key in ("model", "revision") if call.get(key)}


def _surroundings(provenance: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    last = provenance[-1] if provenance else {}
    told = {key: last[key] for key in ("commit", "device", "versions") if last.get(key)}
    return {"command": " ".join(map(str, last.get("command", []))), **told} if last else {}


def _compact(node: Any) -> str:
    return words.readable(", ".join(f"{key} {value}" for key, value in flat(node) if key) if node else "–", 300)
