"""First-party families have no privilege: moved to a distribution of its own, each behaves the same."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import drawn_files
import numpy as np
import pytest
from sketch import on_files

from aigc_zoo.plugins import catalogue
from aigc_zoo.scaffold import write_project

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
TESTS = Path(__file__).resolve().parents[1]
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


FACTS = """
import hashlib, json, sys
from dataclasses import asdict
import torch
from aigc_zoo.data.modalities import modality
from aigc_zoo.data.resolve import load
from aigc_zoo.modality import png
from aigc_zoo.plugins import catalogue

PLANTED = sys.argv[2]


def digest(content):
    return hashlib.sha256(content).hexdigest()


def planted(of, which):
    if which == "html":
        of.html = lambda x, spec: "other"
    elif which == "file":
        of.quantize = lambda x, spec, whole=of.quantize: whole(x, spec).flip(-1)
    elif which == "sample":
        of.read = lambda file, name, spec, whole=of.read: (one[..., ::-1] for one in whole(file, name, spec))


def facts(reference, path, options):
    of = modality(catalogue(), reference)
    if reference.startswith("moved-"):
        planted(of, PLANTED)
    splits = load(catalogue(), path, modality=reference, size=options.pop("size", None), options=options)
    samples = splits["train"]
    spec = asdict(samples.spec)
    assert catalogue().find("modality", spec.pop("modality")).entry.id == reference, spec
    rows = {name: field[:6] for name, field in samples.fields.items()}
    x = samples.decode(rows, lambda name: torch.zeros(0))["real"]
    return {
        "splits": list(splits),
        "digest": samples.digest,
        "spec": spec,
        "notes": samples.notes,
        "stated": [samples.resize, of.noun, of.units, of.previews, *of.suffixes],
        "decoded": digest(x.numpy().tobytes()),
        "quantized": digest(samples.quantize(x).numpy().tobytes()),
        "preview": digest(png(of.preview(x, samples.spec))),
        "one": {suffix: digest(write(x[0], samples.spec)) for suffix, write in of.one.items()},
        "many": {suffix: digest(write(x, samples.spec)) for suffix, write in of.many.items()},
        "html": of.html(x[0], samples.spec),
        "measured": [of.extractor(samples.spec), *of.metrics(samples.spec)],
    }


results = {}
for name, (path, options) in json.loads(sys.argv[1]).items():
    results[name] = [facts(f"{namespace}/{name}", path, dict(options)) for namespace in ("moved-modalities", "zoo")]
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
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(site), str(TESTS))), "OMP_NUM_THREADS": "1"}
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


# --- modalities -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder or file for each modality."""
    directory = tmp_path_factory.mktemp("files")
    drawn_files.pictures(directory / "image")
    drawn_files.tones(directory / "audio", 8, channels=2)
    drawn_files.bars(directory / "video", 8)
    drawn_files.sentences(directory / "text.txt", 40)
    draw = np.random.default_rng(0)
    np.save(directory / "points.npy", draw.normal(size=(40, 2)).astype(np.float32))
    np.save(directory / "array.npy", draw.uniform(-1, 1, (40, 3, 2)).astype(np.float32))
    return directory


SHOWN = (".png", ".wav", ".gif", ".txt", ".html")

OPTIONS: dict[str, dict[str, Any]] = {
    "image": {"size": 8},
    "audio": {"seconds": 0.06, "rate": 2_000},
    "video": {"frames": 3},
    "text": {"length": 30},
    "points": {},
    "array": {},
}


def facts(
    moved: Path, files: Path, names: Iterable[str] = OPTIONS, planted: str = ""
) -> dict[str, list[dict[str, Any]]]:
    """What moved modalities do with the files, and what the originals do. `planted` is a difference of the moved."""
    paths = {name: str(next(files.glob(f"{name}*"))) for name in names}
    given = json.dumps({name: (path, OPTIONS[name]) for name, path in paths.items()})
    found: dict[str, list[dict[str, Any]]] = json.loads(run(moved, "-c", FACTS, given, planted))
    return found


def test_a_moved_modality_reads_shows_and_writes_the_same(moved: Path, files: Path) -> None:
    found = facts(moved, files)
    assert found.keys() == {entry.name for entry in catalogue().items("modality", "zoo/*")}
    for name, (there, here) in found.items():
        assert there == here, name
    lost = {name for name, (_, here) in found.items() if "left out" in " ".join(here["notes"])}
    assert lost == {"audio", "video", "text"}, "notes are among what is compared"


@pytest.mark.parametrize(("planted", "differs"), [("html", "html"), ("file", "one"), ("sample", "digest")])
def test_a_difference_of_a_moved_modality_is_found(
    moved: Path, files: Path, tmp_path: Path, planted: str, differs: str
) -> None:
    copied = shutil.copytree(files, tmp_path / "files")  # of which the cache has no samples
    there, here = facts(moved, copied, ["audio"], planted)["audio"]
    assert there[differs] != here[differs]


@pytest.mark.parametrize(("recipe", "modality"), [("tone", "audio"), ("clip", "video"), ("sentence", "text")])
def test_a_run_with_a_moved_modality_is_the_same(
    moved: Path, files: Path, tmp_path: Path, recipe: str, modality: str
) -> None:
    data = next(files.glob(f"{modality}*"))
    for namespace in ("moved-modalities", "zoo"):
        out = str(tmp_path / namespace)
        words = ["train", recipe, "--data", str(data), "--modality", f"{namespace}/{modality}", "--out", out]
        plugin = ["-m", "aigc_zoo", "--plugin", on_files.__file__]
        run(moved, *plugin, *words, "--steps", "2", "--batch-size", "4")
        run(moved, *plugin, "sample", out, "-n", "5", "--out", f"{out}/each/")
    there, here = tmp_path / "moved-modalities", tmp_path / "zoo"
    shown = [path.relative_to(here) for path in sorted(here.rglob("*")) if path.suffix in SHOWN]
    assert len(shown) >= 2 * 2 + 2 + 5
    for path in shown:
        assert (there / path).read_bytes() == (here / path).read_bytes(), path


# --- checks -----------------------------------------------------------------------------------------------------------


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
