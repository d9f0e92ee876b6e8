"""The folder shows the architecture: who may import whom, and that every option is one yaml that works."""

from __future__ import annotations

import ast
import graphlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from driftloop.cli import CONF
from driftloop.core.experiment import LISTS
from formats import every_format
from playing import composed, environment

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src/driftloop"
PLUGINS = ("datasets", "generators", "captioners", "classifiers", "encoders", "locators", "mitigations", "metrics")
HEAVY = ("torch", "diffusers", "transformers", "accelerate", "safetensors", "tokenizers", "matplotlib")


def modules() -> dict[str, Path]:
    names = {path: ".".join(path.relative_to(SRC).with_suffix("").parts) for path in sorted(SRC.rglob("*.py"))}
    return {name.removesuffix(".__init__").replace("__init__", ""): path for path, name in names.items()}


MODULES = modules()


@cache
def imported(name: str) -> set[str]:
    """Modules that a module names in an import at any depth, ours without the leading `driftloop.`."""
    found = set[str]()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@cache
def ours(name: str) -> set[str]:
    short = {full.removeprefix("driftloop.") for full in imported(name) if full.startswith("driftloop.")}
    return {known for full in short if (known := _known(full))}


def _known(full: str) -> str:
    """The longest of our modules that a dotted name begins with."""
    parts = full.split(".")
    tries = (".".join(parts[:size]) for size in range(len(parts), 0, -1))
    return next((name for name in tries if name in MODULES), "")


def within(name: str, *places: str) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def allowed(name: str) -> tuple[str, ...]:
    """What a module may import of ours: the architecture's table."""
    folder = name.split(".", maxsplit=1)[0]
    above = {
        "": ("core", "runs", "stages.compare", "statistics"), "cli": tuple({other.split(".")[0] for other in MODULES if other}),
        "core": ("core",), "statistics": ("statistics", "core.rng"), "analysis": ("analysis", "core", "statistics"),
        "stages": ("core",), "report": ("core", "report", "statistics"), "engines": ("core", "stages"),
        "phantom": ("core", "phantom"), "audit": ("audit", "core", "statistics"),
        "run": ("core", "engines", "stages"), "runs": ("analysis", "core"),
        "plan": ("core", "engines", "stages", "run"), "terminal": ("core",),
        "conf": (), "validation": ("core", "engines", "stages", "statistics", "phantom", "validation", *PLUGINS),
    }  # fmt: skip
    special = {
        "core.records": (), "core.rng": (), "core.errors": (), "core.schemas": (),
        "stages.analyse": ("analysis", "audit", "core"), "stages.audit": ("audit", "core"),
        "stages.compare": ("analysis", "core", "report", "runs"), "stages.report": ("core", "report"),
        "metrics": ("analysis", "core", "metrics", "statistics"),
        "datasets.phantom": (*SEEN_BY_PLUGINS, "phantom"), "phantom.export": ("core", "phantom", "datasets.phantom"),
        "phantom.fit": ("analysis", "core", "phantom", "statistics"),
    }  # fmt: skip
    if name in special or folder == "metrics":
        return special.get(name, special["metrics"])
    return (*SEEN_BY_PLUGINS, folder) if folder in PLUGINS else above[folder]


SEEN_BY_PLUGINS = tuple(
    f"core.{name}"
    for name in ("records", "rng", "errors", "batches", "words", "weights", "embedding", "endpoint", "packs", "prompts")
)


@pytest.mark.parametrize("name", sorted(MODULES), ids=lambda name: name or "driftloop")
def test_imports_go_one_way(name: str) -> None:
    wrong = [other for other in ours(name) if not within(other, *allowed(name)) and other != name]
    assert not wrong, f"{name or 'driftloop'} may import {', '.join(allowed(name))} and imports {', '.join(wrong)}"


def test_no_stage_imports_another() -> None:
    stages = [name for name in MODULES if name.startswith("stages.")]
    assert len(stages) >= 4
    for name in stages:
        assert not [other for other in ours(name) if within(other, "stages") and other not in (name, "stages")]


