"""One experiment as plain data: what was chosen, how far it goes, and what identifies its run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from driftloop.core.config import PLACES, Option, check, digest
from driftloop.core.errors import ConfigError, nearest
from driftloop.core.inventory import Weight, weights_in
from driftloop.core.limits import placed, take
from driftloop.core.placement import KINDS, Kind
from driftloop.core.prompts import told
from driftloop.core.records import Checked, Dataset, Seed
from driftloop.core.store import Store
from driftloop.core.weights import family

STAGES = ("fetch", "play", "measure", "probe", "audit", "analyse", "report", "compare")
LISTS = ("mitigation", "classifier", "concept_classifier", "encoder", "metric")
ONES = ("dataset", "generator", "captioner", "locator", "engine")
PLAIN = (
    "rounds", "replicates", "stages", "root_seed", "arm", "on_failure", "analysis", "results_dir", "wave", "flush_seconds",
    "filmstrips", "show_seeds", "probe", "audit", "fetch", "placement", "plan", "status", "allow_targets",
)  # fmt: skip
NESTED = {
    "on_failure": ("retries", "max_share", "again"),
    "analysis": ("resamples", "level", "min_seeds", "confirmatory"),
    "probe": ("n", "replicates", "attributes"),
    "audit": ("n", "labels"),
    "fetch": ("into",),
}
DATA = ("source", "seeds")
EXTENT = ("limit", "limit_per_concept")
DECLARED = ("rounds", "replicates", "seeds")
ON_REQUEST = ("fetch", "probe", "audit", "compare")


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything an engine needs to know; picklable."""

    name: str
    dataset: Option
    generator: Option
    captioner: Option
    locator: Option
    engine: Option
    mitigations: Sequence[Option] = ()
    classifiers: Sequence[Option] = ()
    concept_classifiers: Sequence[Option] = ()
    encoders: Sequence[Option] = ()
    metrics: Sequence[Option] = ()
    truth: Option | None = None
    rounds: int
    replicates: int
    limit: int | None = None
    limit_per_concept: int | None = None
    stages: Sequence[str] = tuple(stage for stage in STAGES if stage not in ON_REQUEST)
    root_seed: int
    arm: str = ""
    retries: int = 1
    max_share: float = 0.1
    again: bool = False
    resamples: int = 2000
    level: float = 0.95
    min_seeds: int = 10
    confirmatory: Mapping[str, int] = field(default_factory=dict)
    probe_n: int = 200
    probe_replicates: int = 1
    probe_attributes: Sequence[str] = ("gender", "age")
    audit_n: int = 200
    audit_labels: Sequence[Path] = ()
    results_dir: Path = Path("results")
    fetch_into: Path | None = None
    placement: Kind = "auto"
    wave: int = 1024
    flush_seconds: float = 5.0
    filmstrips: int = 6
    show_seeds: bool = False
    config: str = field(default="", repr=False)

    @cached_property
    def source(self) -> Dataset:
        """The data set itself, read once an invocation; it does not travel to other processes."""
        opened: Dataset = self.dataset.build()
        return opened

    @cached_property
    def seeds(self) -> list[Seed]:
        """The seeds within the limits, in hash order; read once an invocation, and they do not travel either."""
        seeds = self.source.load()
        if not seeds:
            raise ConfigError(f"data set {self.dataset.name} is empty")
        twice = [seed_id for seed_id, count in Counter(seed.seed_id for seed in seeds).items() if count > 1]
        if twice:
            raise ConfigError(f"data set {self.dataset.name}: {len(twice)} seed ids are not unique, such as {twice[0]!r}")
        return take(placed(seeds), self.limit, self.limit_per_concept)

    def close_source(self) -> None:
        """Lets go of the data set; what was taken in is in the run."""
        for name in DATA:
            self.__dict__.pop(name, None)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in DATA}

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What makes the pictures and captions what they are; nothing of extent or means."""
        dataset = {key: value for key, value in self.dataset.identity().items() if key not in PLACES}
        return {
            "dataset": dataset | {"fingerprint": self.source.fingerprint()},
            "generator": self.generator.identity(),
            "captioner": self.captioner.identity(),
            "mitigation": [{option.name: option.identity()} for option in self.mitigations],
            "root_seed": self.root_seed,
            "arm": self.arm,
            "retries": self.retries,
        }

    @property
    def names(self) -> dict[str, str]:
        """The chosen options that name the run."""
        mitigation = "+".join(option.name for option in self.mitigations) or "none"
        chosen = {"dataset": self.dataset, "generator": self.generator, "captioner": self.captioner}
        return {group: option.name for group, option in chosen.items()} | {"mitigation": mitigation}

    @cached_property
    def run_id(self) -> str:
        names = [option.name for option in (self.dataset, self.generator, self.captioner, *self.mitigations)]
        return "_".join([*names, digest(self.identity)[:8]])

    def store(self) -> Store:
        return Store(self.results_dir / self.run_id, flush_seconds=self.flush_seconds)

    def weights(self) -> list[tuple[str, Weight]]:
        """(who needs it, checkpoint) for everything that the options name, whatever the stages."""
        groups = {"generator": [self.generator], "captioner": [self.captioner], "locator": [self.locator]}
        groups |= {"mitigation": list(self.mitigations), "classifier": list(self.classifiers)}
        groups |= {"concept_classifier": list(self.concept_classifiers), "encoder": list(self.encoders)}
        groups["metric"] = list(self.metrics)
        ones = {"generator", "captioner", "locator"}
        return [
            (group if group in ones else f"{group} {option.name}", weight)
            for group, options in groups.items()
            for option in options
            for weight in weights_in(option.call)
        ]

    def instruments(self) -> list[tuple[str, Option, dict[str, Any]]]:
        """(folder of its readings, classifier, identity) for all that read pictures; locator and category order count."""
        locator = self.locator.identity()
        found = []
        for place, options in (("labels", self.classifiers), ("concepts", self.concept_classifiers)):
            for option in options:
                categories = {name: list(values) for name, values in option.build().categories.items()}
                identity: dict[str, Any] = {"classifier": option.identity(), "locator": locator, "categories": categories}
                if self._judges_itself(option):
                    identity["judges_itself"] = True
                found.append((f"{place}/{option.name}-{digest(identity)[:8]}", option, identity))
        return found

    def encodings(self) -> list[tuple[str, Option, dict[str, Any]]]:
        """(folder of its embeddings, encoder, identity); it sees whole pictures, so no locator counts."""
        identities = [(option, {"encoder": option.identity()}) for option in self.encoders]
        return [(f"embeddings/{option.name}-{digest(identity)[:8]}", option, identity) for option, identity in identities]

    def check_instruments(self) -> list[str]:
        """Raises what can be known of instruments and encoders without loading them: weights that are not there or are
        refused, labels that do not fit. Returns a sentence about each that reads the loop with a model of the captioner's
        family."""
        warnings = []
        for _, option, _ in self.encodings():
            encoder = option.build()
            if isinstance(encoder, Checked):
                encoder.check()
        for _, option, identity in self.instruments():
            classifier = option.build()
            if isinstance(classifier, Checked):
                classifier.check()
            if identity.get("judges_itself"):
                warnings.append(f"classifier {option.name} is of the same family as the captioner, which so judges itself")
        return warnings

    def _judges_itself(self, option: Option) -> bool:
        """Whether a captioner inside a classifier is of the family of the loop's own."""
        inside = families(option.call)
        return bool(inside and inside & families(self.captioner.call))


