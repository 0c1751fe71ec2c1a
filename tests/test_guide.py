"""docs/writing-a-plugin.md: every code block runs, and what it says of batches, checks and files is so.

The commands of the guide are run by tests/test_repository.py.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aigc_zoo import options, scaffold
from aigc_zoo.data import resolve
from aigc_zoo.data.pool import Pool
from aigc_zoo.errors import ConfigError, DataError
from aigc_zoo.game import Nets
from aigc_zoo.plugins import catalogue
from aigc_zoo.run.generator import load_generator
from aigc_zoo.run.loop import train
from aigc_zoo.run.prepare import Prepared, prepare
from aigc_zoo.testing import all_checks, list_cases
from aigc_zoo.testing.runner import run_check

GUIDE = (Path(__file__).parent.parent / "docs" / "writing-a-plugin.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)\n```$", GUIDE, re.DOTALL | re.MULTILINE)
PYTHON = [block for language, block in BLOCKS if language == "python"]
PLUGINS = {re.findall(r'name="([\w-]+)"', block)[0]: block for block in PYTHON if "ZOO_API = 1" in block}
OTHERS = [block for block in PYTHON if "ZOO_API = 1" not in block and "parametrize_with_checks" not in block]


def test_every_block_is_of_a_kind_that_is_run() -> None:
    assert {language for language, _ in BLOCKS} == {"python", "sh", "toml"}
    assert set(PLUGINS) == {"my-loss", "soft-lsgan", "my-gan", "my-game", "my-curves", "my-dna", "my-gap"}
    # The block with `parametrize_with_checks` needs an installed plugin: test_all_commands_of_the_guide_work.
    assert len(PLUGINS) + len(OTHERS) + 1 == len(PYTHON)


@pytest.mark.parametrize("name", PLUGINS)
def test_the_plugins_build(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name.replace('-', '_')}.py"
    file.write_text(PLUGINS[name])
    own = catalogue([file])
    entries = [entry for entry in own.items() if entry.namespace == "local"]
    assert name in {entry.name for entry in entries}
    for entry in entries:
        if entry.kind == "recipe":
            options.build(own, options.resolve(own, entry.id))
        else:
            options.bind(own, entry.kind, entry.id)


@pytest.mark.parametrize("block", OTHERS, ids=lambda block: block.splitlines()[-1][:40])
def test_the_other_blocks_run(block: str) -> None:
    names: dict[str, Any] = {"__name__": "guide"}
    exec(compile(block, "guide", "exec"), names)
    assert len(names) > 2


def test_the_entry_point_is_that_of_a_new_project(tmp_path: Path) -> None:
    (block,) = [block for language, block in BLOCKS if language == "toml"]
    project, _ = scaffold.write_project(catalogue(), "acme", into=tmp_path)
    written = tomllib.loads((project / "pyproject.toml").read_text())
    said = tomllib.loads(block)
    assert said["project"]["name"] == written["project"]["name"]
    assert said["project"]["entry-points"] == written["project"]["entry-points"]
    assert said["project"]["dependencies"] == written["project"]["dependencies"]


# --- the game of the guide --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("game") / "my_game.py"
    file.write_text(PLUGINS["my-game"])
    return file


@pytest.mark.parametrize("check", [one.id for one in all_checks(("cpu",)) if "recipe" in one.kinds])
def test_the_game_passes_its_checks(check: str, game: Path) -> None:
    """The commands of the guide check the loss and the recipe with networks, too."""
    (case,) = [case for case in list_cases(game, tiers=("cpu",)) if case.check.id == check]
    result = run_check(case)
    assert result.status == "passed", f"{result.reason}\n{result.traceback}"


def run_of(game: Path, **given: Any) -> Prepared:
    own = catalogue([game])
    settings = {"steps": 6, "batch_size": 8, "device": "cpu", "start": 3, **given}
    return prepare(own, options.resolve(own, "local/my-game", given=settings, origin="python"))


def test_a_batch_has_the_entries_of_the_table(game: Path) -> None:
    trainer = run_of(game).trainer()
    batch = trainer.batch(0)
    assert set(batch) == {"real", "label", "z", "noise", "t", "images"}
    assert (batch["t"].shape, batch["images"].shape) == ((), ())
    assert batch["label"].shape == (8, 10)
    assert batch["label"].dtype == torch.float32
    assert set(batch["label"].unique().tolist()) == {0.0, 1.0}
    seen = []
    for _ in range(6):
        seen.append((float(trainer.batch(0)["t"]), float(trainer.batch(0)["images"])))
        trainer.train_step()
    assert seen == [(pytest.approx(step / 6), 8.0 * step) for step in range(6)]


def test_draw_gets_the_entries_of_the_dataset_alone(game: Path) -> None:
    prepared, seen = run_of(game), []
    draw = prepared.recipe.draw

    def record(batch: Any) -> Any:
        seen.append({key: tuple(value.shape) for key, value in batch.items()})
        return draw(batch)

    object.__setattr__(prepared.recipe, "draw", record)
    prepared.trainer().train_step()
    assert seen[0] == {"real": (8, 1, 28, 28), "label": (8, 10)}
    seen.clear()
    prepared.sampler(prepared.trainer(), 0).samples(2)
    assert seen == [{"real": (64, 1, 28, 28), "label": (64, 10)}]


def test_samples_are_generated_in_evaluation_mode_with_stored_progress(game: Path) -> None:
    prepared, seen = run_of(game), []
    generate = prepared.recipe.generate

    def record(nets: Nets, batch: Any) -> Any:
        seen.append((nets.G.training, float(batch["t"]), float(batch["images"])))
        return generate(nets, batch)

    object.__setattr__(prepared.recipe, "generate", record)
    trainer = prepared.trainer()
    trainer.train_step()
    assert set(seen) == {(True, 0.0, 0.0)}
    seen.clear()
    prepared.sampler(trainer, 0).samples(70)
    assert seen == [(False, pytest.approx(1 / 6), 8.0)] * 2


def test_the_files_of_a_run_have_the_fields_of_the_tables(game: Path, tmp_path: Path) -> None:
    prepared = run_of(game, log_every=1, metrics="variance-ratio", eval_num=64)
    train(prepared, tmp_path / "run")
    section = GUIDE.partition("\n## Files of a run\n")[2].partition("\n## ")[0]
    tables = [re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE) for table in section.split("\n\n") if "|---|" in table]
    documented = [{name for row in rows for name in re.findall(r"`(\w+)`", row)} for rows in tables]
    log, metrics = (
        [json.loads(line) for line in (tmp_path / "run" / name).read_text().splitlines()]
        for name in ("log.jsonl", "metrics.jsonl")
    )
    assert [set(log[-1]), set(metrics[0])] == documented
    assert metrics[0]["step"] == 0
    protocol = next(row for row in section.splitlines() if row.startswith("| `protocol` |"))
    for line in metrics:
        assert set(line["protocol"]) - {"settings"} <= set(re.findall(r"`(\w+)`", protocol))
    assert set(log[-1]["terms"]) == set(log[-1]["term_steps"])
    assert log[4]["term_steps"]["discriminator/loss"] == 5
    assert load_generator(prepared.catalogue, tmp_path / "run").sample(2).shape == (2, 1, 28, 28)


def test_data_that_the_game_refuses_are_named(game: Path) -> None:
    own = catalogue([game])
    settings = {"steps": 1, "batch_size": 4, "device": "cpu"}
    with pytest.raises(ConfigError, match=r"my-game needs samples in \[-1, 1\].*choose images with --data"):
        prepare(own, options.resolve(own, "local/my-game", data="ring", given=settings, origin="python")).trainer()


# --- the dataset of the guide -----------------------------------------------------------------------------------------


def test_the_dataset_of_the_guide_reads_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_data.py").write_text(PLUGINS["my-curves"])
    own = catalogue([tmp_path / "my_data.py"])
    monkeypatch.setenv("ZOO_DATA", str(tmp_path / "data"))
    folder = tmp_path / "data" / "my-curves"
    folder.mkdir(parents=True)
    with pytest.raises(DataError, match=r"curves.npy is missing: copy curves.npy into \$ZOO_DATA/my-curves"):
        resolve.load(own, "my-curves")
    np.save(folder / "curves.npy", np.zeros((3, 31, 2), np.float32))
    with pytest.raises(DataError, match="store 32 points"):
        resolve.load(own, "my-curves")
    curves = np.random.default_rng(0).uniform(-1, 1, (40, 32, 2)).astype(np.float32)
    np.save(folder / "curves.npy", curves)
    splits = resolve.load(own, "my-curves")
    assert {split: len(samples) for split, samples in splits.items()} == {"train": 36, "test": 4}
    for case in list_cases(tmp_path / "my_data.py", tiers=("cpu",)):
        result = run_check(case)
        assert result.status == "passed", f"{case.name}: {result.reason}"
        assert "not on this machine" not in result.reason
    rows, again = (Pool(splits["test"], "cpu").rows(torch.arange(4))["real"] for _ in range(2))
    assert torch.equal(rows, again), "the numbers from draw are a function of the row"
    torch.testing.assert_close(rows.abs(), torch.from_numpy(curves[::10]).abs(), rtol=1e-3, atol=1e-3)
    signs = Pool(splits["train"], "cpu").batch(0, 0, 36)["real"].sign()
    assert signs.shape == (36, 32, 2)


# --- the modality and the metric of the guide -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["my-dna", "my-gap"])
def test_the_modality_and_the_metric_of_the_guide_pass_their_checks(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGINS[name])
    cases = list_cases(tmp_path / "mine.py", tiers=("cpu",))
    assert len(cases) >= 3
    for case in cases:
        result = run_check(case)
        assert result.status == "passed", f"{case.name}: {result.reason}"
        assert "only what it states" not in result.reason
        assert "no file" not in result.reason


def test_files_of_the_modality_of_the_guide_are_read_with_its_option(tmp_path: Path) -> None:
    (tmp_path / "my_modality.py").write_text(PLUGINS["my-dna"])
    (tmp_path / "genes.dna").write_text("ACGTACGT\nTTTTTTGG\nCCCCCCAA\n" * 4)
    own = catalogue([tmp_path / "my_modality.py"])
    settings = {"modality": "my-dna", "data.length": 6, "steps": 1, "batch_size": 4, "device": "cpu"}
    data = str(tmp_path / "genes.dna")
    prepared = prepare(own, options.resolve(own, "vanilla", data=data, given=settings, origin="python"))
    assert prepared.train.spec.shape == (4, 6)
    assert prepared.train.fields["real"][1].tolist() == [3] * 6
    train(prepared, tmp_path / "run")
    assert len((tmp_path / "run" / "samples" / "000000001.dna").read_text().split()) == 32
    (tmp_path / "genes.dna").write_text("ACGT\nACNT\n")
    with pytest.raises(DataError, match=r"genes.dna cannot be read as a sequence"):
        prepare(own, options.resolve(own, "vanilla", data=data, given=settings, origin="python"))
