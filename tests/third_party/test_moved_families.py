"""First-party families have no privilege: moved to a distribution of its own, each behaves the same."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aigc_zoo.plugins import catalogue
from aigc_zoo.scaffold import write_project

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
FAMILIES = sorted(path.parent.name for path in PLUGINS.glob("*/__init__.py"))

pytestmark = pytest.mark.slow

LOSSES = """
import json, sys
import torch
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import Spec
from aigc_zoo.options import build, options_of, resolve
from aigc_zoo.plugins import catalogue

SMALL = {"generator.width": 4, "discriminator.width": 4, "latent": 8}


def losses(reference):
    known = {option.key for option in options_of(catalogue(), reference, {}, data="nothing")}
    given = {key: value for key, value in SMALL.items() if key in known}
    recipe = build(catalogue(), resolve(catalogue(), reference, data="nothing", given=given))

    def source(n):
        generator = torch.Generator().manual_seed(n)
        label = torch.nn.functional.one_hot(torch.arange(8) % 4, 4).float()
        real, other = (torch.rand(8, 1, 32, 32, generator=generator) * 2 - 1 for _ in range(2))
        return {"real": real, "source": other, "label": label}

    spec = Spec(shape=(1, 32, 32), classes=4, entries={"source": Spec(shape=(1, 32, 32))})
    trainer = Trainer(recipe, spec, source, batch_size=8, steps=2)
    return [{name: term.item() for name, term in sorted(trainer.train_step().items())} for _ in range(2)]


results = {}
for entry in catalogue().items("recipe"):
    if entry.namespace.startswith("moved-"):
        results[entry.id] = [losses(entry.id), losses(f"zoo/{entry.name}")]
json.dump(results, sys.stdout)
"""


def distribution(family: str) -> str:
    return f"aigc-zoo-moved-{family.replace('_', '-')}"


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every family in a project from `zoo new`, built as a wheel and installed by pip in one directory."""
    directory = tmp_path_factory.mktemp("moved")
    projects = []
    for family in FAMILIES:
        root, _ = write_project(catalogue(), distribution(family), "recipe", into=directory, licence="Apache-2.0")
        package = root / "src" / distribution(family).replace("-", "_")
        shutil.rmtree(package)
        shutil.copytree(PLUGINS / family, package, ignore=shutil.ignore_patterns("__pycache__"))
        (package / "py.typed").touch()
        if list(package.glob("*.safetensors")):  # An author has to name data files.
            project = root / "pyproject.toml"
            project.write_text(project.read_text().replace('["py.typed"]', '["py.typed", "*.safetensors"]'))
        projects.append(str(root))
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    wheels = str(directory / "wheels")
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", wheels, *projects], check=True)
    target = ["--target", str(directory / "site"), *map(str, Path(wheels).glob("*.whl"))]
    subprocess.run([sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", *target], check=True)
    return directory / "site"


def run(site: Path, *command: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=env, timeout=550)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_listings_differ_only_in_distribution_and_namespace(moved: Path) -> None:
    items = json.loads(run(moved, "-m", "aigc_zoo", "list", "--kind", "all", "--json"))
    assert items["problems"] == []

    def rows(are_moved: bool) -> list[dict[str, object]]:
        left_out = {"id", "distribution", "version"}
        chosen = [i for i in items["items"] if i["distribution"].startswith("aigc-zoo-moved-") == are_moved]
        plain = [{key: value for key, value in item.items() if key not in left_out} for item in chosen]
        return sorted(plain, key=lambda row: (str(row["kind"]), str(row["name"])))

    assert rows(True) == rows(False)
    records = json.loads(run(moved, "-m", "aigc_zoo", "plugins", "--json"))["items"]
    assert {record["status"] for record in records} == {"ok"}
    assert {record["distribution"] for record in records} == {"aigc-zoo", *map(distribution, FAMILIES)}


def test_losses_are_bit_equal(moved: Path) -> None:
    losses = json.loads(run(moved, "-c", LOSSES))
    assert {reference.rpartition("/")[2] for reference in losses} == {
        entry.name for entry in catalogue().items("recipe", "zoo/*")
    }
    for reference, (there, here) in losses.items():
        assert there == here, reference


@pytest.mark.parametrize("family", FAMILIES)
def test_each_passes_the_static_checks(moved: Path, family: str) -> None:
    answer = json.loads(run(moved, "-m", "aigc_zoo", "check", distribution(family), "--fast", "--json"))
    assert set(answer["summary"]) == {"passed"}
    assert len(answer["items"]) >= 9


@pytest.mark.parametrize("family", ["dcgan", "losses", "extractors"])
def test_families_of_different_kinds_pass_all_checks(moved: Path, family: str) -> None:
    """In their original place all families pass them; moving one does not change its code."""
    env = {**os.environ, "PYTHONPATH": str(moved), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "aigc_zoo", "check", distribution(family), "--json"]
    answer = json.loads(subprocess.run(command, capture_output=True, text=True, env=env, timeout=550).stdout)
    assert set(answer["summary"]) <= {"passed", "skipped"}, [i for i in answer["items"] if i["status"] == "failed"]
    assert all(item["check"].startswith("GPU-") for item in answer["items"] if item["status"] == "skipped")


def test_no_family_imports_the_package_that_contains_it() -> None:
    for path in PLUGINS.rglob("*.py"):
        assert not re.search(r"import aigc_zoo_plugins|from aigc_zoo_plugins", path.read_text(encoding="utf-8")), path
