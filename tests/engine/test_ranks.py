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
from sketch import together
from sketch.play import difference, play, snapshot
from torch import Tensor

from aigc_zoo.artefacts import checkpoint
from aigc_zoo.engine.dist import Ranks, join
from aigc_zoo.engine.state import under

TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Outcome:
    """What each of two ranks wrote."""

    folder: Path
    tensors: tuple[dict[str, Tensor], dict[str, Tensor]]
    said: tuple[dict[str, Any], dict[str, Any]]

    def under(self, prefix: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        zero, one = (under(prefix, found) for found in self.tensors)
        assert zero
        return zero, one


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One launch for all tests of this file: most of its time goes into three imports of torch."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, "--module", "sketch.together", str(folder)],
        env=os.environ | {"PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Outcome(
        folder,
        (load_file(folder / "0.tensors"), load_file(folder / "1.tensors")),
        (json.loads((folder / "0.json").read_text()), json.loads((folder / "1.json").read_text())),
    )


@pytest.fixture(scope="module")
def one() -> dict[str, Tensor]:
    """The same games on one rank."""
    return together.games(Ranks())


# --- the same game ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", together.GAMES)
def test_two_ranks_equal_one_with_the_whole_batch(two: Outcome, one: dict[str, Tensor], name: str) -> None:
    for part in ("nets", "ema", "optimizer"):
        expected = under(f"{name}/{part}/", one)
        assert expected
        for found in two.under(f"{name}/{part}/"):
            assert difference(found, expected) <= 1e-12


@pytest.mark.parametrize("name", together.GAMES)
def test_ranks_hold_the_same_weights_to_the_bit(two: Outcome, name: str) -> None:
    assert difference(*two.under(f"{name}/nets/")) == 0.0


@pytest.mark.parametrize("name", together.GAMES)
def test_each_rank_plays_on_its_rows_of_the_batch(two: Outcome, one: dict[str, Tensor], name: str) -> None:
    zero, other = two.under(f"{name}/batch/")
    assert {"real", "z", "u"} <= zero.keys()
    joined = {key: torch.cat([zero[key], other[key]]) for key in zero}
    assert difference(joined, under(f"{name}/batch/", one)) == 0.0


@pytest.mark.parametrize("name", ["parts", "synchronised"])
def test_two_ranks_equal_one_in_parts_and_with_shared_statistics(two: Outcome, name: str) -> None:
    a = together.normal(Ranks(), norm=name == "synchronised")
    play(a, together.STEPS)
    expected = snapshot(a)[0]
    for found in two.under(f"{name}/"):
        assert found.keys() == expected.keys()  # and no statistics are kept apart for a rank
        assert difference(found, expected) <= 1e-12
    assert name == "parts" or (expected["nets/D.1.running_var"] != 1).all()


def test_noise_inside_networks_differs_between_ranks(two: Outcome) -> None:
    zero, other = (found["dice"] for found in two.tensors)
    assert not torch.equal(zero, other)


# --- what persists ----------------------------------------------------------------------------------------------------


def test_statistics_are_saved_for_each_rank(two: Outcome) -> None:
    saved, _ = checkpoint.load(two.folder / "5.safetensors")
    apart = set(under("rank1/", saved))
    statistics = ("running_mean", "running_var")
    assert apart == {
        *(f"nets/{layer}.{what}" for layer in ("G.2", "D.1") for what in statistics),
        *(f"ema/G.2.{what}" for what in statistics),
    }


def test_resume_on_two_ranks_differs_by_nothing(two: Outcome) -> None:
    assert [float(found["resumed/all"]) for found in two.tensors] == [0.0, 0.0]


def test_resume_without_the_other_ranks_statistics_would_be_noticed(two: Outcome) -> None:
    first, second = (float(found["resumed/shared"]) for found in two.tensors)
    assert first == 0.0
    assert second > 0.0


@pytest.mark.parametrize(("family", "shared"), [("stylegan2", ["ada.p", "ada.sign"]), ("multiscale", ["balance.rate"])])
def test_shared_buffers_agree(two: Outcome, family: str, shared: list[str]) -> None:
    zero, other = two.under(f"{family}/nets/")
    for name in shared:
        assert torch.equal(zero[name], other[name])
    differing = {name for name in zero if not torch.equal(zero[name], other[name])}
    assert differing == ({"path.mean"} if family == "stylegan2" else set())  # whose module is not shared
    kept = under(f"{family}/saved/rank1/", two.tensors[0])
    assert set(kept) == {f"nets/{name}" for name in differing}
    assert all(torch.equal(kept[f"nets/{name}"], other[name]) for name in differing)


def test_a_shared_buffer_may_be_replaced(two: Outcome) -> None:
    zero, other = (found["level"] for found in two.tensors)
    assert torch.equal(zero, other)
    expected = together.buffers(Ranks())["level"]
    torch.testing.assert_close(zero, expected, rtol=0, atol=1e-12)


# --- samples ----------------------------------------------------------------------------------------------------------


def test_two_ranks_sample_what_one_does(two: Outcome) -> None:
    a = together.normalised(Ranks())
    saved, card = checkpoint.load(two.folder / "5.safetensors")
    a.load({name: tensor for name, tensor in saved.items() if not name.startswith("rank1/")}, card)
    chunks = {int(number): chunk for found in two.under("chunk/") for number, chunk in found.items()}
    assert sorted(chunks) == [0, 1, 2, 3, 4]
    assert torch.equal(torch.cat([chunks[number] for number in sorted(chunks)]), a.sampler(seed=4).samples(300))


# --- talk -------------------------------------------------------------------------------------------------------------


def test_leaving_ends_the_group_and_its_threads(two: Outcome) -> None:
    """Otherwise a process that has done its work may abort on its way out, and torchrun calls the run a failure."""
    assert [said["group is gone"] for said in two.said] == [True, True]


def test_ranks_talk(two: Outcome) -> None:
    zero, other = two.said
    assert (zero["rank"], other["rank"]) == ([0, 2, True], [1, 2, False])
    assert zero == other | {"rank": zero["rank"]}
    assert zero["any"] == [True, False]
    assert zero["gathered"] == [[0.0, 1.0], [1.0, 1.0]]
    assert zero["copied"] == [0.0, 1.0]
    assert zero["averaged"] == [[0.5, 1.0], None, [[0.5], [1.0]], 0.5]


def test_all_ranks_name_the_first_bad_loss_of_any(two: Outcome) -> None:
    said = [found["broken"] for found in two.said]
    assert said == ["the loss of player critic is not finite at step 2"] * 2
    assert together.broken(Ranks()) == said[0]


def test_a_single_process_joins_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert join(torch.device("cpu")) == Ranks(0, 1)


def test_a_batch_that_does_not_divide_is_refused() -> None:
    assert [Ranks(rank, 2).share(8) for rank in range(2)] == [slice(0, 4), slice(4, 8)]
    with pytest.raises(ValueError, match="a batch of 7 does not divide over 2 ranks"):
        Ranks(0, 2).share(7)