def test_nobody_imports_plugins_but_the_built_in_world_and_its_validation() -> None:
    users = {name for name in MODULES for other in ours(name) if within(other, *PLUGINS) and not within(name, *PLUGINS)}
    assert users <= {"phantom.export"} | {name for name in MODULES if within(name, "validation")}


def test_statistics_are_numpy_and_scipy_alone() -> None:
    for name in MODULES:
        if within(name, "statistics"):
            foreign = {full.split(".")[0] for full in imported(name)} - set(sys.stdlib_module_names) - {"driftloop"}
            assert foreign <= {"numpy", "scipy"}, name


def test_only_the_entry_point_knows_hydra() -> None:
    users = [name for name in MODULES if {full.split(".")[0] for full in imported(name)} & {"hydra", "omegaconf"}]
    assert users == ["cli"]


def test_there_are_no_circles() -> None:
    order = list(graphlib.TopologicalSorter({name: ours(name) - {name, ""} for name in MODULES}).static_order())
    assert set(order) >= set(MODULES) - {""}


@pytest.mark.parametrize(
    "name", sorted(name for name in MODULES if not within(name, "phantom.training")), ids=lambda n: n or "driftloop"
)
def test_heavy_libraries_are_imported_where_they_are_used(name: str) -> None:
    tree = ast.parse(MODULES[name].read_text())
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    named = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
    named |= {str(node.module) for node in top if isinstance(node, ast.ImportFrom)}
    assert not {full.split(".")[0] for full in named} & set(HEAVY) or within(name, "report", "stages.report")


def test_importing_driftloop_is_light() -> None:
    unwanted = "('torch', 'pandas', 'pyarrow', 'hydra', 'scipy', 'PIL')"
    code = f"import sys, driftloop; print([name for name in {unwanted} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout.strip() == "[]"


def test_everything_exported_is_there() -> None:
    import driftloop

    assert all(getattr(driftloop, name) is not None for name in driftloop.__all__)
    with pytest.raises(AttributeError, match="no attribute 'load_run'"):
        _ = driftloop.load_run


# Options -------------------------------------------------------------------------------------------------------------

YAMLS = sorted(path for path in Path(CONF).glob("*/*.yaml"))
OPTIONS = [path for path in YAMLS if path.parent.name != "experiment"]
BUILT_IN = SRC / "phantom/models"


def name_of(path: Path) -> str:
    return f"{path.parent.name}={path.stem}"


WANTED = {  # what else an option wants to be told before it can be built
    "classifier=transformers": ["classifier.transformers.models={gender:{model:a/b,labels:{F:female}}}"],
    "classifier=mivolo_v2": ["classifier.mivolo_v2.remote_code=true", f"classifier.mivolo_v2.revision={'0' * 40}"],
    "captioner=openai_chat": ["captioner.served_model=toy"],
    "captioner=human": [f"captioner.captions_file={ROOT / 'tests/captioners/captions.csv'}"],
    "generator=openai_images": ["generator.served_model=toy"],
    "encoder=transformers": ["encoder.transformers.model=a/b"],
    "encoder=sentence": ["encoder.sentence.model=a/b"],
    "metric=meaning": ["encoder=[phantom_clip]"],
}


@pytest.fixture(scope="session")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return every_format(tmp_path_factory.mktemp("formats"))


