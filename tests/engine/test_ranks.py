"""Two ranks under torchrun, on the CPU by gloo, against one rank with the whole batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from sketch import two_ranks
from sketch.training import difference, snapshot, train
from torch import Tensor

from aigc_zoo.artefacts import checkpoint
from aigc_zoo.engine.ranks import Ranks, join_group
from aigc_zoo.engine.state import under

TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Outcome:
    """The results that each of two ranks wrote."""

    directory: Path
    tensors: tuple[dict[str, Tensor], dict[str, Tensor]]
    results: tuple[dict[str, Any], dict[str, Any]]

    def under(self, prefix: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        zero, one = (under(prefix, found) for found in self.tensors)
        assert zero
        return zero, one


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One launch for all tests of this file: most of its time is spent on importing torch three times."""
    directory = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, "--module", "sketch.two_ranks", str(directory)],
        env=os.environ | {"PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Outcome(
        directory,
        (load_file(directory / "0.tensors"), load_file(directory / "1.tensors")),
        (json.loads((directory / "0.json").read_text()), json.loads((directory / "1.json").read_text())),
    )


@pytest.fixture(scope="module")
def one() -> dict[str, Tensor]:
    """The same trainers on one rank."""
    return two_ranks.all_trainers(Ranks())


# --- one rank and two -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", two_ranks.TRAINERS)
def test_two_ranks_equal_one_with_the_whole_batch(two: Outcome, one: dict[str, Tensor], name: str) -> None:
    for part in ("nets", "ema", "optimizer"):
        expected = under(f"{name}/{part}/", one)
        assert expected
        for found in two.under(f"{name}/{part}/"):
            assert difference(found, expected) <= 1e-12


@pytest.mark.parametrize("name", two_ranks.TRAINERS)
def test_ranks_hold_bit_equal_weights(two: Outcome, name: str) -> None:
    assert difference(*two.under(f"{name}/nets/")) == 0.0


@pytest.mark.parametrize("name", two_ranks.TRAINERS)
def test_each_rank_trains_on_its_shard(two: Outcome, one: dict[str, Tensor], name: str) -> None:
    zero, other = two.under(f"{name}/batch/")
    assert {"real"} < zero.keys()
    joined = {key: torch.cat([zero[key], other[key]]) for key in zero}
    assert difference(joined, under(f"{name}/batch/", one)) == 0.0


@pytest.mark.parametrize("name", ["accumulate", "sync_batch_norm"])
def test_two_ranks_equal_one_with_accumulation_and_sync_batch_norm(two: Outcome, name: str) -> None:
    a = two_ranks.convolutional(Ranks(), norm=name == "sync_batch_norm")
    train(a, two_ranks.STEPS)
    expected = snapshot(a)[0]
    for found in two.under(f"{name}/"):
        assert found.keys() == expected.keys()  # and no statistics are saved per rank
        assert difference(found, expected) <= 1e-12
    assert name == "accumulate" or (expected["nets/D.1.running_var"] != 1).all()


def test_noise_inside_networks_differs_between_ranks(two: Outcome) -> None:
    zero, other = (found["noise"] for found in two.tensors)
    assert not torch.equal(zero, other)


# --- state ------------------------------------------------------------------------------------------------------------


def test_batch_statistics_are_saved_for_each_rank(two: Outcome) -> None:
    saved, _ = checkpoint.load(two.directory / "5.safetensors")
    saved_per_rank = set(under("rank1/", saved))
    statistics = ("running_mean", "running_var")
    assert saved_per_rank == {
        *(f"nets/{layer}.{what}" for layer in ("G.2", "D.1") for what in statistics),
        *(f"ema/G.2.{what}" for what in statistics),
    }


def test_resume_on_two_ranks_is_exact(two: Outcome) -> None:
    assert [float(found["resumed/all"]) for found in two.tensors] == [0.0, 0.0]


def test_resume_without_the_statistics_of_rank_1_differs(two: Outcome) -> None:
    first, second = (float(found["resumed/shared"]) for found in two.tensors)
    assert first == 0.0
    assert second > 0.0


@pytest.mark.parametrize(("family", "shared"), [("stylegan2", ["ada.p", "ada.sign"]), ("multiscale", ["balance.rate"])])
def test_shared_buffers_agree(two: Outcome, family: str, shared: list[str]) -> None:
    zero, other = two.under(f"{family}/nets/")
    for name in shared:
        assert torch.equal(zero[name], other[name])
    differing = {name for name in zero if not torch.equal(zero[name], other[name])}
    assert differing == ({"path.mean"} if family == "stylegan2" else set())  # whose module is not `shared`
    kept = under(f"{family}/saved/rank1/", two.tensors[0])
    assert set(kept) == {f"nets/{name}" for name in differing}
    assert all(torch.equal(kept[f"nets/{name}"], other[name]) for name in differing)


def test_a_shared_buffer_may_be_replaced(two: Outcome) -> None:
    zero, other = (found["level"] for found in two.tensors)
    assert torch.equal(zero, other)
    expected = two_ranks.buffers(Ranks())["level"]
    torch.testing.assert_close(zero, expected, rtol=0, atol=1e-12)


# --- samples ----------------------------------------------------------------------------------------------------------


def test_two_ranks_generate_the_samples_of_one(two: Outcome) -> None:
    a = two_ranks.with_batch_norm(Ranks())
    saved, card = checkpoint.load(two.directory / "5.safetensors")
    a.load({name: tensor for name, tensor in saved.items() if not name.startswith("rank1/")}, card)
    chunks = {int(number): chunk for found in two.under("chunk/") for number, chunk in found.items()}
    assert sorted(chunks) == [0, 1, 2, 3, 4]
    assert torch.equal(torch.cat([chunks[number] for number in sorted(chunks)]), a.sampler(seed=4).samples(300))


# --- collectives ------------------------------------------------------------------------------------------------------


def test_leave_group_ends_the_threads_of_the_group(two: Outcome) -> None:
    """Otherwise a process that has finished its work may abort at exit, and torchrun reports a failure."""
    assert [result["group is gone"] for result in two.results] == [True, True]


def test_collectives(two: Outcome) -> None:
    zero, other = two.results
    assert (zero["rank"], other["rank"]) == ([0, 2, True], [1, 2, False])
    assert zero == other | {"rank": zero["rank"]}
    assert zero["any"] == [True, False]
    assert zero["gathered"] == [[0.0, 1.0], [1.0, 1.0]]
    assert zero["copied"] == [0.0, 1.0]
    assert zero["averaged"] == [[0.5, 1.0], None, [[0.5], [1.0]], 0.5]


def test_all_ranks_name_the_first_non_finite_loss_of_any(two: Outcome) -> None:
    messages = [found["broken"] for found in two.results]
    assert messages == ["the loss of player discriminator is not finite at step 2"] * 2
    assert two_ranks.broken(Ranks()) == messages[0]


def test_a_single_process_joins_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert join_group(torch.device("cpu")) == Ranks(0, 1)


def test_a_batch_that_does_not_divide_is_refused() -> None:
    assert [Ranks(rank, 2).shard(8) for rank in range(2)] == [slice(0, 4), slice(4, 8)]
    with pytest.raises(ValueError, match="a batch of 7 does not divide over 2 ranks"):
        Ranks(0, 2).shard(7)
