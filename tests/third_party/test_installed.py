"""A third-party distribution: installed by pip, listed, trained and sampled; and its run once it is uninstalled."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SOURCE = Path(__file__).parent / "aigc-zoo-hello"
BROKEN = {
    "aigc-zoo-noimport": "import nosuchmodule",
    "aigc-zoo-exits": "raise SystemExit('no GPU found')",
    "aigc-zoo-misspelt": "from aigc_zoo.spec import hookimpl\nZOO_API = 1\n@hookimpl\ndef zoo_component(): return []",
}


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A directory with the third-party plugin, installed by pip, and three broken plugins."""
    target = tmp_path / "target"
    source = shutil.copytree(SOURCE, tmp_path / "source", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
    subprocess.run(pip, check=True, timeout=120)
    for distribution, code in BROKEN.items():
        module = distribution.replace("-", "_")
        info = target / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[aigc_zoo]\n{module} = {module}\n")
        (target / f"{module}.py").write_text(code)
    return target


def remove(target: Path) -> None:
    """Removes the plugin, since `pip uninstall` does not support --target directories."""
    for path in target.glob("aigc_zoo_hello*"):
        shutil.rmtree(path)


def zoo(target: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(target), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "aigc_zoo", *args],
        capture_output=True,
        text=True,
        env=env,
        cwd=target.parent,
        timeout=120,
    )


def listed(target: Path) -> dict[str, dict[str, str]]:
    done = zoo(target, "list", "--kind", "all", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert {problem["distribution"] for problem in answer["problems"]} == set(BROKEN)
    assert len(done.stderr.splitlines()) == len(BROKEN)
    return {f"{item['kind']} {item['id']}": item for item in answer["items"]}


def test_a_third_party_plugin_is_listed_until_it_is_removed(installed: Path) -> None:
    before = listed(installed)
    assert before["recipe hello/hello"]["distribution"] == "aigc-zoo-hello"
    assert before["recipe hello/hello"]["version"] == "0.3"
    remove(installed)
    after = listed(installed)
    assert before.keys() - after.keys() == {"recipe hello/hello", "generator hello/tiny"}
    assert "recipe zoo/dcgan" in after


def test_a_third_party_recipe_trains_and_its_run_names_the_missing_plugin(installed: Path) -> None:
    run = installed.parent / "run"
    images = np.random.default_rng(0).integers(0, 256, (64, 28, 28, 1), dtype=np.uint8)
    np.savez(installed.parent / "noise.npz", images=images)
    settings = ["--data", "noise.npz", "--steps", "2", "--out", str(run)]
    trained = zoo(installed, "train", "hello", *settings)
    assert trained.returncode == 0, trained.stderr
    assert (run / "generator.safetensors").is_file()
    card = json.loads((run / "card.json").read_text())
    assert card["recipe"].startswith("hello/hello")

    sampled = zoo(installed, "sample", str(run), "-n", "4", "--out", "with.png")
    assert sampled.returncode == 0, sampled.stderr
    assert (installed.parent / "with.png").stat().st_size > 0

    remove(installed)
    missing = zoo(installed, "sample", str(run), "-n", "4", "--out", "without.png")
    assert missing.returncode == 3, missing.stderr
    lines = [line for line in missing.stderr.splitlines() if "plugin aigc-zoo-" not in line]
    assert "needs aigc-zoo-hello>=0.3: python -m pip install aigc-zoo-hello" in "\n".join(lines)
    assert len(lines) <= 3
    assert not (installed.parent / "without.png").exists()
