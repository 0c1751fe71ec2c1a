"""The channels-last memory format, in which convolutions run without converting their input and output."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def to_channels_last(tensor: Tensor) -> Tensor:
    """Convert a tensor of 4 or 5 dimensions to channels last; return any other tensor unchanged."""
    memory_format = _FORMATS.get(tensor.ndim)
    # `contiguous` would not change the strides of a tensor with one channel, which is contiguous in both formats. The
    # convolution then returns a contiguous output, and every layer after it converts.
    return tensor if memory_format is None else tensor.to(memory_format=memory_format)


def unchanged(tensor: Tensor) -> Tensor:
    """Return the tensor: the conversion of a trainer that keeps contiguous tensors."""
    return tensor


def convert_memory_format(net: nn.Module, convert: Callable[[Tensor], Tensor] = to_channels_last) -> None:
    """Apply `convert` to all parameters and buffers of a network in place."""
    for tensor in (*net.parameters(), *net.buffers()):
        tensor.data = convert(tensor.data)


def is_view_error(error: RuntimeError) -> bool:
    """Return True if `Tensor.view` raised the error because its input is channels last, which `reshape` would copy."""
    return "view size is not compatible" in str(error)
