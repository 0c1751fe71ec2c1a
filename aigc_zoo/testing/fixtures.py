"""Inputs for checks: components that are built for small shapes, samples, noise and labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from aigc_zoo import options
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Spec
from aigc_zoo.testing.checks import CheckFailed
from aigc_zoo.testing.subjects import ComponentSubject

USUAL_SHAPES = ((2,), (1, 28, 28), (3, 32, 32), (3, 64, 64))
"""Sample shapes for a component that states none. It may refuse some of them with a ValueError."""

LATENT = 16
CLASSES = 3
SEED = 20_260
ROWS = 4


# --- components -------------------------------------------------------------------------------------------------------


def target_of(subject: ComponentSubject) -> Any:
    """The component's target with its options bound, as a slot receives it."""
    return options.bind(subject.catalogue, subject.kind, subject.reference)[1]


def seeded(function: Callable[..., Any], *arguments: Any, seed: int = SEED) -> Any:
    """Calls the function with torch's global generator at this seed, and restores the generator afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return function(*arguments)


def spec_of(shape: Sequence[int], bounds: tuple[float, float] | None = (-1.0, 1.0), classes: int = 0) -> Spec:
    """The spec of samples of this shape: images for three axes, points for (2,), arrays for any other shape."""
    modality = "image" if len(shape) == 3 else "points" if tuple(shape) == (2,) else "array"
    return Spec(shape=tuple(shape), range=bounds, classes=classes, modality=modality)


def built_or_refusal(build: Callable[[], Any]) -> tuple[Any, str]:
    """(result, "") or, if a ValueError refuses the input, (None, its message)."""
    try:
        return build(), ""
    except (ValueError, ConfigError) as error:
        cause = error.__cause__ if isinstance(error, ConfigError) else error
        if not isinstance(cause, ValueError):
            raise
        return None, " ".join(str(error).split())


def supported(subject: ComponentSubject, build: Callable[[Spec], Any], classes: int = 0) -> Iterator[tuple[Spec, Any]]:
    """Yields each spec that the component supports and what it builds for it, lazily and smallest shape first.

    A component has to support all shapes that it states; one that states none has to support a usual one.
    """
    refusal = ""
    count = 0
    for shape in subject.shapes or USUAL_SHAPES:
        spec = spec_of(shape, classes=classes)
        result, message = _build_for(spec, build)
        if result is not None:
            count += 1
            yield spec, result
        elif subject.shapes and not classes:
            raise CheckFailed(f"it states the shape {shape} and refuses it: {message}")
        else:
            refusal = message
    if not count and not classes:
        raise CheckFailed(no_usual_shape(refusal))


def no_usual_shape(refusal: str) -> str:
    """The message for a component that supports no usual shape and states none."""
    return f"it refuses every usual shape ({refusal}): state the shapes that it supports as shapes=(...)"


def _build_for(spec: Spec, build: Callable[[Spec], Any]) -> tuple[Any, str]:
    try:
        return built_or_refusal(lambda: seeded(build, spec))
    except CheckFailed:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise CheckFailed(
            f"it fails for samples of shape {spec.shape} ({reason}): raise ValueError for unsupported specs"
        ) from error


def first_supported(
    subject: ComponentSubject, build: Callable[[Spec], Any], classes: int = 0
) -> tuple[Spec, Any] | None:
    """The first supported spec and what is built for it; None for a component that refuses all specs with labels."""
    return next(supported(subject, build, classes), None)


def network_builder(subject: ComponentSubject) -> Callable[[Spec], nn.Module]:
    """The function that builds the generator or discriminator for a spec. It raises CheckFailed for a non-module."""
    target = target_of(subject)

    def build(spec: Spec) -> nn.Module:
        network = target(spec, LATENT) if subject.kind == "generator" else target(spec)
        if not isinstance(network, nn.Module):
            raise CheckFailed(f"it returns a {type(network).__name__}, not a torch module")
        return network

    return build


# --- tensors ----------------------------------------------------------------------------------------------------------


def noise(*shape: int, seed: int = SEED) -> Tensor:
    """Standard normal numbers from a seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def uniform(*shape: int, seed: int = SEED) -> Tensor:
    """Uniform numbers in [0, 1) from a seed."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def samples_like(spec: Spec, rows: int = ROWS, seed: int = SEED) -> Tensor:
    """Uniform samples (rows, *spec.shape) in the range of the data."""
    low, high = spec.range or (-1.0, 1.0)
    return low + (high - low) * uniform(rows, *spec.shape, seed=seed)


def one_hot(spec: Spec, label: int, rows: int = ROWS) -> Tensor | None:
    """One-hot labels (rows, classes) of one class, or None without classes."""
    if not spec.classes:
        return None
    return torch.nn.functional.one_hot(torch.full((rows,), label), spec.classes).float()


def network_input(kind: str, spec: Spec, rows: int = ROWS, seed: int = SEED) -> Tensor:
    """The first argument of a network: z for a generator, samples for a discriminator."""
    return noise(rows, LATENT, seed=seed) if kind == "generator" else samples_like(spec, rows, seed)
