"""One invocation: the stages in order over one run folder, with what was recorded about it; also `plan` and `status`."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftloop.core.experiment import Experiment
from driftloop.core.records import Chain
from driftloop.core.store import Store
from driftloop.core.watch import Watch, listening
from driftloop.engines.local import wanted_seeds

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

Keep = Callable[..., None]
log = logging.getLogger("driftloop")
RECORDED = ("torch", "diffusers", "transformers", "numpy", "pillow", "pyarrow", "driftloop")


def run(experiment: Experiment, watch: Watch, command: Sequence[str], overrides: Sequence[str] = ()) -> None:
    """Plays the stages that were asked for. Every plug-in is built, cheaply, before the first of them starts."""
    build_all(experiment)
    if "play" in experiment.stages:
        wanted_seeds(experiment)  # an empty data set, or an id that stands twice, is told before a folder is made
    store = experiment.store()
    store.claim(experiment.identity, experiment.names, experiment.config)
    with recorded(store, experiment, command, overrides) as keep, listening(watch):
        try:
            stages(experiment, store, watch, keep)
        finally:
            watch.close()
    show(experiment, store)


def build_all(experiment: Experiment) -> None:
    """Constructors validate; a wrong value is found here, in milliseconds, and not after an hour of generating."""
    options = [experiment.generator, experiment.captioner, experiment.locator, experiment.engine]
    for option in (*options, *experiment.mitigations, *experiment.classifiers, *experiment.concept_classifiers):
        option.build()


def stages(experiment: Experiment, store: Store, watch: Watch, keep: Keep) -> None:
    """Each stage reads the files of the stages before; the order is that of the data, whatever the config's order."""
    engine = experiment.engine.build()
    if "play" in experiment.stages:
        engine.play(experiment, store, watch)
    if "measure" in experiment.stages:
        engine.measure(experiment, store, watch)
    watch.stop_if_asked()
    if "analyse" in experiment.stages:
        from driftloop.stages.analyse import analyse

        keep(looks=analyse(experiment, store, watch))
    if "report" in experiment.stages:
        from driftloop.stages.report import report

        report(experiment, store, watch)


