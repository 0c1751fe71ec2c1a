"""Fused optimizers."""

from __future__ import annotations

import torch
from sketch.two_player import CPU
from torch import Tensor, nn

from aigc_zoo.engine import fast


def test_optimizers_are_fused_unless_the_recipe_chose_otherwise() -> None:
    weights = [nn.Parameter(torch.ones(3))]
    default, foreach = torch.optim.Adam(weights, lr=0.1), torch.optim.Adam(weights, lr=0.1, foreach=True)
    other = torch.optim.RMSprop(weights, lr=0.1)
    for optimizer in (default, foreach, other):
        fast.tune(optimizer, CPU)
    assert default.param_groups[0]["fused"]
    assert isinstance(default.param_groups[0]["lr"], Tensor)
    assert not foreach.param_groups[0]["fused"]
    assert other.param_groups[0]["lr"] == 0.1


def test_a_fused_step_equals_an_unfused_one() -> None:
    results = []
    for tuned in (True, False):
        weight = nn.Parameter(torch.linspace(-1, 1, 5, dtype=torch.float64))
        optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.1)
        if tuned:
            fast.tune(optimizer, CPU)
        for _ in range(4):
            weight.grad = weight.detach().cos()
            optimizer.step()
        results.append(weight.detach())
    torch.testing.assert_close(*results, rtol=1e-12, atol=0)