def families(call: Any) -> set[str]:
    """The families of the captioning models named in a constructor call, at any depth: the architecture, else the name."""
    if not isinstance(call, Mapping):
        return set()
    below = [families(value) for value in call.values()]
    captions = ".captioners." in str(call.get("_target_")) and isinstance(call.get("model"), str)
    own = {family(call["model"], call.get("revision"))} if captions else set()
    return own.union(*below)


def experiment(config: Mapping[str, Any], choices: Mapping[str, str], text: str = "") -> Experiment:
    """Checks a composed config and makes the record. `choices` maps a group to the chosen option's name.

    Raises ConfigError naming the key, what was got and what is allowed, before anything is built (but for the data set,
    where a prompt names what it shows).
    """
    _check_keys(config)
    allowed = ("driftloop", *_list("allow_targets", config["allow_targets"]))
    stages = _stages(_list("stages", config["stages"]))
    for group in (*ONES, *LISTS, "truth"):
        if group != "dataset" or stages != ["fetch"]:  # weights are fetched where the data set may not be
            check(_call(config, group), allowed, group)
        _check_batch_sizes(_call(config, group), group)
    ones = {group: Option(choices[group], _call(config, group)) for group in ONES}
    return Experiment(
        name=choices.get("experiment") or "custom",
        dataset=ones["dataset"],
        generator=ones["generator"],
        captioner=_asking(ones["captioner"], ones["dataset"]),
        locator=ones["locator"],
        engine=ones["engine"],
        mitigations=_options(config, "mitigation"),
        classifiers=_options(config, "classifier"),
        concept_classifiers=_options(config, "concept_classifier"),
        encoders=_options(config, "encoder"),
        metrics=_options(config, "metric"),
        truth=Option("truth", config["truth"]) if config.get("truth") else None,
        **_numbers(config),
        stages=stages,
        arm=str(config["arm"] or ""),
        again=bool(config["on_failure"]["again"]),
        show_seeds=bool(config["show_seeds"]),
        results_dir=_folder("results_dir", config["results_dir"]),
        probe_attributes=_words("probe.attributes", config["probe"]["attributes"]),
        audit_labels=[_folder("audit.labels", path) for path in _list("audit.labels", config["audit"]["labels"])],
        fetch_into=_into(config["fetch"]),
        placement=_placement(config["placement"]),
        config=text,
    )


