"""Batch normalization with the statistics of all ranks, the option --sync-batch-norm (docs/decisions/0022)."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def convert_sync_batch_norm(nets: nn.Module) -> None:
    """Make every batch normalization in `nets` use the statistics of all ranks in training mode, in place.

    Parameters, buffers and their names stay the same, so checkpoints and samples do not depend on the option.
    """
    for module in nets.modules():
        for plain, synchronized in _SYNCHRONIZED.items():
            if type(module) is plain:
                module.__class__ = synchronized


class _AllReduceSum(torch.autograd.Function):
    """The sum over ranks. Its gradient is a sum over ranks too, as each rank's result depends on all values."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class _SyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalization over all ranks, (N, C, ...) -> the same.

    `torch.nn.SyncBatchNorm` needs CUDA; this class works on any device, and two ranks equal one to rounding.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.running_mean is None or self.running_var is None or self.momentum is None:
            return super().forward(x)
        assert self.num_batches_tracked is not None
        self._check_input_dim(x)  # type: ignore[no-untyped-call]
        self.num_batches_tracked.add_(1)
        dims = [dim for dim in range(x.ndim) if dim != 1]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        wide = x.float() if x.dtype == torch.bfloat16 else x
        count = x.numel() // x.shape[1] * dist.get_world_size()
        mean = _AllReduceSum.apply(wide.sum(dims)) / count
        centered = wide - mean.view(shape)
        # The variance is computed from centered values: the difference of two large sums would lose its digits.
        variance = _AllReduceSum.apply(centered.square().sum(dims)) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / max(1, count - 1)), self.momentum)
        normalized = centered * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normalized = normalized * self.weight.view(shape) + self.bias.view(shape)
        output: Tensor = normalized.to(x.dtype)
        return output


class _SyncBatchNorm1d(_SyncBatchNorm, nn.BatchNorm1d):
    pass


class _SyncBatchNorm2d(_SyncBatchNorm, nn.BatchNorm2d):
    pass


class _SyncBatchNorm3d(_SyncBatchNorm, nn.BatchNorm3d):
    pass


_SYNCHRONIZED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: _SyncBatchNorm1d,
    nn.BatchNorm2d: _SyncBatchNorm2d,
    nn.BatchNorm3d: _SyncBatchNorm3d,
}
