"""Bytes of fake tensors: counted while they are alive, without memory and without values."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from aigc_zoo.engine.live_bytes import fake_copy, without_values

MIB = 1 << 20


def test_bytes_are_counted_while_a_tensor_or_a_view_of_it_is_alive() -> None:
    with without_values() as live:
        first = torch.empty(MIB, dtype=torch.uint8)
        view = first.view(2, -1)[1]
        assert live.live == MIB
        second = first + 1
        assert live.live == live.peak == 2 * MIB
        del first
        assert live.live == 2 * MIB
        del view
        assert live.live == MIB
        live.reset()
        assert live.peak == MIB
        del second
        assert live.live == 0


@pytest.mark.parametrize("rows", [2, 1 << 40])
def test_the_graph_of_a_loss_is_counted_until_its_gradients_are_computed(rows: int) -> None:
    with without_values() as live:
        weight = nn.Parameter(torch.empty(8, 8))
        x = torch.empty(rows, 8)
        before = live.live
        loss = (x @ weight).tanh().square().sum()
        saved = live.live - before
        assert saved == 4 * rows * 8 + 4, "tanh and square save one tensor, and the product is freed"
        (gradient,) = torch.autograd.grad(loss, [weight])
        del loss
        assert live.live - before == gradient.nbytes


def wait_for_two(value: Tensor) -> None:
    while value.item() < 2:
        pass


def test_values_that_are_read_are_one_and_a_loop_that_waits_for_another_ends() -> None:
    with without_values():
        x = torch.empty(3)
        assert float(x.sum()) == 1
        assert bool(torch.isfinite(x).all())
        with pytest.raises(RuntimeError, match="a loop waits for a value"):
            wait_for_two(x.sum())


def test_a_fake_copy_shares_what_the_network_shares_and_takes_no_memory() -> None:
    with torch.device("meta"):
        net = nn.Sequential(nn.Linear(1 << 18, 1 << 18), nn.BatchNorm1d(4), nn.Linear(1 << 18, 1 << 18))
    net[2].weight = net[0].weight
    with without_values() as live:
        copy = fake_copy(net)
        assert copy[2].weight is copy[0].weight
        assert isinstance(copy[0].weight, nn.Parameter)
        assert copy[1].running_mean.device.type == "cpu"
        assert live.live >= 4 << 36, "the weight alone has 256 GiB"
        assert not copy(torch.empty(2, 4, 1 << 18)).is_meta
    assert net[0].weight.is_meta