def _call(config: Mapping[str, Any], group: str) -> Mapping[str, Any]:
    """The constructor call of a group: extent is not part of it."""
    return {key: value for key, value in (config.get(group) or {}).items() if group != "dataset" or key not in EXTENT}


def _check_batch_sizes(call: Mapping[str, Any], group: str) -> None:
    """That of a group, or those of the options of a list-valued one."""
    if "batch_size" in call:
        _number(f"{group}.batch_size", call["batch_size"], int, 1)
    for name, option in call.items():
        if group in LISTS and isinstance(option, Mapping):
            _check_batch_sizes(option, f"{group}.{name}")


def _asking(captioner: Option, dataset: Option) -> Option:
    """The captioner with its prompt's text and what that asks of the data set, which is opened only for such a prompt."""

    def known(name: str) -> Any:
        source = dataset.build()
        return source.concept_kind if name == "concept_kind" else sorted({seed.concept for seed in source.load()})

    try:
        return Option(captioner.name, told(captioner.call, known))
    except ValueError as error:
        raise ConfigError(f"captioner: {error}") from error


def _options(config: Mapping[str, Any], group: str) -> list[Option]:
    chosen = config.get(group) or {}
    if "_target_" in chosen:
        raise ConfigError(f"{group}: an option of a list-valued group nests under its own name ({group}.<name>._target_)")
    return [Option(str(name), call) for name, call in chosen.items()]


def _check_keys(config: Mapping[str, Any]) -> None:
    known = (*PLAIN, *ONES, *LISTS, "truth")
    for key in config:
        if key not in known:
            raise ConfigError(f"there is no key {key!r}.{nearest(str(key), known)} Keys: {', '.join(known)}.")
    for group, keys in NESTED.items():
        if not isinstance(config[group], Mapping):
            raise ConfigError(f"{group} must be a mapping with {', '.join(keys)}; got {config[group]!r}")
        for key in config[group]:
            if key not in keys:
                raise ConfigError(f"there is no key {group}.{key}.{nearest(str(key), keys)}")


