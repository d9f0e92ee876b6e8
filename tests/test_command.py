"""What a person types, and what comes back: exit codes, sentences, files."""

from __future__ import annotations

import json
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import driftloop
from comparing import answers, check_whole, leftovers
from driftloop import cli
from driftloop.core.errors import ConfigError, DriftloopError, Interrupted, StoreError
from driftloop.core.store import Store
from driftloop.core.watch import Watch
from driftloop.runs import load_runs
from playing import COMMAND, TOY, environment

MODELS = Path(driftloop.__file__).parent / "phantom/models"
PLAIN = ("dataset=prompts", "dataset.prompts=[a,b]", "generator=stand_in", "captioner=stand_in", "results_dir=results")


def in_results(folder: Path) -> list[str]:
    results = folder / "results"
    beside = ("comparisons", "sweeps")
    return sorted(path.name for path in results.iterdir() if path.name not in beside) if results.exists() else []


def refused(done: subprocess.CompletedProcess[str], folder: Path, *words: str) -> None:
    """Exit code 2, the words, no stack, and no folder left behind."""
    assert done.returncode == 2, done.stderr
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert in_results(folder) == []


# The way of the data -------------------------------------------------------------------------------------------------


def test_own_options_from_a_folder_of_ones_own(toy_command: Any, tmp_path: Path) -> None:
    """--config-dir and allow_targets are all that a plug-in needs; a finished run loads no model and no torch."""
    done = toy_command("stages=[play,measure,analyse]", "replicates=2")
    assert done.returncode == 0, done.stderr
    [run] = load_runs(tmp_path / "results").runs
    check_whole(run, 12, 2)
    assert run.config["generator"] == "toy"
    assert re.search(r"play +36/36 +done in", done.stderr)
    assert "gender" in done.stdout
    provenance = run.store.provenance()
    assert provenance[0]["outcome"] == "finished"
    assert provenance[0]["versions"]["driftloop"]
    assert provenance[0]["command"][1:] == [*TOY, "stages=[play,measure,analyse]", "replicates=2"]


LOADED = """
import sys
import driftloop.cli as cli
sys.argv = ["driftloop", *sys.argv[1:]]
try:
    cli.main()
finally:
    print("loaded:", [name for name in ("torch", "diffusers", "transformers") if name in sys.modules])
"""


