"""`zoo new`: projects of every kind pass their checks, lint, types and tests, and train, without a change."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from aigc_zoo.errors import ConfigError, StorageError, UsageError
from aigc_zoo.plugins import Catalogue, catalogue
from aigc_zoo.scaffold import LICENCES, MAX_LENGTH, project_of, write_project
from aigc_zoo.spec import KINDS

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(sys.executable).parent
LONG = "a" * (MAX_LENGTH - 3) + "-bc"


def write(directory: Path, name: str, kind: str, **more: str) -> Path:
    return write_project(catalogue(), name, kind, into=directory, **more)[0]


# --- fast -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "expected"), [("acme", "aigc-zoo-acme"), ("aigc-zoo-my-gan2", "aigc-zoo-my-gan2")])
def test_names(name: str, expected: str) -> None:
    assert project_of(name) == expected


@pytest.mark.parametrize(
    "name", ["", "Acme", "my_gan", "2gan", "-x", "x-", "a--b", "zoo", "aigc-zoo-local", "x" * 31, "ä"]
)
def test_invalid_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write(tmp_path, name, "loss")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_complete_distribution(kind: str, tmp_path: Path) -> None:
    directory = write(tmp_path, "acme", kind, author="Ada Example")
    project = tomllib.loads((directory / "pyproject.toml").read_text())
    assert project["project"]["name"] == "aigc-zoo-acme"
    assert project["project"]["dependencies"] == ["aigc-zoo>=0.1,<1"]
    assert project["project"]["entry-points"] == {"aigc_zoo": {"acme": "aigc_zoo_acme"}}
    names = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    assert names >= {
        *("pyproject.toml", "README.md", "LICENSE", ".gitignore", ".github/workflows/check.yml"),
        *("tests/test_conformance.py", "tests/test_training.py"),
        *("src/aigc_zoo_acme/__init__.py", "src/aigc_zoo_acme/py.typed"),
    }
    for path in directory.rglob("*"):
        text = path.read_text() if path.is_file() else ""
        assert not re.search(r"\$(?!\{\{)", text), f"{path.name} has an unfilled placeholder"
        assert ".in" not in path.suffixes
        assert not re.search(r"(pypi|pythonhosted|anaconda|conda-forge)\.", text), f"{path.name} links to a registry"
    manifest = (directory / "src" / "aigc_zoo_acme" / "__init__.py").read_text()
    assert f'kind="{kind}"' in manifest
    assert "ZOO_API = 1" in manifest
    assert "Ada Example" in (directory / "LICENSE").read_text()


@pytest.mark.parametrize("licence", LICENCES)
def test_the_licence_is_chosen(licence: str, tmp_path: Path) -> None:
    directory = write(tmp_path, "acme", "loss", licence=licence)
    assert f'license = "{licence}"' in (directory / "pyproject.toml").read_text()
    word = {"MIT": "MIT License", "Apache-2.0": "Apache License", "BSD-3-Clause": "Redistribution"}[licence]
    assert word in (directory / "LICENSE").read_text()


def test_nothing_is_overwritten_and_nothing_is_left_half_written(tmp_path: Path) -> None:
    directory = write(tmp_path, "acme", "loss")
    before = (directory / "README.md").read_text()
    with pytest.raises(UsageError, match="exists already"):
        write(tmp_path, "acme", "recipe")
    assert (directory / "README.md").read_text() == before
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        write(tmp_path / "file", "other", "loss")
    assert {path.name for path in tmp_path.iterdir()} == {"aigc-zoo-acme", "file"}


def test_an_empty_catalogue_is_an_error(tmp_path: Path) -> None:
    class Empty(Catalogue):
        def __init__(self) -> None:
            self._entries = {}

    with pytest.raises(ConfigError, match="no dataset with the tags points, offline is installed"):
        write_project(Empty(), "acme", "loss", into=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_the_next_steps(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "aigc_zoo", "new", "acme", "--kind", "loss"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "zoo check aigc-zoo-acme" in done.stdout
    assert re.search(r"zoo train \w+ --data \w+ --loss acme/acme", done.stdout)
    assert (tmp_path / "aigc-zoo-acme" / "pyproject.toml").exists()
    again = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert (again.returncode, again.stdout) == (2, "")
    assert len(again.stderr.splitlines()) == 1


def test_the_printed_command_names_the_data_of_a_new_modality(tmp_path: Path) -> None:
    directory, words = write_project(catalogue(), "acme", "modality", into=tmp_path / "in")
    assert Path(words[words.index("--data") + 1]).is_relative_to(directory)
    assert Path(words[words.index("--data") + 1]).is_file()
    assert words[words.index("--modality") + 1] == "acme/acme"
    readme = (directory / "README.md").read_text()
    assert "--data tests/rows.csv --modality acme/acme" in readme


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["loss", "modality", "network"])
def test_what_the_command_prints_can_be_typed(kind: str, tmp_path: Path) -> None:
    """In a directory whose name a shell would split; pip installs beside the tests instead of into the environment."""
    (tmp_path / "my plugins").mkdir()
    prefix = tmp_path / "prefix"
    site = sysconfig.get_path("purelib", vars={"base": str(prefix), "platbase": str(prefix)})
    project = tmp_path / "my plugins" / "aigc-zoo-acme"
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    env |= {"PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1", "PIP_PREFIX": str(prefix)}
    env |= {"PYTHONPATH": os.pathsep.join((site, str(project / "src"))), "OMP_NUM_THREADS": "1"}

    def shell(line: str) -> str:
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, env=env, cwd=tmp_path, timeout=580)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout

    printed = shell(f"zoo new acme --kind {kind} --into 'my plugins'").partition("next\n")[2].splitlines()
    commands = [line.strip() for line in printed if line.strip().startswith(("python ", "zoo "))]
    assert [command.split()[0] for command in commands] == ["python", "zoo", "zoo"]
    for command in commands:
        shell(command)


# --- every kind, installed --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a project of every kind, named after the kind, and all of them installed by pip in `site`."""
    directory = tmp_path_factory.mktemp("new")
    sources = [write(directory, f"new-{kind}", kind) for kind in KINDS]
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    copies = [str(shutil.copytree(source, directory / "copies" / source.name)) for source in sources]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(directory / "site"), *copies]
    subprocess.run(command, check=True, timeout=300)
    return directory