def _list(key: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ConfigError(f"{key} must be a list, such as [{value or ''}]; got {value!r}")
    return value


def _words(key: str, value: Any) -> list[str]:
    words = _list(key, value)
    if not words or not all(isinstance(word, str) for word in words) or len(set(words)) < len(words):
        raise ConfigError(f"{key} must be a list of different names; got {value!r}")
    return words


def _folder(key: str, value: Any) -> Path:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{key} must be a folder; got {value!r}")
    return Path(value)


def _into(fetch: Mapping[str, Any]) -> Path | None:
    return None if fetch["into"] is None else _folder("fetch.into", fetch["into"])


def _placement(word: Any) -> Kind:
    if word not in KINDS:
        raise ConfigError(f"placement must be one of {', '.join(KINDS)}; got {word!r}")
    return cast(Kind, word)


def _stages(stages: Sequence[str]) -> list[str]:
    for stage in stages:
        if stage not in STAGES:
            raise ConfigError(f"there is no stage {stage!r}.{nearest(stage, STAGES)} Stages: {', '.join(STAGES)}.")
    return [stage for stage in STAGES if stage in stages]


def _numbers(config: Mapping[str, Any]) -> dict[str, Any]:
    dataset, failure, analysis = config["dataset"], config["on_failure"], config["analysis"]
    return {
        "rounds": _number("rounds", config["rounds"], int, 0),
        "replicates": _number("replicates", config["replicates"], int, 1),
        "root_seed": _number("root_seed", config["root_seed"], int, 0),
        "limit": _optional("dataset.limit", dataset.get("limit")),
        "limit_per_concept": _optional("dataset.limit_per_concept", dataset.get("limit_per_concept")),
        "retries": _number("on_failure.retries", failure["retries"], int, 0),
        "max_share": _number("on_failure.max_share", failure["max_share"], float, 0, 1),
        "resamples": _number("analysis.resamples", analysis["resamples"], int, 100),
        "level": _number("analysis.level", analysis["level"], float, 0.5, 0.999),
        "min_seeds": _number("analysis.min_seeds", analysis["min_seeds"], int, 2),
        "confirmatory": _declared("analysis.confirmatory", analysis["confirmatory"]),
        "probe_n": _number("probe.n", config["probe"]["n"], int, 2),
        "probe_replicates": _number("probe.replicates", config["probe"]["replicates"], int, 1),
        "audit_n": _number("audit.n", config["audit"]["n"], int, 2),
        "wave": _number("wave", config["wave"], int, 1),
        "flush_seconds": _number("flush_seconds", config["flush_seconds"], float, 0),
        "filmstrips": _number("filmstrips", config["filmstrips"], int, 0),
    }


def _declared(key: str, extent: Any) -> dict[str, int]:
    """The extent declared for confirmatory tests; what is null is not declared."""
    if not isinstance(extent, Mapping) or set(extent) - set(DECLARED):
        raise ConfigError(f"{key} must be a mapping with {', '.join(DECLARED)}; got {extent!r}")
    found = {name: _optional(f"{key}.{name}", extent.get(name)) for name in DECLARED}
    return {name: number for name, number in found.items() if number is not None}


def _optional(key: str, value: Any) -> int | None:
    return None if value is None else int(_number(key, value, int, 1))


def _number(key: str, value: Any, kind: type, least: float, most: float = float("inf")) -> Any:
    fits = isinstance(value, int) if kind is int else isinstance(value, int | float)
    if not fits or isinstance(value, bool) or not least <= value <= most:
        upper = "" if most == float("inf") else f" and at most {most:g}"
        raise ConfigError(
            f"{key} must be a {'whole ' if kind is int else ''}number of at least {least:g}{upper}; got {value!r}"
        )
    return value
