"""One invocation: the stages in order over one run folder, with what was recorded about it; also `status`."""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftloop.core.experiment import Experiment
from driftloop.core.store import Store, write_bytes
from driftloop.core.watch import Watch, listening
from driftloop.stages.fetch import Fetched, fetch, record_of
from driftloop.stages.probe import check as check_probes

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

Keep = Callable[..., None]
log = logging.getLogger("driftloop")
RECORDED = ("torch", "diffusers", "transformers", "tokenizers", "accelerate", "safetensors", "huggingface_hub",
            "numpy", "pillow", "pyarrow", "driftloop")  # fmt: skip
EXTRAS = ("uniface", "onnxruntime", "openai")


def run(experiment: Experiment, watch: Watch, command: Sequence[str], overrides: Sequence[str] = ()) -> None:
    """Plays the stages that were asked for. Every plug-in is built, cheaply, before the first of them starts."""
    build_all(experiment)
    fetched = bring(experiment, watch) if "fetch" in experiment.stages else {}
    if set(experiment.stages) <= {"fetch", "compare"}:
        compare(experiment)
        return
    if "play" in experiment.stages:
        _ = experiment.seeds  # an empty data set, or an id that stands twice, is told before a folder is made
    if "probe" in experiment.stages:
        check_probes(experiment)
    doubts = experiment.check_instruments() if {"measure", "probe"} & set(experiment.stages) else []
    store = experiment.store()
    store.claim(experiment.identity, experiment.names, experiment.config)
    with recorded(store, experiment, command, overrides) as keep, listening(watch):
        try:
            keep(fetched=fetched, models=watch.models)  # the very mapping: every later keep has what was added by then
            _tell_of_the_data(experiment, keep)
            _warn_of_the_instruments(doubts, keep)
            stages(experiment, store, watch, keep)
        finally:
            watch.close()
    if experiment.engine.build().leads:
        show(experiment, store)
        compare(experiment)


def compare(experiment: Experiment) -> None:
    """All runs of the experiment against the first of them, where that was asked for."""
    if "compare" in experiment.stages:
        from driftloop.stages.compare import compare_all

        page = compare_all(
            experiment.results_dir,
            experiment.name,
            level=experiment.level,
            resamples=experiment.resamples,
            min_seeds=experiment.min_seeds,
        )
        console().print(f"comparison: {page}", soft_wrap=True)


def bring(experiment: Experiment, watch: Watch) -> dict[str, Any]:
    """Fetches every checkpoint, says what came and where it lies, and keeps a note of the commits below results_dir."""
    with listening(watch):
        try:
            fetched = fetch((weight for _, weight in experiment.weights()), watch)
        finally:
            watch.close()
    record = record_of(fetched)
    path = experiment.results_dir / "fetched.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    write_bytes(path, json.dumps(before | record, indent=2, sort_keys=True).encode())
    _show_fetched(fetched, experiment.fetch_into)
    return record


def _show_fetched(fetched: Sequence[Fetched], into: Path | None) -> None:
    from rich.table import Table

    table = Table("checkpoint", "revision", "commit", "files", "GiB", "licence", "", title="fetched", title_justify="left")
    for one in fetched:
        state = "new" if one.new else "was here"
        table.add_row(
            one.model, one.revision, one.commit, str(one.files), f"{one.bytes / 2**30:.2f}", one.licence or "?", state
        )
    out = console()
    if not fetched:
        return out.print("nothing to fetch: no option names a checkpoint of a hub")
    out.print(table)
    place = f"HF_HUB_CACHE={into.absolute()} " if into else ""
    return out.print(f"without a network: {place}HF_HUB_OFFLINE=1 driftloop …", soft_wrap=True)


def _tell_of_the_data(experiment: Experiment, keep: Keep) -> None:
    """What the data set's loader detected, mapped and left out: to the terminal, to run.log and to the provenance."""
    notes = getattr(experiment.source, "notes", None)
    told = list(notes()) if notes is not None else []
    for note in told:
        log.info("%s", note)
        print(f"driftloop: {note}", file=sys.stderr)  # noqa: T201
    keep(dataset_notes=told)


def _warn_of_the_instruments(doubts: Sequence[str], keep: Keep) -> None:
    """Says where a reading is not what it seems: to the terminal, to run.log and to the provenance."""
    for doubt in doubts:
        log.warning("%s", doubt)
        print(f"driftloop: {doubt}", file=sys.stderr)  # noqa: T201
    keep(instrument_warnings=list(doubts))


def build_all(experiment: Experiment) -> None:
    """Constructors validate; a wrong value is found here, in milliseconds, and not after an hour of generating."""
    options = [experiment.generator, experiment.captioner, experiment.locator, experiment.engine]
    readers = (*experiment.classifiers, *experiment.concept_classifiers, *experiment.encoders)
    for option in (*options, *experiment.mitigations, *readers, *experiment.metrics):
        option.build()


def stages(experiment: Experiment, store: Store, watch: Watch, keep: Keep) -> None:
    """Each stage reads the files of the stages before; the order is that of the data, whatever the config's order."""
    engine = experiment.engine.build()
    if "play" in experiment.stages:
        engine.play(experiment, store, watch)
        keep()
    if "measure" in experiment.stages:
        engine.measure(experiment, store, watch)
        keep()
    if "probe" in experiment.stages:
        engine.probe(experiment, store, watch)
        keep()
    watch.stop_if_asked()
    if not engine.leads:
        return
    if "audit" in experiment.stages:
        from driftloop.stages.audit import audit

        print(f"driftloop: label pictures on {audit(experiment, store, watch)}", file=sys.stderr)  # noqa: T201
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
        "versions": _versions(),
        "machine": {"cpus": os.cpu_count(), "system": platform.platform()},
        "device": _device(),
    }


def show(experiment: Experiment, store: Store) -> None:
    """The result in a few lines, and where the report is."""
    from rich.table import Table

    out = console()
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
        out.print(table)
    report = store.folder / "report" / "index.html"
    if report.exists():
        out.print(f"report: {report}", soft_wrap=True)


def status(results_dir: Path) -> None:
    """How far every run below a folder is, from its files alone."""
    from rich.table import Table

    table = Table("run", "chains", "rounds", "chain-rounds", "failed", "last start", "outcome", title_justify="left")
    for manifest in sorted(results_dir.glob("*/manifest.json")):
        table.add_row(*_status_of(Store(manifest.parent)))
    console().print(table)


def console() -> Console:
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


def _versions() -> dict[str, str | None]:
    """Of what every run may use, None where it is missing; of extras only those that are installed."""
    extras = {name: found for name in EXTRAS if (found := _version(name)) is not None}
    return {name: _version(name) for name in RECORDED} | extras | {"python": platform.python_version()}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