def run(projects: Path, *command: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(projects / "site"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=env, cwd=projects, timeout=580
    )


@pytest.mark.slow
def test_all_are_listed_and_pass_the_static_checks(projects: Path) -> None:
    done = run(projects, "-m", "aigc_zoo", "list", "new-*/*", "--kind", "all", "--json")
    listed = json.loads(done.stdout)
    assert listed["problems"] == []
    assert {(item["kind"], item["id"]) for item in listed["items"]} >= {
        (kind, f"new-{kind}/new-{kind}") for kind in KINDS
    }
    for kind in KINDS:
        done = run(projects, "-m", "aigc_zoo", "check", f"aigc-zoo-new-{kind}", "--fast")
        assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_all_pass_their_own_tests(projects: Path) -> None:
    """Their tests run the checks of `zoo check`, and train for two steps."""
    tests = [str(projects / f"aigc-zoo-new-{kind}" / "tests") for kind in KINDS]
    options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-W", "error", f"--rootdir={projects}"]
    done = run(projects, "-m", "pytest", *options, *tests, f"--junitxml={projects / 'tests.xml'}")
    assert done.returncode == 0, done.stdout[-4000:]
    report = (projects / "tests.xml").read_text()
    assert report.count('name="test_it_trains"') == len(KINDS)
    skipped = re.findall(r'name="test_conformance\[([A-Z0-9]+)-[^"]*"[^>]*><skipped', report)
    assert set(skipped) <= {"GPU"}
    for kind in KINDS:
        assert f"{kind}-new-{kind}/new-{kind}" in report


@pytest.mark.slow
def test_all_are_linted_and_formatted(projects: Path) -> None:
    for name in ("ab", LONG):
        for kind in KINDS:
            write(projects / "site", name, kind).rename(projects / f"{kind}-{name}")
    for directory in [*projects.glob("aigc-zoo-new-*"), *projects.glob("*-ab"), *projects.glob(f"*-{LONG}")]:
        for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
            done = subprocess.run(
                [TOOLS / "ruff", *command, "."], capture_output=True, text=True, cwd=directory, timeout=60
            )
            assert done.returncode == 0, f"{directory.name}: {done.stdout}"


@pytest.mark.slow
def test_all_pass_mypy_strict(projects: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one run, since reading torch's types takes most of the time. All projects have the same configuration."""
    sources = [str(projects / f"aigc-zoo-new-{kind}" / "src" / f"aigc_zoo_new_{kind}") for kind in KINDS]
    config = projects / "aigc-zoo-new-recipe" / "pyproject.toml"
    assert "strict = true" in config.read_text()
    cache = ROOT / ".mypy_cache"
    # mypy does not find the editable installation of the core. MYPYPATH names its sources, which are not reported on.
    monkeypatch.setenv("MYPYPATH", str(ROOT))
    done = run(
        projects,
        "-m",
        "mypy",
        "--config-file",
        str(config),
        "--cache-dir",
        str(cache),
        "--follow-imports",
        "silent",
        *sources,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_project_that_is_not_installed_is_checked_by_its_path(tmp_path: Path) -> None:
    directory = write(tmp_path, "pathway", "loss")
    command = [sys.executable, "-m", "aigc_zoo", "check", str(directory), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert {item["subject"] for item in answer["items"]} == {"aigc-zoo-pathway", "loss pathway/pathway"}
    assert {path.name for path in directory.iterdir()} == {
        *("pyproject.toml", "README.md", "LICENSE", ".gitignore", ".github", "src", "tests")
    }
    code = directory / "src" / "aigc_zoo_pathway" / "maths.py"
    code.write_text(code.read_text().replace(".mean()", ".sum()"))
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stdout + done.stderr
    assert {item["check"] for item in json.loads(done.stdout)["items"] if item["status"] == "failed"} == {"L-MEAN"}
