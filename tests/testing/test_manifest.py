"""Planted faults in distributions and manifests: each fails the static check that tests for it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from aigc_zoo.discovery import Manager
from aigc_zoo.plugins import Catalogue
from aigc_zoo.testing.runner import cases_of, run_check

MANIFEST = """
from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1


@hookimpl
def zoo_components():
    yield Component(
        kind="loss", name="soft", target=f"{__name__}.maths:soft", summary="A loss", paper="arXiv:1406.2661"
    )
"""
MATHS = 'def soft():\n    """A loss."""\n'
METADATA = (
    "Metadata-Version: 2.4\nName: {name}\nVersion: 0.2\nLicense-Expression: MIT\nRequires-Dist: aigc-zoo>=0.1,<1\n"
)

FAULTS = {  # fault -> (changes of manifest, maths, metadata, RECORD), failing checks with a part of their reasons
    "torch imported by the manifest": (
        {"manifest": ("\nZOO_API", "import torch\n\nZOO_API")},
        {"S-HEAVY": "imports torch", "S-TWICE": "must not import torch"},
    ),
    "torch imported optionally by the manifest": (
        {"manifest": ("\nZOO_API", "try:\n    import torch\nexcept ImportError:\n    torch = None\n\nZOO_API")},
        {"S-HEAVY": "imports torch"},
    ),
    "a slow manifest": (
        {"manifest": ("\nZOO_API", "x = sum(i * i for i in range(2_000_000))\n\nZOO_API")},
        {"S-TIME": "ms of CPU time"},
    ),
    "components that change": (
        {"manifest": ('name="soft"', 'name=f"soft{COUNT.append(1) or len(COUNT)}"'), "head": "COUNT = []\n"},
        {"S-TWICE": "other components in its second call"},
    ),
    "an API number taken from the core": (
        {"manifest": ("ZOO_API = 1", "from aigc_zoo.spec import API as ZOO_API")},
        {"S-API": "write ZOO_API = 1"},
    ),
    "a hook's argument with a default": (
        {"manifest": ("\n\n@hookimpl", "\n\n@hookimpl\ndef zoo_log(step, scalars=None): ...\n\n@hookimpl")},
        {"S-HOOKS": "argument scalars has a default"},
    ),
    "no upper bound": (
        {"metadata": ("aigc-zoo>=0.1,<1", "aigc-zoo>=0.1")},
        {"S-REQUIRES": "state both bounds"},
    ),
    "no license": ({"metadata": ("License-Expression: MIT\n", "")}, {"S-LICENCE": "states no license"}),
    "a target that the wheel lacks": ({"left_out": "maths.py"}, {"S-WHEEL": "lacks {module}.maths"}),
    "a target that does not exist": (
        {"manifest": ("maths:soft", "maths:softer")},
        {"S-TARGET": "target names softer"},
    ),
    "a paper without an identifier": (
        {"manifest": ("arXiv:1406.2661", "Goodfellow 2014")},
        {"S-SOURCE": "write arXiv"},
    ),
    "neither paper nor docstring": (
        {"manifest": (', paper="arXiv:1406.2661"', ""), "maths": ('    """A loss."""', "    pass")},
        {"S-SOURCE": "states no paper"},
    ),
    "an extra that does not exist": (
        {"manifest": ('summary="A loss"', 'summary="A loss", extra="gpu"')},
        {"S-EXTRA": "no extra 'gpu'"},
    ),
    "a misspelt hook": (
        {"manifest": ("zoo_components()", "zoo_component()")},
        {"S-LOAD": "did you mean 'zoo_components'"},
    ),
}  # fmt: skip


def installed(directory: Path, name: str, changes: dict[str, object]) -> str:
    """Writes a distribution as pip installs it, with these changes, and returns its module's name."""
    module = name.replace("-", "_")
    texts = {"manifest": MANIFEST, "maths": MATHS, "metadata": METADATA.format(name=name)}
    for part, text in texts.items():
        if part in changes:
            old, new = changes[part]  # type: ignore[misc]
            assert old in text
            texts[part] = text.replace(old, new)
    (directory / module).mkdir()
    (directory / module / "__init__.py").write_text(str(changes.get("head", "")) + texts["manifest"])
    (directory / module / "maths.py").write_text(texts["maths"])
    info = directory / f"{module}-0.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(texts["metadata"])
    (info / "entry_points.txt").write_text(f"[aigc_zoo]\nmain = {module}\n")
    files = [f"{module}/__init__.py,,", f"{module}/maths.py,,"]
    (info / "RECORD").write_text("\n".join(f for f in files if str(changes.get("left_out", "?")) not in f) + "\n")
    return module


def failures(directory: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.syspath_prepend(directory)
    manager = Manager()
    manager.load_setuptools_entrypoints()
    results = [run_check(case) for case in cases_of(Catalogue(manager), name, tiers=("static",))]
    assert len(results) >= 9
    return {result.check: result.reason for result in results if result.bad}


def test_a_distribution_without_faults_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, "aigc-zoo-faultless", {})
    assert failures(tmp_path, "aigc-zoo-faultless", monkeypatch) == {}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_fails_the_check_that_tests_for_it(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, expected = FAULTS[fault]
    name = f"aigc-zoo-fault-{hashlib.sha256(fault.encode()).hexdigest()[:8]}"
    module = installed(tmp_path, name, dict(changes))
    failed = failures(tmp_path, name, monkeypatch)
    assert failed.keys() == expected.keys(), failed
    for check, words in expected.items():
        assert words.format(module=module) in failed[check], failed


def test_the_egg_info_of_a_source_tree_does_not_hide_what_pip_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python -m pytest` puts the working directory first on the import path, where setuptools may leave one."""
    name = "aigc-zoo-shadowed"
    site, tree = tmp_path / "site", tmp_path / "tree"
    site.mkdir()
    module = installed(site, name, {})
    info = tree / f"{module}.egg-info"
    info.mkdir(parents=True)
    (info / "PKG-INFO").write_text(METADATA.format(name=name))
    (info / "entry_points.txt").write_text(f"[aigc_zoo]\nmain = {module}\n")
    (info / "SOURCES.txt").write_text("pyproject.toml\n")
    monkeypatch.syspath_prepend(site)
    assert failures(tree, name, monkeypatch) == {}
