"""Runs as a notebook sees them: tables as DataFrames with config columns joined, and pictures by key."""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from driftloop.core.errors import ConfigError, StoreError
from driftloop.core.limits import taken
from driftloop.core.sharing import open_seeds
from driftloop.core.store import Store

if TYPE_CHECKING:
    from PIL.Image import Image

    from driftloop.analysis.comparison import Arm


class Tables(Mapping[str, pd.DataFrame]):
    """The tables of analysis/ by file name; each is read when it is asked for."""

    def __init__(self, stores: Iterable[Store], read: Callable[[str], pd.DataFrame]) -> None:
        folders = [store.folder / "analysis" for store in stores]
        self._names = sorted({path.stem for folder in folders for path in folder.glob("*.parquet")})
        self._read = read

    def __getitem__(self, name: str) -> pd.DataFrame:
        if name not in self._names:
            raise KeyError(f"no table {name!r} in analysis/; there is {', '.join(self._names) or 'none'}")
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Run:
    """One run folder, read only."""

    def __init__(self, folder: Path | str) -> None:
        self.store = Store(Path(folder))
        self.manifest = self.store.manifest()

    @property
    def run_id(self) -> str:
        return self.store.run_id

    @cached_property
    def config(self) -> dict[str, Any]:
        """Named columns: dataset, generator, captioner, mitigation, arm, root_seed; the generator's settings by their own
        name (guidance, steps …), everybody else's by a dotted one (captioner.max_new_tokens, drop_words.probability)."""
        return config_columns(self.manifest)

    @property
    def seeds(self) -> pd.DataFrame:
        return self.store.seeds()

    @property
    def rounds(self) -> pd.DataFrame:
        return self.store.rounds()

    @property
    def readings(self) -> pd.DataFrame:
        """Readings of every instrument that was ever used on this run; `instrument` is the label folder's name."""
        return self._read("labels")

    @property
    def concepts(self) -> pd.DataFrame:
        return self._read("concepts")

    @property
    def tables(self) -> Tables:
        """Every table of analysis/ by file name ("drift", "tests" …, those of metrics too), without config columns."""
        return Tables([self.store], self.table)

    def table(self, name: str) -> pd.DataFrame:
        """A table of analysis/ ("drift", "distances", "tests", "coverage" …), without config columns."""
        return self.store.read_table(f"analysis/{name}.parquet")

    def image(self, key: str | Mapping[str, Any]) -> Image:
        """The picture of a key of the `image` column, or of a row of `rounds`."""
        return self.store.image(key if isinstance(key, str) else str(key["image"]))

    def export_telephone_game(self, folder: Path | str, *, replicate: int = 0, show_seeds: bool = False) -> Path:
        """Writes one replicate in the exchange layout of The Telephone Game, images or captions first as the run began.

        `folder` must be new or empty. Pictures are lossless; `labels.csv` beside the game holds concept and human labels. A
        chain ends where it failed. What comes from seeds that may not be shared is refused unless `show_seeds` (or when
        the seeds are your own): every caption describes a seed. `dataset=telephone_game` reads it back.
        """
        if not (show_seeds or open_seeds(self.manifest, self.seeds)):
            licensed = ", ".join(sorted(set(self.seeds["dataset"])))
            raise ConfigError(f"the seeds of {self.run_id} ({licensed}) may not be shared; show_seeds=True does it even so")
        target = Path(folder)
        if target.exists() and any(target.iterdir()):
            raise ConfigError(f"{target} is not empty; choose a new folder")
        rounds = self.rounds.query("replicate == @replicate").sort_values(["seed_id", "round"])
        if rounds.empty:
            raise ConfigError(f"{self.run_id} has no replicate {replicate}; it has {sorted(set(self.rounds['replicate']))}")
        images_first = bool((rounds.loc[rounds["round"] == 0, "image"] != "").any())
        self._write_generations(rounds, target / ("images-first" if images_first else "captions-first"), int(images_first))
        _write_csv(target / "labels.csv", *_about(self.seeds[self.seeds["seed_id"].isin(rounds["seed_id"])]))
        return target

    def _write_generations(self, rounds: pd.DataFrame, folder: Path, later: int) -> None:
        """Captions of round r are generation 2r + `later` (1 where images come first), its images the one before."""
        for number, rows in rounds.groupby("round"):
            generation = 2 * int(str(number)) + later
            pictured = rows[rows["image"] != ""]
            for seed_id, key in zip(pictured["seed_id"], pictured["image"], strict=True):
                path = folder / f"gen-{generation - 1}" / f"{seed_id}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                self.image(str(key)).save(path, compress_level=1)
            told = rows[rows["status"].eq("ok") & rows["caption"].notna()]
            names = (f"{seed_id}.png" for seed_id in told["seed_id"])
            _write_csv(folder / f"gen-{generation}.csv", ["filename", "caption"], zip(names, told["caption"], strict=True))

    def _read(self, place: str) -> pd.DataFrame:
        folders = sorted(path.parent.name for path in (self.store.folder / place).glob("*/classifier.json"))
        tables = [self.store.readings(f"{place}/{name}").assign(instrument=name) for name in folders]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


