"""Assertions and comparisons that several checks share."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from aigc_zoo.engine.networks import copied
from aigc_zoo.errors import in_a_line
from aigc_zoo.testing.checks import CheckFailed
from aigc_zoo.testing.fixtures import SEED, noise, seeded


def require(condition: Any, message: str) -> None:
    """Raises CheckFailed with the message unless the condition is true."""
    if not bool(condition):
        raise CheckFailed(message)


def require_finite(value: Tensor, name: str) -> None:
    """Raises CheckFailed unless the tensor has a floating-point type and no NaN or Inf."""
    require(value.is_floating_point(), f"{name} has dtype {value.dtype}, not a floating-point type")
    require(torch.isfinite(value).all(), f"{name} has non-finite values")


def require_saveable(module: nn.Module, rebuild: Callable[[], nn.Module], run: Callable[[nn.Module], Tensor]) -> None:
    """Raises CheckFailed unless a rebuilt module gives the same output once the state is loaded from safetensors."""
    try:
        data = save({name: value.contiguous() for name, value in module.state_dict().items()})
    except (RuntimeError, SafetensorError) as error:
        raise CheckFailed(f"safetensors refuses its state: {in_a_line(error)[:300]}") from error
    restored = rebuild()
    restored.load_state_dict(load(data))
    module.eval()
    restored.eval()
    with torch.no_grad():
        expected, output = seeded(run, module), seeded(run, restored)
        if not equal(expected, seeded(run, module)):
            return  # The module itself is not deterministic, which the checks of seeds report.
    require(
        equal(expected, output),
        "a copy that loads its state gives another output: keep all state in weights and buffers",
    )


def joined(names: Iterable[str], limit: int = 4) -> str:
    """The first names, comma-separated, and how many more there are."""
    every = list(names)
    return ", ".join(every[:limit]) + (f" and {len(every) - limit} more" if len(every) > limit else "")


# --- comparisons ------------------------------------------------------------------------------------------------------


def equal(one: Tensor, other: Tensor) -> bool:
    """True if shape, dtype and all values are equal; NaN equals NaN."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(one, other) or bool(((one == other) | (one.isnan() & other.isnan())).all())


def differing(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """The names of tensors that are not equal in both mappings, or missing in one."""
    return [
        name for name in {**one, **other} if name not in one or name not in other or not equal(one[name], other[name])
    ]


def perturbed(module: nn.Module, size: float = 0.1, seed: int = SEED) -> nn.Module:
    """A copy with noise on every weight, so that a weight initialized to zero (a gate, say) blocks no signal."""
    other = copied(module)
    with torch.no_grad():
        for number, weight in enumerate(other.parameters()):
            weight.add_(size * noise(*weight.shape, seed=seed + number).to(weight))
    return other


def weights_without_gradient(module: nn.Module, output: Tensor) -> list[str]:
    """The names of trainable weights for which the gradient of the output is zero."""
    named = [(name, one) for name, one in module.named_parameters() if one.requires_grad and one.numel()]
    if not named:
        return []
    loss = output.double().square().sum()
    gradients = torch.autograd.grad(loss, [weight for _, weight in named], allow_unused=True)
    return [
        name for (name, _), gradient in zip(named, gradients, strict=True) if gradient is None or not gradient.any()
    ]


def mixes_samples(module: Callable[[Tensor, Tensor | None], Tensor], x: Tensor, label: Tensor | None) -> bool:
    """True if the output for the first sample depends on the other samples of its batch, or on their labels."""
    other = torch.cat((x[:1], 0.1 - 0.5 * x[1:]))
    other_label = None if label is None else label[:1].expand_as(label)
    with torch.no_grad():
        one, two = seeded(module, x, label), seeded(module, other, other_label)
    return not torch.allclose(one[:1], two[:1], rtol=1e-4, atol=1e-6)


def graph_names(value: Tensor) -> set[str]:
    """The names of all operations in the autograd graph of a tensor."""
    names: set[str] = set()
    visited: set[Any] = set()
    queue = [value.grad_fn]
    while queue:
        node = queue.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        names.add(node.name())
        queue += [parent for parent, _ in node.next_functions]
    return names


@contextmanager
def offline() -> Iterator[None]:
    """Context manager in which every network connection fails with an OSError: checks download nothing."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise OSError("checks make no network connections")

    saved = socket.socket.connect, socket.create_connection, socket.getaddrinfo
    socket.socket.connect = refuse  # type: ignore[method-assign]
    socket.create_connection, socket.getaddrinfo = refuse, refuse
    try:
        yield
    finally:
        socket.socket.connect = saved[0]  # type: ignore[method-assign]
        socket.create_connection, socket.getaddrinfo = saved[1], saved[2]
