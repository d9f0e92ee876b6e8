"""What is installed from the wheel works outside the checkout, with its configs and built-in models."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from playing import environment

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)]
    subprocess.run(words, check=True, timeout=600)
    [built] = folder.glob("driftloop-*.whl")
    return built


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an environment of its own that sees the tested libraries, but not the checkout."""
    home = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    site = next((home / "lib").glob("python*/site-packages"))
    (site / "libraries.pth").write_text(sysconfig.get_paths()["purelib"])  # the .pth files there are not followed
    words = ["--quiet", "--no-deps", "--no-index", "--python", str(home / "bin/python")]
    subprocess.run([sys.executable, "-m", "pip", *words[3:], "install", *words[:3], str(wheel)], check=True, timeout=600)
    return home / "bin/driftloop"


def in_the_wheel(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_everything_of_the_package_is_inside_and_nothing_else(wheel: Path) -> None:
    names = in_the_wheel(wheel)
    kept = {
        str(path.relative_to(SRC))
        for path in (SRC / "driftloop").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix in (".py", ".yaml", ".csv", ".j2")
    }
    assert kept <= names
    assert {name for name in names if name.endswith(".yaml")} == {name for name in kept if name.endswith(".yaml")}
    assert not [name for name in names if not name.startswith(("driftloop/", "driftloop-"))]
    models = (SRC / "driftloop/phantom/models").rglob("*.safetensors")
    assert {str(path.relative_to(SRC)) for path in models} <= names


def run(command: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = environment()
    env.pop("PYTHONPATH")
    return subprocess.run([command, *words], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=300)


def test_it_plans_and_plays_outside_the_checkout(command: Path, tmp_path: Path) -> None:
    words = ("experiment=phantom_exact", "dataset.limit=6", "rounds=1", "analysis.resamples=100")
    planned = run(command, tmp_path, *words, "plan=true")
    assert planned.returncode == 0, planned.stderr
    assert "plan for" in planned.stdout
    played = run(command, tmp_path, *words)
    assert played.returncode == 0, played.stderr
    assert list((tmp_path / "results").glob("*/report/index.html"))
    code = "import driftloop; print(driftloop.__file__)"
    where = subprocess.run([command.with_name("python"), "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert str(ROOT) not in where.stdout


def test_the_built_in_models_come_along(command: Path, tmp_path: Path) -> None:
    if not (SRC / "driftloop/phantom/models/generator").is_dir():
        pytest.skip("the built-in models are not trained yet")
    planned = run(command, tmp_path, "plan=true", "dataset.limit=2", "rounds=1")
    assert planned.returncode == 0, planned.stderr