@dataclass(frozen=True)
class Runs:
    """All runs below a folder; every table has the config columns joined."""

    runs: Sequence[Run]

    def __len__(self) -> int:
        return len(self.runs)

    def __getitem__(self, which: int | str) -> Run:
        if isinstance(which, int):
            return self.runs[which]
        return next(run for run in self.runs if run.run_id == which)

    @property
    def configs(self) -> pd.DataFrame:
        return pd.DataFrame([{"run": run.run_id, **run.config} for run in self.runs])

    @property
    def drift(self) -> pd.DataFrame:
        return self.table("drift")

    @property
    def distances(self) -> pd.DataFrame:
        return self.table("distances")

    @property
    def tests(self) -> pd.DataFrame:
        return self.table("tests")

    @property
    def coverage(self) -> pd.DataFrame:
        return self.table("coverage")

    @property
    def tables(self) -> Tables:
        """Every table that some run has in analysis/, by file name: see `table`."""
        return Tables([run.store for run in self.runs], self.table)

    def table(self, name: str) -> pd.DataFrame:
        """A table of analysis/ over all runs that have it, with the config columns; a run without it is left out."""
        having = [run for run in self.runs if (run.store.folder / "analysis" / f"{name}.parquet").exists()]
        if not having:
            raise StoreError(f"none of {len(self)} runs has analysis/{name}.parquet; tables: {', '.join(self.tables)}")
        tables = pd.concat([run.table(name) for run in having], ignore_index=True)
        return tables.merge(self.configs, on="run", how="left", suffixes=("", "_config"))


def load_runs(results_dir: Path | str = "results") -> Runs:
    """Every run below a folder (or the one run that the folder is). StoreError when there is none."""
    folder = Path(results_dir)
    found = sorted(path.parent for path in folder.glob("**/manifest.json"))
    if not found:
        raise StoreError(f"no run (a folder with manifest.json) below {folder.absolute()}")
    return Runs([Run(path) for path in found])


def compare(arm: Run, reference: Run, *, level: float = 0.95, resamples: int = 2000, min_seeds: int = 10) -> pd.DataFrame:
    """`arm` minus `reference` on the seeds of both, paired by seed: a tidy row per concept, attribute, category and round.

    `quantity` is the `share` at the round or the `shift` from the baseline, `years` where ages are read, or what a `metric`
    of both offers by seed; `value` is its difference with `low` and `high` over `n_seeds`. See
    `analysis.comparison.differences`. ConfigError where the runs have no seed or no instrument in common; a warning names
    what else is not compared, and why.
    """
    from driftloop.analysis.comparison import Rules, compared, remarks

    arms = arm_of(arm), arm_of(reference)
    found = compared(*arms, Rules(level=level, resamples=resamples, min_seeds=min_seeds))
    for remark in remarks(*arms):
        warnings.warn(remark, stacklevel=2)
    return found


def arm_of(run: Run) -> Arm:
    """What a comparison needs of a run, as far as its own analysis looked; everything before it was analysed."""
    from driftloop.analysis.comparison import Arm, ReadBy
    from driftloop.analysis.material import Instrument

    seeds, read_by = _looked_at(run), []
    for folder in _folders(run):
        told = run.store.read_json(f"{folder}/classifier.json")
        categories = {name: tuple(values) for name, values in told["categories"].items()}
        kind: Literal["labels", "concepts"] = "labels" if folder.startswith("labels/") else "concepts"
        instrument = Instrument(name=told["name"], folder=folder, kind=kind, categories=categories)
        told.pop("judges_itself", None)  # said of the captioner beside it, not of the instrument
        readings = _within(run, run.store.readings(folder))
        read_by.append(ReadBy(instrument=instrument, identity=json.dumps([kind, told], sort_keys=True), readings=readings))
    return Arm(run=run.run_id, seeds=seeds, read_by=read_by, declared=_declared(run), **_by_seed(run))


def _by_seed(run: Run) -> dict[str, Any]:
    """What an arm has of the table by_seed; nothing before the run was analysed with a metric that makes it."""
    from driftloop.analysis.by_seed import BY_SEED

    if BY_SEED not in run.tables:
        return {}
    rows, inputs = run.table(BY_SEED), run.store.read_json("analysis/inputs.json")
    settings = {name: inputs.get("metrics", {}).get(name) for name in sorted(set(rows["metric"]))}
    return {
        "by_seed": rows,
        "metrics": {name: json.dumps(each, sort_keys=True) for name, each in settings.items()},
        "code": json.dumps(inputs.get("code"), sort_keys=True),
    }


def _folders(run: Run) -> list[str]:
    """labels/<…> and concepts/<…>, whatever has read this run."""
    places = [
        path.parent for place in ("labels", "concepts") for path in sorted(run.store.folder.glob(f"{place}/*/classifier.json"))
    ]
    return [path.relative_to(run.store.folder).as_posix() for path in places]


def _extent(run: Run) -> Sequence[int | None]:
    """Rounds, replicates, limit and limit per concept of the run's analysis; None = all."""
    extent: Sequence[int | None] = run.store.read_json("analysis/inputs.json").get("extent", [None] * 4)
    return extent


def _looked_at(run: Run) -> pd.DataFrame:
    seeds, (_, _, limit, each) = run.seeds, _extent(run)
    return seeds[seeds["seed_id"].isin(taken(seeds, limit, each))]


def _within(run: Run, readings: pd.DataFrame) -> pd.DataFrame:
    rounds, replicates, *_ = _extent(run)
    near = pd.Series(data=True, index=readings.index)
    near &= True if rounds is None else readings["round"] <= rounds
    near &= True if replicates is None else readings["replicate"] < replicates
    return readings[near]


def _declared(run: Run) -> set[tuple[str, str, int]]:
    """(classifier, attribute, round) of the run's own confirmatory tests; none before it was analysed."""
    if not (run.store.folder / "analysis/tests.parquet").exists():
        return set()
    tests = run.table("tests").query("family == 'confirmatory'")
    return set(zip(tests["classifier"], tests["attribute"], tests["round"].astype(int), strict=True))


def config_columns(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The named config columns of a run (see `Run.config`)."""
    identity = manifest["identity"]
    columns = {**manifest["names"], "arm": identity["arm"], "root_seed": identity["root_seed"]}
    columns |= _settings(identity["generator"], "")
    columns |= _settings(identity["captioner"], "captioner.") | _settings(identity["dataset"], "dataset.")
    for entry in identity["mitigation"]:
        for name, call in entry.items():
            columns |= _settings(call, f"{name}.")
    return columns


def _settings(call: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The plain settings of a constructor call; lists and mappings as JSON."""
    settings = {key: value for key, value in call.items() if key not in ("_target_", "model", "fingerprint")}
    return {f"{prefix}{key}": value if _scalar(value) else json.dumps(value) for key, value in settings.items()}


def _about(seeds: pd.DataFrame) -> tuple[list[str], Iterable[Sequence[Any]]]:
    """Concept, split and human labels by file name: header and rows."""
    columns = ["concept", "split", *(column for column in seeds.columns if column.startswith("label_"))]
    names = seeds["seed_id"].map("{}.png".format)
    known = seeds[columns].astype(object).where(seeds[columns].notna(), "")
    return ["filename", *columns], zip(names, *(known[column] for column in columns), strict=True)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def _scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