@pytest.fixture
def inputs(tmp_path: Path, roots: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What options must be given: a data set of each format, and a folder that looks like a model."""
    monkeypatch.setitem(sys.modules, "uniface", ModuleType("uniface"))  # an extra that tests do without
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    return {**roots, "model": str(tmp_path / "model")}


@pytest.mark.parametrize("path", OPTIONS, ids=name_of)
def test_every_option_composes_binds_and_builds(path: Path, inputs: dict[str, str]) -> None:
    group, option = path.parent.name, path.stem
    chosen = f"{group}=[{option}]" if group in LISTS and option != "none" else f"{group}={option}"
    words = [chosen, "results_dir=/nowhere"]
    if option.startswith("exact") and group == "truth":
        words += ["generator=exact", "captioner=exact", "classifier=[exact]"]
    content = path.read_text()
    if "\nmodel: ???" in content:
        words.append(f"{group}.model={inputs['model']}")
    if "root: ???" in content:
        words.append(f"dataset.root={inputs[option]}")
    if option == "prompts":
        words.append("dataset.prompts=[a,b]")
    asked = composed(*words, *WANTED.get(name_of(path), []))
    member = {"mitigation": "mitigations", "classifier": "classifiers", "metric": "metrics"}
    member |= {"concept_classifier": "concept_classifiers", "encoder": "encoders"}
    found = getattr(asked, member.get(group, group))
    for one in found if isinstance(found, list) else [found]:
        if one is not None:
            assert one.build() is not None
    if group == "dataset":
        seeds = asked.source.load()
        assert seeds
        assert asked.source.fingerprint() == asked.dataset.build().fingerprint()


@pytest.mark.parametrize("path", YAMLS, ids=name_of)
def test_every_yaml_says_what_it_is_and_how_to_ask_for_it(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("# @package")]
    assert lines[0].startswith("# ")
    assert len(lines[0]) > 15
    example = re.search(r": (driftloop .*)$", lines[0])
    if example is not None:
        check_composes(shlex.split(example[1])[1:])


@pytest.mark.parametrize("path", OPTIONS, ids=name_of)
def test_targets_stand_where_the_folder_says(path: Path) -> None:
    """conf/generator/x.yaml names something of generators/, or of the built-in world."""
    body = yaml.safe_load(path.read_text()) or {}
    body.pop("defaults", None)  # what another option brings is looked at there
    calls = body.values() if path.parent.name in LISTS else [body]
    places = {"dataset": "datasets", "engine": "engines", "truth": "phantom", "concept_classifier": "classifiers"}
    for call in calls:
        if call:
            assert str(call["_target_"]).startswith(
                (f"driftloop.{places.get(path.parent.name, path.parent.name + 's')}.", "driftloop.phantom.")
            )


def test_no_option_runs_code_from_a_hub_by_itself() -> None:
    assert not [path for path in YAMLS if "remote_code: true" in path.read_text()]


# What the README says ------------------------------------------------------------------------------------------------


def commands(text: str) -> Iterator[list[str]]:
    """The `driftloop` and scripts/run commands in fenced blocks, as words, with comments and continuations resolved."""
    for block in re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = _shell_words(line)
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                words = words[1:]
            if words and words[0] in ("driftloop", "scripts/run"):
                yield words[1:]


def _shell_words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return []  # a line of another language


def check_composes(words: list[str]) -> None:
    """The overrides are those of existing keys and options; of a sweep, the first job is tried."""
    if "--config-dir" in words:
        return  # somebody's own options
    overrides = OverridesParser.create().parse_overrides([word for word in words if not word.startswith("-")])
    first = [
        f"{one.get_key_element()}={next(iter(one.sweep_string_iterator()))}" if one.is_sweep_override() else one.input_line
        for one in overrides
    ]
    with initialize_config_dir(CONF, version_base="1.3"):
        config = compose("config", [str(word) for word in first])
    assert config.rounds is not None


README = sorted({shlex.join(words) for words in commands((ROOT / "README.md").read_text())})


@pytest.mark.parametrize("command", README)
def test_what_the_readme_says_can_be_typed(command: str) -> None:
    check_composes(shlex.split(command))


def test_what_help_says_can_be_typed() -> None:
    shown = yaml.safe_load((Path(CONF) / "config.yaml").read_text())["hydra"]["help"]["template"]
    fenced = "```\n" + "\n".join(line.strip() for line in shown.replace("\\\n", " ").splitlines()) + "\n```"
    found = list(commands(fenced))
    assert len(found) >= 4
    for words in found:
        check_composes(words)


def test_files_the_readme_links_to_are_there() -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / "README.md").read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []
