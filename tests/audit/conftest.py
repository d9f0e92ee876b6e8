"""A small run of the exact world with an audit drawn, and copies of it to change."""

import dataclasses
import shutil

import pytest

import playing
from driftloop.core.watch import Watch
from driftloop.phantom.annotator import write_labels
from driftloop.runs import Run
from driftloop.stages.analyse import analyse
from driftloop.stages.audit import audit

WORDS = (
    "experiment=phantom_exact", "dataset.limit=60", "rounds=2", "replicates=2", "audit.n=24", "analysis.resamples=100",
    "truth=none", "classifier.exact.abstention=0.1", "classifier.exact.confusion={gender: [[0.8,0.2],[0.1,0.9]]}",
)  # fmt: skip


class Audited:
    """A run with the experiment that belongs to it."""

    def __init__(self, experiment):
        self.experiment = experiment

    @property
    def store(self):
        return self.experiment.store()

    @property
    def run(self):
        return Run(self.store.folder)

    @property
    def sample(self):
        return self.store.read_table("audit/sample.parquet")

    def audit(self, **changes):
        return audit(dataclasses.replace(self.experiment, **changes), self.store, Watch())

    def analyse(self, **changes):
        analyse(dataclasses.replace(self.experiment, **changes), self.store, Watch())

    def label(self, annotator="Ada", **errors):
        return write_labels(self.store, annotator, **errors)


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    asked = playing.composed(f"results_dir={tmp_path_factory.mktemp('audit')}", *WORDS, "stages=[play,measure,audit]")
    playing.played(asked)
    return Audited(asked)


@pytest.fixture
def audited(original, tmp_path):
    """A copy that a test may change."""
    shutil.copytree(original.store.folder, tmp_path / original.store.run_id)
    return Audited(dataclasses.replace(original.experiment, results_dir=tmp_path))
