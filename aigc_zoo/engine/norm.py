"""Batch normalisation over the samples of all ranks, for runs that ask for it (docs/decisions/0022)."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as group
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def synchronise(nets: nn.Module) -> None:
    """Makes every batch normalisation in `nets` use the statistics of all ranks while it trains.

    Weights, buffers and names stay, so checkpoints and samples know no difference.
    """
    for module in nets.modules():
        for plain, shared in _SHARED.items():
            if type(module) is plain:
                module.__class__ = shared


class _Sum(torch.autograd.Function):
    """The sum over ranks; so is its gradient, as every rank's result depends on every rank's value."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        group.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        group.all_reduce(total)
        return total


class _Shared(nn.modules.batchnorm._BatchNorm):
    """Torch's own needs CUDA; this one is the same on any device, and two ranks equal one to rounding."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.running_mean is None or self.running_var is None or self.momentum is None:
            return super().forward(x)
        assert self.num_batches_tracked is not None
        self._check_input_dim(x)  # type: ignore[no-untyped-call]
        self.num_batches_tracked.add_(1)
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        wide = x.float() if x.dtype == torch.bfloat16 else x
        count = x.numel() // x.shape[1] * group.get_world_size()
        mean = _Sum.apply(wide.sum(axes)) / count
        centred = wide - mean.view(shape)
        # Of what is centred: the difference of two large sums would lose the digits that the variance has.
        variance = _Sum.apply(centred.square().sum(axes)) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / max(1, count - 1)), self.momentum)
        made = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            made = made * self.weight.view(shape) + self.bias.view(shape)
        normal: Tensor = made.to(x.dtype)
        return normal


class _Shared1d(_Shared, nn.BatchNorm1d):
    pass


class _Shared2d(_Shared, nn.BatchNorm2d):
    pass


class _Shared3d(_Shared, nn.BatchNorm3d):
    pass


_SHARED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: _Shared1d,
    nn.BatchNorm2d: _Shared2d,
    nn.BatchNorm3d: _Shared3d,
}