@contextmanager
def recorded(store: Store, experiment: Experiment, command: Sequence[str], overrides: Sequence[str]) -> Iterator[Keep]:
    """Writes provenance/<time>.json at the start, whenever something is kept, and at the end; and a run.log."""
    started = datetime.now(UTC)
    name = f"provenance/{started:%Y%m%dT%H%M%S%f}-{os.getpid()}.json"
    said = {"command": list(command), "overrides": list(overrides)}
    extent = {"rounds": experiment.rounds, "replicates": experiment.replicates, "limit": experiment.limit}
    record: dict[str, Any] = {**said, "experiment": experiment.name, "start": started, "extent": extent, **surroundings()}
    _warn_of_other_code(store, record)

    def keep(**facts: Any) -> None:
        record.update(facts)
        store.write_json(name, record)

    keep()
    handler = logging.FileHandler(store.folder / "run.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.info("start: %s", " ".join(command))
    try:
        yield keep
        record["outcome"] = "finished"
    except BaseException as error:
        record["outcome"] = f"{type(error).__name__}: {error}"
        raise
    finally:
        log.info("end: %s", record["outcome"])
        log.removeHandler(handler)
        handler.close()
        keep(end=datetime.now(UTC))


def surroundings() -> dict[str, Any]:
    """Code commit, versions and machine; none of it identifies a run, all of it is kept."""
    return {
        "commit": _commit(),
        "versions": {name: _version(name) for name in RECORDED} | {"python": platform.python_version()},
        "machine": {"cpus": os.cpu_count(), "system": platform.platform()},
        "device": _device(),
    }


def show(experiment: Experiment, store: Store) -> None:
    """The result in a few lines, and where the report is."""
    from rich.table import Table

    console = _console()
    if (store.folder / "analysis/drift.parquet").exists():
        table = Table(title=f"{store.run_id}: all seeds, round {experiment.rounds}", title_justify="left")
        for column in (
            "classifier",
            "attribute",
            "category",
            "share",
            "shift (points)",
            f"{experiment.level:.0%} interval",
            "p",
        ):
            table.add_column(column, justify="left" if column in ("classifier", "attribute", "category") else "right")
        names = [option.name for option in experiment.classifiers]
        for row in _last_round(store.read_table("analysis/drift.parquet")).to_dict("records"):
            if row["classifier"] in names:
                table.add_row(*_cells(row))
        console.print(table)
    report = store.folder / "report" / "index.html"
    if report.exists():
        console.print(f"report: {report}", soft_wrap=True)


def plan(experiment: Experiment) -> None:
    """Says what is left to do per stage, and spends nothing."""
    from rich.table import Table

    build_all(experiment)
    store = experiment.store()
    chains = [Chain(seed, number).key for seed in wanted_seeds(experiment) for number in range(experiment.replicates)]
    table = Table("stage", "whole", "done", "left", "time left", title=f"plan for {store.folder}", title_justify="left")
    for row in _work(experiment, store, chains):
        table.add_row(*row)
    console = _console()
    console.print(table)
    console.print(
        f"{len(chains)} chains × {experiment.rounds} rounds; free disk: {_free(store.folder):.1f} GiB", soft_wrap=True
    )


def status(results_dir: Path) -> None:
    """How far every run below a folder is, from its files alone."""
    from rich.table import Table

    table = Table("run", "chains", "rounds", "chain-rounds", "failed", "last start", "outcome", title_justify="left")
    for manifest in sorted(results_dir.glob("*/manifest.json")):
        table.add_row(*_status_of(Store(manifest.parent)))
    _console().print(table)


def _console() -> Console:
    """A terminal is as wide as it is; a log is wide enough for a table."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=160)


def _status_of(store: Store) -> tuple[str, ...]:
    rows = store.rounds(["chain", "round", "status"])
    last = (store.provenance() or [{}])[-1]
    asked = last.get("extent", {})
    failed = int((~rows["status"].isin(["ok", "parent_failed"])).sum())
    chains = rows["chain"].nunique()
    far = f"{rows['round'].max() if len(rows) else 0}/{asked.get('rounds', '?')}"
    return (
        store.run_id, str(chains), far, str(len(rows)), str(failed), str(last.get("start", ""))[:19],
        str(last.get("outcome", "at work or killed")).split(":")[0],
    )  # fmt: skip


def _work(experiment: Experiment, store: Store, chains: Collection[str]) -> Iterator[tuple[str, str, str, str, str]]:
    import numpy as np

    whole = len(chains) * (experiment.rounds + 1)
    rows = store.rounds(["chain", "round", "seconds_generate", "seconds_describe"])
    rows = rows[rows["chain"].isin(chains) & (rows["round"] <= experiment.rounds)]
    seconds = (rows["seconds_generate"].fillna(0) + rows["seconds_describe"].fillna(0)).mean() if len(rows) else float("nan")
    left = whole - len(rows)
    guess = "unknown before a first batch" if np.isnan(seconds) else f"{left * seconds / 60:.1f} min"
    yield "play", str(whole), str(len(rows)), str(left), guess
    for folder, option, _ in experiment.instruments():
        found = store.rows(folder, ["chain", "round"], chains).to_pydict()
        read = sum(number <= experiment.rounds for _, number in {*zip(found["chain"], found["round"], strict=True)})
        yield f"measure {option.name}", str(whole), str(read), str(max(0, whole - read)), ""


def _last_round(drift: pd.DataFrame) -> pd.DataFrame:
    return drift.query("concept == 'all' and method == 'raw' and round == round.max()")


def _cells(row: Mapping[Hashable, Any]) -> tuple[str, ...]:
    return (
        str(row["classifier"]), str(row["attribute"]), str(row["category"]), f"{100 * row['share']:.1f} %",
        f"{100 * row['shift']:+.1f}", f"[{100 * row['shift_low']:+.1f}, {100 * row['shift_high']:+.1f}]",
        f"{row['p_value']:.2g}",
    )  # fmt: skip


def _warn_of_other_code(store: Store, record: dict[str, Any]) -> None:
    before = [entry.get("commit") for entry in store.provenance()]
    if before and before[-1] != record["commit"]:
        log.warning("code commit was %s, now %s: results of both stand in one run", before[-1], record["commit"])


def _commit() -> str | None:
    """The commit of the checkout this code lies in, '+dirty' when it was changed; None outside a checkout."""
    git, here = shutil.which("git"), Path(__file__).parent
    if git is None:
        return None
    head = _output(git, "-C", str(here), "rev-parse", "HEAD")
    if head is None:
        return None
    changed = _output(git, "-C", str(here), "status", "--porcelain", "--untracked-files=no", "--", ".")
    return head + ("+dirty" if changed else "")


def _device() -> str:
    """The accelerators that nvidia-smi lists, else the processor's name; torch is not asked, so that it stays unloaded."""
    smi = shutil.which("nvidia-smi")
    names = _output(smi, "--query-gpu=name", "--format=csv,noheader") if smi else None
    if names:
        return "; ".join(names.splitlines())
    return platform.processor() or platform.machine()


def _output(*command: str) -> str | None:
    """What a program prints; None when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip() if done.returncode == 0 else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _free(folder: Path) -> float:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free / 2**30
