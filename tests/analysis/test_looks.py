"""What a look at another extent does to p-values: the stage, over a run folder."""

import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from driftloop.core.errors import ConfigError
from driftloop.core.experiment import Experiment
from driftloop.core.watch import Watch
from driftloop.engines.local import Local
from driftloop.runs import Run
from driftloop.stages.analyse import analyse
from playing import composed

WORDS = ("experiment=phantom_exact", "classifier=[exact]", "rounds=2", "analysis.resamples=100")


def asked(results_dir: Path, *words: str) -> Experiment:
    return composed(*WORDS, "dataset.limit=12", f"results_dir={results_dir}", *words)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run of 12 seeds and two rounds, played and read, at which nobody has looked."""
    folder = tmp_path_factory.mktemp("looks")
    experiment = asked(folder)
    store = experiment.store()
    store.claim(experiment.identity, experiment.names, experiment.config)
    engine = Local()
    engine.play(experiment, store, Watch())
    engine.measure(experiment, store, Watch())
    return folder


@pytest.fixture
def looked(whole: Path, tmp_path: Path) -> Callable[..., set[str]]:
    """Looks at what these words ask for, keeps the look as an invocation does, and gives the families of its tests."""
    shutil.copytree(whole, tmp_path / "results")
    numbers = count()

    def look(*words: str) -> set[str]:
        experiment = asked(tmp_path / "results", *words)
        store = experiment.store()
        store.write_json(f"provenance/{next(numbers)}.json", {"looks": analyse(experiment, store, Watch())})
        return set(Run(store.folder).table("tests")["family"])

    return look


def test_only_the_first_look_confirms_unless_another_extent_was_declared(looked):
    assert "confirmatory" in looked("rounds=1")
    assert looked("rounds=2") == {"exploratory"}
    assert "confirmatory" in looked("rounds=1")
    assert "confirmatory" in looked("analysis.confirmatory.rounds=2", "analysis.confirmatory.seeds=12")
    assert looked("rounds=1", "analysis.confirmatory.rounds=2") == {"exploratory"}


def test_a_pilot_makes_the_study_exploratory_unless_it_was_declared(looked):
    assert "confirmatory" in looked("dataset.limit=11")
    assert looked() == {"exploratory"}
    assert looked("analysis.min_seeds=13", "analysis.confirmatory.seeds=12") == {"exploratory"}
    assert "confirmatory" in looked("analysis.confirmatory.seeds=12")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("analysis.min_seeds=1", "analysis.min_seeds must be"),
        ("analysis.confirmatory=3", "analysis.confirmatory must be a mapping"),
        ("+analysis.confirmatory.images=3", "analysis.confirmatory must be a mapping with rounds"),
        ("analysis.confirmatory.seeds=0", "analysis.confirmatory.seeds"),
    ],
)
def test_a_wrong_declaration_is_refused(word, message):
    with pytest.raises(ConfigError, match=message):
        composed("experiment=phantom_exact", word)
