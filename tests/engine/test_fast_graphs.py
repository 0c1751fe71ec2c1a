"""Training steps without host synchronization, and as graphs, which recorded tapes stand in for on the CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sketch.conv import conv_trainer, logistic
from sketch.families import FAMILIES
from sketch.tape import NoReads, Tapes
from sketch.toy import Weight, linear_loss, player, toy
from sketch.training import snapshot, start, train
from sketch.two_player import CPU, assert_same_steps, in_bf16, taped, two_player_trainer, use_device_guard
from torch import nn

from aigc_zoo.engine import fast
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Batch, Every, Nets, Terms, adam, clipped, rmsprop


def train_without_reads(a: Trainer, steps: int = 4) -> None:
    """Run steps whose turns raise an error if they read a value on the host; batches are drawn as usual."""
    use_device_guard(a)
    run_turns = a._run_turns

    def without_reads(*args: Any) -> Any:
        with NoReads():
            return run_turns(*args)

    a._run_turns = without_reads
    train(a, steps)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_does_not_synchronize(precision: str) -> None:
    a = two_player_trainer()
    train_without_reads(in_bf16(a) if precision == "bf16" else a)


@pytest.mark.parametrize("name", FAMILIES)
def test_no_family_synchronizes_in_a_step(name: str) -> None:
    train_without_reads(start(FAMILIES[name]()), 2)


def test_a_loss_that_reads_a_value_is_detected() -> None:
    """The negative control of the tests above."""

    def loss(nets: Nets, batch: Batch) -> Terms:
        return {"loss": nets.D.w * nets.D.w.item()}

    with pytest.raises(RuntimeError, match="reads a value"):
        train_without_reads(toy({"discriminator": player("D", loss=loss)}))


# --- graphs -----------------------------------------------------------------------------------------------------------


def test_a_graph_equals_eager_bit_for_bit() -> None:
    """12 steps with three warm-up steps for each of two combinations of losses; the others are replayed."""
    a, b = two_player_trainer(), two_player_trainer()
    tapes = taped(a)
    assert_same_steps(a, b, 12)
    assert tapes.tapes == 2  # one with the lazy penalty, one without
    assert a.engine.choice.name == "graph"


def test_a_graph_with_dropout_and_batch_norm_equals_eager() -> None:
    trainers = []
    for _ in range(2):
        a = conv_trainer(True, logistic, dtype=torch.float32, optimizer=adam(1e-3, 0.5))
        a.nets.D.insert(3, nn.Dropout(0.5))
        trainers.append(a)
    taped(trainers[0])
    assert_same_steps(*trainers, steps=8)


def test_a_resumed_graph_equals_eager() -> None:
    a, b = two_player_trainer(), two_player_trainer()
    taped(a)
    train(a, 9)
    train(b, 9)
    resumed = two_player_trainer()
    resumed.load(*snapshot(a))
    taped(resumed)
    assert_same_steps(resumed, b, 9)


@pytest.mark.parametrize(
    "optimizer",
    [lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9), rmsprop(1e-3), clipped(rmsprop(1e-3), 0.02)],
)
def test_other_optimizers_equal_eager_or_fall_back(optimizer: Any) -> None:
    settings: dict[str, Any] = {"optimizer": optimizer, "lr": None, "penalties": ()}
    a, b = two_player_trainer(**settings), two_player_trainer(**settings)
    taped(a, "auto")
    assert_same_steps(a, b, 8)


def test_a_tape_freezes_values_from_the_host() -> None:
    """A CUDA graph does so too; if tapes did not, the tests above would prove nothing."""

    def begin() -> Trainer:
        numbers = iter(range(1, 100))
        return toy({"discriminator": player("D", loss=lambda nets, batch: {"loss": nets.D.w * next(numbers)})})

    a, b = begin(), begin()
    taped(a)
    for step in range(6):
        ours, theirs = a.train_step(), b.train_step()
        same_gradient = torch.equal(a.nets.D.w.grad, b.nets.D.w.grad)
        assert same_gradient == (step <= fast.WARM_UP), step
        assert ours.keys() == theirs.keys()


class Counting(torch.optim.Optimizer):
    """An optimizer that counts its steps on the host, as many do."""

    def __init__(self, weights: Any) -> None:
        super().__init__(weights, {"lr": 0.1})
        self.steps = 0

    def step(self, closure: Any = None) -> None:
        self.steps += 1
        with torch.no_grad():
            for group in self.param_groups:
                for weight in group["params"]:
                    if weight.grad is not None:
                        weight -= weight.grad / self.steps


def loss_that_reads(nets: Nets, batch: Batch) -> Terms:
    return {"loss": nets.D.w * (1.0 if nets.D.w.item() > -1e9 else 2.0)}


class RunningMean(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros((), dtype=torch.float64))


def loss_that_replaces_a_buffer(nets: Nets, batch: Batch) -> Terms:
    nets.state.mean = 0.5 * nets.state.mean + batch["z"].mean()
    return {"loss": nets.D.w * nets.state.mean}


NETS = {"G": Weight, "H": Weight, "D": Weight, "state": RunningMean}
UNRECORDABLE = {
    "an optimizer that counts on the host": (linear_loss("D"), Counting, "Counting keeps state on the host"),
    "a loss that reads": (loss_that_reads, None, "reads a value back"),
    "a buffer that is replaced": (loss_that_replaces_a_buffer, None, "'mean' is replaced"),
}


@pytest.mark.parametrize("case", UNRECORDABLE)
def test_steps_that_cannot_be_recorded_fall_back_with_a_reason(case: str) -> None:
    loss, optimizer, reason = UNRECORDABLE[case]
    settings = {"loss": loss} | ({"optimizer": optimizer} if optimizer else {})

    def begin() -> Trainer:
        networks = lambda spec: {name: make() for name, make in NETS.items()}  # noqa: E731
        return toy({"discriminator": player("D", **settings)}, networks=networks)

    a, b = begin(), begin()
    taped(a, "auto")
    assert_same_steps(a, b, 6)
    assert a.engine.choice.name == "eager"
    assert reason in a.engine.choice.why

    def require_graph() -> None:
        c = begin()
        taped(c, "graph")
        train(c, 6)

    with pytest.raises(ConfigError, match=reason) as caught:
        require_graph()
    assert len(str(caught.value).splitlines()) <= 3
    assert "--engine eager" in str(caught.value)


def test_batches_that_change_shape_fall_back() -> None:
    a = toy({"discriminator": player("D", loss=Every(1, linear_loss("D"), None))})
    taped(a, "auto")
    train(a, 5)
    a.source = lambda n: {"real": torch.zeros(8, 2)}
    train(a, 1)
    assert "changes its shape" in a.engine.choice.why


def test_graphs_need_cuda() -> None:
    with pytest.raises(ConfigError, match="needs a CUDA device"):
        fast.Engine(fast.Choice("graph", "asked for"), CPU, [], list)
    assert fast.Engine(fast.Choice("auto", ""), CPU, [], list).choice.name == "eager"


def test_several_ranks_are_eager_unless_a_graph_is_requested() -> None:
    for requested, expected in (("auto", "eager"), ("graph", "graph")):
        engine = fast.Engine(fast.Choice(requested, "asked for"), CPU, [], list, world=2, recorder=Tapes(list))
        assert engine.choice.name == expected
