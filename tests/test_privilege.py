"""First-party families have no privileges: the core does not name them, and all are packaged in the same way."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aigc_zoo.plugins import catalogue
from aigc_zoo.spec import KINDS

ROOT = Path(__file__).resolve().parent.parent
CORE = sorted((ROOT / "aigc_zoo").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FAMILIES = sorted(path.parent.name for path in (ROOT / "plugins").glob("*/__init__.py"))


COMMON = {"points", "pixels", "modes", "memorization"}
"""Names of extractors and metrics that are words of the core, too."""


def family_names() -> set[str]:
    """Names of families and their components, without common words.

    Common words are the names of datasets, such as `ring` and `grid`, of modalities, such as `text`, of families that
    are named after a kind, such as `losses`, and those in COMMON. That the core does not branch on a modality is tested
    below.
    """
    kinds = {kind for kind in KINDS if kind not in ("dataset", "modality")}
    names = {entry.name for entry in catalogue().items(None, "zoo/*") if entry.kind in kinds} - COMMON
    named_after_kinds = {form for kind in KINDS for form in (kind, f"{kind}s", f"{kind}es", f"{kind[:-1]}ies")}
    return names | (set(FAMILIES) - named_after_kinds)


def words(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every identifier and string of a module with its line; references such as `zoo/x.y` are split."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        for field, value in ast.iter_fields(node):
            if isinstance(value, str) and field in ("id", "attr", "arg", "name", "value", "asname", "module"):
                yield from ((line, part) for part in re.split(r"[/.:]", value))


def mentions(source: str, forbidden: set[str]) -> list[tuple[int, str]]:
    spelled = forbidden | {word.replace("-", "_") for word in forbidden}
    return [(line, word) for line, word in words(ast.parse(source)) if word in spelled]


def test_the_core_names_no_family() -> None:
    forbidden = family_names()
    assert {"dcgan"} <= forbidden
    found = [
        f"{path.relative_to(ROOT)}:{line} {word}"
        for path in CORE
        if path.name != "migration.py"  # names in files of earlier versions
        for line, word in mentions(path.read_text(encoding="utf-8"), forbidden)
    ]
    assert found == []


def branches_on_modalities(tree: ast.AST) -> Iterator[int]:
    """The lines that compare a modality, or what is called so, with names that are written there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            constants = [one.value for side in sides for one in ast.walk(side) if isinstance(one, ast.Constant)]
            literal = any(value not in (None, "", "none") for value in constants)
            nodes = [one for side in sides for one in ast.walk(side)]
            owners = {id(one.value) for one in nodes if isinstance(one, ast.Attribute)}  # what it states
            named = any(
                getattr(one, "attr", getattr(one, "id", None)) == "modality" for one in nodes if id(one) not in owners
            )
            if literal and named:
                yield node.lineno
        elif isinstance(node, ast.Match) and "modality" in ast.unparse(node.subject):
            yield node.lineno


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('x = spec.modality == "image"', 1),
        ('y = modality in ("audio", "video")', 1),
        ('if "text" != a.b.modality: pass', 1),
        ("match spec.modality:\n    case _: pass", 1),
        ("z = wanted and find(modality) is not find(own)", 0),
        ('w = {"modality": spec.modality}', 0),
        ("v = modality.previews > 0", 0),
    ],
)
def test_branches_on_modalities_are_found(source: str, count: int) -> None:
    assert len(list(branches_on_modalities(ast.parse(source)))) == count


def test_the_core_does_not_branch_on_a_modality() -> None:
    names = {str(path.relative_to(ROOT / "aigc_zoo")): path for path in CORE}
    found = {name for name, path in names.items() if list(branches_on_modalities(ast.parse(path.read_text("utf-8"))))}
    assert found == set()


def test_no_template_of_the_core_names_a_family() -> None:
    """The components that a new plugin is tested with are looked up when its files are written."""
    forbidden = family_names()
    others = [path for path in (ROOT / "aigc_zoo").rglob("*.in") if "licences" not in path.parts]
    assert len(others) > 15
    found = [
        f"{path.name}: {word}"
        for path in others
        for word in re.findall(r"[\w-]+", path.read_text(encoding="utf-8"))
        if word in forbidden
    ]
    assert found == []


def test_the_core_does_not_mention_the_package_of_the_families() -> None:
    assert [path.name for path in CORE if "aigc_zoo_plugins" in path.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize(
    "source",
    [
        "from x.dcgan import a",
        "import dcgan",
        "f('dcgan')",
        "dcgan = 1",
        "x.dcgan",
        "def dcgan(): ...",
        "f(dcgan=1)",
        "def f(dcgan): ...",
        "a = {'non-saturating': 1}",
        "non_saturating()",
        "f('zoo/dcgan.mnist')",
        "import families.dcgan as x",
    ],
)
def test_the_search_finds_mentions_in_all_places(source: str) -> None:
    assert mentions(source, {"dcgan", "non-saturating"}) != []
    assert mentions(source, {"dcg", "saturating"}) == []


def test_directories_entry_points_and_packages_agree() -> None:
    points = PROJECT["project"]["entry-points"]["aigc_zoo"]
    assert points == {name: f"aigc_zoo_plugins.{name}" for name in FAMILIES}
    folders = {"aigc_zoo_plugins": ROOT / "plugins", "aigc_zoo": ROOT / "aigc_zoo"}
    packages = {
        ".".join((name, *path.parent.relative_to(folder).parts))
        for name, folder in folders.items()
        for path in folder.rglob("__init__.py")
    }
    assert packages_of(ROOT) == packages


def packages_of(folder: Path) -> set[str]:
    """The packages that setup.py of a source tree lists."""
    script = "from distutils.core import run_setup; print(*run_setup('setup.py', stop_after='init').packages)"
    code = f"import setuptools; {script}"
    listed = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    return set(listed.stdout.split())


def test_a_new_family_is_one_folder_and_one_line(tmp_path: Path) -> None:
    """A folder below plugins/ is packaged and obeys the import contracts; only its entry point must be written."""
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for folder in ("aigc_zoo", "plugins"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    before = packages_of(tmp_path)
    (tmp_path / "plugins" / "novel").mkdir()
    (tmp_path / "plugins" / "novel" / "__init__.py").write_text("ZOO_API = 1\n")
    assert packages_of(tmp_path) - before == {"aigc_zoo_plugins.novel"}
    lists = [
        line for line in (tmp_path / "pyproject.toml").read_text().splitlines() if "aigc_zoo_plugins.dcgan" in line
    ]
    assert lists == ['dcgan = "aigc_zoo_plugins.dcgan"']


def test_the_installed_entry_points_are_up_to_date() -> None:
    """A new entry point needs a reinstall; without it the new family would be missing."""
    ours = [record for record in catalogue().records if record.distribution == "aigc-zoo"]
    assert sorted(record.entry_point for record in ours) == FAMILIES
    assert [str(record) for record in ours if record.status != "ok"] == []


@pytest.mark.slow
def test_the_wheel_contains_every_module_and_data_file(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for folder in ("aigc_zoo", "plugins"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    wheels = tmp_path / "wheels"
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(wheels), str(source)],
        check=True,
        timeout=300,
    )
    (wheel,) = wheels.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    existing = {path.relative_to(ROOT) for folder in ("aigc_zoo", "plugins") for path in (ROOT / folder).rglob("*")}
    wanted = {
        str(Path("aigc_zoo_plugins", *path.parts[1:]) if path.parts[0] == "plugins" else path)
        for path in existing
        if (ROOT / path).is_file() and "__pycache__" not in path.parts
    }
    assert packed == wanted