def loaded(tmp_path: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-c", LOADED, *words], env=environment(**env), cwd=tmp_path,
                          capture_output=True, text=True, check=False, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def test_a_finished_run_loads_no_torch_and_calls_no_model(tmp_path: Path, play: Any) -> None:
    play("stages=[play,measure,analyse]")
    log = tmp_path / "calls"
    done = loaded(tmp_path, *TOY, "stages=[play,measure,analyse]", DOUBLES_LOG=str(log))
    assert "loaded: []" in done.stdout
    assert {line.split()[0] for line in log.read_text().splitlines()} == {"built"}
    assert "18/18" in done.stderr
    assert len(in_results(tmp_path)) == 1


@pytest.mark.parametrize("words", [("--help",), ("plan=true", *PLAIN, "classifier=vit_age_gender", "stages=[play]")])
def test_help_and_plan_load_no_torch(tmp_path: Path, words: tuple[str, ...]) -> None:
    if "plan=true" in words:
        words = (*words, "experiment=none", "classifier=phantom_cnn")
        if not (MODELS / "gender").is_dir():
            pytest.skip("the built-in models are not there yet")
    done = loaded(tmp_path, *words)
    assert "loaded: []" in done.stdout
    assert in_results(tmp_path) == []


def test_plan_says_what_is_left_and_spends_nothing(toy_command: Any, play: Any, tmp_path: Path) -> None:
    assert "24" in toy_command("plan=true", "rounds=3").stdout
    assert in_results(tmp_path) == []
    before = play("rounds=1").store.listing("rounds")
    told = toy_command("plan=true", "rounds=3", "dataset.limit=5")
    assert re.search(r"play\D+20\D+10\D+10\D", told.stdout), told.stdout  # whole, done, left
    assert load_runs(tmp_path / "results")[0].store.listing("rounds") == before


def test_status_counts_from_the_files_alone(run_command: Any, play: Any, tmp_path: Path) -> None:
    run = play("dataset.broken=[1]", "on_failure.max_share=1")
    done = run_command("status=true", "results_dir=results")
    assert done.returncode == 0, done.stderr
    assert run.run_id[:12] in done.stdout
    assert "finished" in done.stdout


# Stopping ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_says_how_to_continue(toy_command: Any, tmp_path: Path, number: int) -> None:
    log = tmp_path / "calls"
    env = environment(DOUBLES_LOG=str(log), DOUBLES_SLOW="0.3")
    words = (COMMAND, *TOY, "rounds=30", "flush_seconds=3600", "stages=[play]")
    process = subprocess.Popen(words, env=env, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    wait_for(lambda: log.exists() and log.read_text().count("describe") >= 2)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped as asked; everything finished is written. The same command continues." in told
    assert "Traceback" not in told
    [run] = load_runs(tmp_path / "results").runs
    assert len(run.rounds) >= 12
    assert run.store.provenance()[0]["outcome"].startswith("Interrupted")


def test_a_signal_between_stages_is_heard(play: Any, calls: Any) -> None:
    class Asked(Watch):
        def advance(self, count: int = 1) -> None:
            self.stopping = self.stopping or self.stage.startswith("measure")

        def start(self, stage: str, total: int, done: int = 0) -> None:
            self.stage = stage

    with pytest.raises(Interrupted):
        play("stages=[play,measure,analyse]", watch=Asked())
    assert calls()["read"] == 18
    assert play("stages=[play,measure,analyse]").table("drift") is not None
    assert calls()["read"] == 0


def test_ctrl_c_before_work_starts_is_a_sentence(tmp_path: Path) -> None:
    code = "import driftloop.cli as cli, doubles\n"
    code += "def stop(*_): raise KeyboardInterrupt\ncli.play = stop\ncli.sys.argv = ['driftloop']\ncli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 130
    assert "The same command continues." in done.stderr
    assert "Traceback" not in done.stderr


def wait_for(there: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    """A killed parent cannot tell them; they must notice, or the run stays locked."""
    log = tmp_path / "calls"
    env = environment(DOUBLES_LOG=str(log), DOUBLES_SLOW="0.2")
    words = (COMMAND, *TOY, "rounds=2000", "engine.processes=2", "stages=[play]")
    process = subprocess.Popen(words, env=env, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for(lambda: log.exists() and log.read_text().count("describe") >= 4)
    process.kill()
    process.wait()
    [folder] = (tmp_path / "results").iterdir()

    def free() -> bool:
        try:
            with Store(folder).lock("play"):
                return True
        except StoreError:
            return False

    wait_for(free, 20)


def test_a_file_size_limit_stops_cleanly_and_the_same_command_finishes(toy_command: Any, tmp_path: Path) -> None:
    """The disk as it is: the system refuses to write more, in the middle of a part."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))  # noqa: E731
    words = ("dataset.n=40", "rounds=1", "stages=[play]")
    done = toy_command(*words, preexec_fn=limit)
    assert done.returncode == 2, done.stderr
    assert "could not write" in done.stderr
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "results").rglob("*.tmp"))
    finished = toy_command(*words)
    assert finished.returncode == 0, finished.stderr
    [run] = load_runs(tmp_path / "results").runs
    check_whole(run, 40, 1)
    assert leftovers(run) == []


@pytest.mark.slow
def test_a_full_disk_stops_cleanly_and_the_same_command_finishes(toy_command: Any, tmp_path: Path) -> None:
    disk = tmp_path / "results"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk], check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk is not permitted here")
    try:
        words = ("dataset.n=300", "generator.size=32", "rounds=3", "wave=50", "flush_seconds=0", "stages=[play]")
        done = toy_command(*words)
        assert done.returncode == 2, done.stderr
        assert "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr
        subprocess.run(["mount", "-o", "remount,size=30m", disk], check=True)
        assert toy_command(*words).returncode == 0
        [run] = load_runs(disk).runs
        check_whole(run, 300, 3)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)  # pictures are still open


# Mistakes, typed -----------------------------------------------------------------------------------------------------


def test_a_wrong_key_on_the_command_line(run_command: Any, tmp_path: Path) -> None:
    refused(run_command(*PLAIN, "rouns=3"), tmp_path, "there is no key 'rouns'. Did you mean \"rounds\"?")


@pytest.mark.parametrize(
    ("word", "sentence"),
    [("+rouns=3", "there is no key 'rouns'. Did you mean \"rounds\"?"),
     ("generator.siz=3", "there is no key 'generator.siz'. Did you mean \"generator.size\"?"),
     ("generator=stand_inn", "stand_in"), ("rounds=abc", "rounds must be a whole number of at least 0; got 'abc'"),
     ("rounds==", "rounds==")],
)  # fmt: skip
def test_a_wrong_word_ends_with_2(
    word: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the one before, in this process: starting Python takes longer than the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["driftloop", *PLAIN, word])
    with pytest.raises(SystemExit) as end:
        cli.main()
    told = capsys.readouterr().err
    refused(subprocess.CompletedProcess([], int(str(end.value.code)), "", told), tmp_path, sentence)


def test_allow_targets_in_a_file_is_refused(run_command: Any, tmp_path: Path) -> None:
    own = tmp_path / "own/experiment"
    own.mkdir(parents=True)
    (own / "sly.yaml").write_text("# @package _global_\nallow_targets: [doubles]\n")
    words = ("--config-dir", str(tmp_path / "own"), *PLAIN, "experiment=sly")
    refused(run_command(*words), tmp_path, "allow_targets may be given on the command line only, not in a config file")


def test_an_option_outside_the_allowlist_is_not_even_imported(run_command: Any, tmp_path: Path) -> None:
    words = [word for word in TOY if not word.startswith("allow_targets")]
    log = tmp_path / "calls"
    done = run_command(*words, env={"DOUBLES_LOG": str(log)})
    refused(done, tmp_path, "dataset: _target_ 'doubles.ToyDataset' is not allowed", "allow_targets=[doubles]")
    assert not log.exists()


# Mistakes, composed --------------------------------------------------------------------------------------------------


@pytest.fixture
def run_of(play: Any, tmp_path: Path) -> Callable[..., str]:
    """What is said about a mistake; no folder may be left behind."""

    def said(*words: str, base: str = "toy") -> str:
        with pytest.raises(DriftloopError) as error:
            play(*words, base=base)
        assert in_results(tmp_path) == []
        return str(error.value)

    return said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["rounds=-1"], "rounds must be a whole number of at least 0; got -1"),
        (["rounds=abc"], "rounds must be a whole number of at least 0; got 'abc'"),
        (["rounds=1.5"], "rounds must be a whole number of at least 0; got 1.5"),
        (["rounds=true"], "rounds must be a whole number of at least 0; got True"),
        (["rounds=null"], "rounds must be a whole number of at least 0; got None"),
        (["replicates=0"], "replicates must be a whole number of at least 1; got 0"),
        (["dataset.limit=0"], "dataset.limit must be a whole number of at least 1; got 0"),
        (["on_failure.max_share=2"], "on_failure.max_share must be a number of at least 0 and at most 1; got 2"),
        (["generator.batch_size=0"], "generator.batch_size must be a whole number of at least 1; got 0"),
        (["classifier.toy.batch_size=many"], "classifier.toy.batch_size must be a whole number of at least 1; got 'many'"),
        (["stages=[pley]"], "there is no stage 'pley'. Did you mean \"play\"? Stages: fetch, play, measure, "),
        (["stages=play"], "stages must be a list, such as [play]; got 'play'"),
        (["stages=null"], "stages must be a list"),
        (["on_failure=3"], "on_failure must be a mapping with retries, max_share, again; got 3"),
        (["results_dir=null"], "results_dir must be a folder; got None"),
        (["allow_targets=doubles"], "allow_targets must be a list, such as [doubles]; got 'doubles'"),
        (["+rouns=3"], "there is no key 'rouns'. Did you mean \"rounds\"?"),
        (["+on_failure.agin=true"], "there is no key on_failure.agin. Did you mean \"again\"?"),
        (["+generator.guidanc=3"], "doubles.ToyGenerator takes no 'guidanc'. Did you mean \"guidance\"?"),
        (["+classifier.toy.treshold=1"], "ToyClassifier takes no 'treshold'. Did you mean \"threshold\"?"),
        (["generator=diffusers"], "generator.model must be given, for example generator.model=..."),
        (["dataset=folder"], "dataset.root must be given, for example dataset.root=..."),
        (["~generator.guidance", "+generator.x=1"], "takes no 'x'"),
        (["generator._target_=doubles.ToyGenerater"], "doubles has no 'ToyGenerater'. Did you mean \"ToyGenerator\"?"),
        (["generator._target_=driftloop.nowhere.X"], "cannot be imported"),
        (["generator._target_=os.system"], "_target_ 'os.system' is not allowed; allowed are targets of doubles, driftloop"),
        (["generator._target_=driftloop.core.store.os.system"], "cannot be imported"),
        (["generator._target_=driftloop.core.store.Path"], "leads to <class 'pathlib.Path'>, outside doubles, driftloop"),
        (["generator._target_=driftloop.run.subprocess"], "outside doubles, driftloop"),
        (["generator._target_=driftloop"], "generator: _target_ 'driftloop'"),
        (["generator._target_=''"], "generator: _target_ ''"),
        (["+generator.guidance={_target_: os.getcwd}"], "generator.guidance: _target_ 'os.getcwd' is not allowed"),
        (["dataset.ids=[a,{_target_: subprocess.run}]"], "dataset.ids[1]: _target_ 'subprocess.run' is not allowed"),
        (["+truth={_target_: os.getcwd}"], "truth: _target_ 'os.getcwd' is not allowed"),
        (["+classifier.own={_target_: builtins.eval}"], "classifier.own: _target_ 'builtins.eval' is not allowed"),
        (["dataset.n=0"], "data set toy is empty"),
        (["dataset.ids=[a,b,a]"], "data set toy: 1 seed ids are not unique, such as 'a'"),
        (["dataset=folder", "dataset.root=/nowhere/at/all"], "/nowhere/at/all"),
        (["dataset=prompts"], "give either prompts (a list) or file (a path)"),
        (["dataset=prompts", "dataset.prompts=[]"], "no seeds"),
        (["generator=stand_in", "generator.size=0"], "stand_in: size must be at least 1 pixel, got 0"),
        (["mitigation=[drop_words]", "mitigation.drop_words.probability=2"],
         "drop_words.probability must lie between 0 and 1, got 2"),
        (["metric=[published]", "metric.published.least=0"], "least must be at least 1, got 0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_a_mistake_is_told_before_anything_is_written(run_of: Any, words: list[str], sentence: str) -> None:
    words = [word.replace("+generator.guidance={", "generator.guidance={") for word in words]
    words = [word.replace("+truth={", "++truth={") for word in words]
    assert sentence in run_of(*words)


def test_a_pickle_checkpoint_is_refused_before_anything_is_written(run_of: Any, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    words = ("captioner=transformers", f"captioner.model={folder}")
    assert "pytorch_model.bin" in run_of(*words)
    (folder / "pytorch_model.bin").unlink()
    (folder / "config.json").write_text(json.dumps({"auto_map": {"AutoModel": "code.Model"}}))
    assert "asks to run code that ships with the weights" in run_of(*words)


def test_a_model_that_is_nowhere_is_told_before_anything_is_written(run_of: Any, tmp_path: Path) -> None:
    assert "does not exist" in run_of("captioner=transformers", f"captioner.model={tmp_path / 'none'}")
    assert 'there is no built-in model "nobody"' in run_of("captioner=transformers", "captioner.model=builtin:nobody")


def test_a_list_option_must_nest_under_its_name(ask: Any) -> None:
    with pytest.raises(ConfigError, match="nests under its own name"):
        ask("++mitigation._target_=driftloop.mitigations.drop_words.DropWords", "++mitigation.probability=1")


# Sweeps and notebooks ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_sweep_is_one_table(run_command: Any, tmp_path: Path) -> None:
    words = ("-m", *TOY, "generator.guidance=1,3", "mitigation=[drop_words]", "mitigation.drop_words.probability=0.1,0.4",
             "stages=[play,measure,analyse]", "rounds=1")  # fmt: skip
    done = run_command(*words)
    assert done.returncode == 0, done.stderr
    runs = load_runs(tmp_path / "results")
    assert len(runs) == 4
    configs = runs.configs
    assert set(map(tuple, configs[["guidance", "drop_words.probability"]].to_numpy())) == {
        (1, 0.1), (1, 0.4), (3, 0.1), (3, 0.4),
    }  # fmt: skip
    assert (configs["mitigation"] == "drop_words").all()
    drift = runs.drift
    assert drift.groupby(["guidance", "drop_words.probability"]).ngroups == 4
    assert drift["share"].notna().any()
    assert len(in_results(tmp_path)) == 4


def test_runs_as_a_notebook_reads_them(small_run: Any) -> None:
    runs = driftloop.load_runs(small_run.store.folder.parent)
    assert len(runs) == 1
    run = runs[small_run.run_id]
    assert {"dataset", "generator", "captioner", "guidance"} <= set(runs.drift.columns)
    row = run.rounds[run.rounds["round"] == 2].iloc[0]
    assert run.image(row["image"]).size == run.image(row.to_dict()).size == (16, 16)
    assert len(run.seeds) == 6
    assert run.seeds["label_gender"].eq("female").all()
    with pytest.raises(StoreError, match=r"none of 1 runs has analysis/plan.parquet; tables: .*drift"):
        runs.table("plan")


def test_no_run_is_an_error_with_the_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no run \(a folder with manifest.json\) below"):
        driftloop.load_runs(tmp_path)


def test_a_read_only_place_is_told(play: Any, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="could not write"):
        play()
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_answers_of_the_command_are_those_of_the_notebook(toy_command: Any, play: Any, tmp_path: Path) -> None:
    """What is typed and what is called in Python are one thing."""
    assert toy_command("results_dir=typed").returncode == 0
    [typed] = load_runs(tmp_path / "typed").runs
    called = play()
    assert typed.run_id == called.run_id
    assert answers(typed) == answers(called)
