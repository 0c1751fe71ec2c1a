"""Checks of augmentations."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from aigc_zoo.game import Noisy, Spec
from aigc_zoo.testing.assertions import equal, require, require_finite, require_saveable
from aigc_zoo.testing.checks import check
from aigc_zoo.testing.fixtures import built_or_refusal, no_usual_shape, samples_like, seeded, spec_of, target_of
from aigc_zoo.testing.subjects import ComponentSubject

SHAPES = ((1, 16, 16), (3, 16, 16), (3, 32, 32), (2,))


def _augmentations(subject: ComponentSubject) -> Iterator[tuple[Spec, nn.Module]]:
    """Each spec that it supports, and a newly built module."""
    target = target_of(subject)
    count = 0
    refusal = ""
    for shape in subject.shapes or SHAPES:
        spec = spec_of(shape)
        module = seeded(target)
        require(isinstance(module, nn.Module), f"it returns a {type(module).__name__}, not a torch module")
        output, message = built_or_refusal(partial(seeded, _augmented, module, samples_like(spec)))
        if output is None:
            require(not subject.shapes, f"it states the shape {shape} and refuses it: {message}")
            refusal = message
            continue
        count += 1
        yield spec, seeded(target)
    require(count, no_usual_shape(refusal))


def _augmented(module: nn.Module, x: Tensor) -> Tensor:
    """The augmented samples, with noise from `draw` for a `Noisy` module."""
    output: Tensor = module(x, module.draw(torch.zeros_like(x))) if isinstance(module, Noisy) else module(x)
    return output


@check("A-PURE", needs="cpu", kinds=("augmentation",))
def augmentations_draw_no_noise(subject: ComponentSubject) -> None:
    """Equal samples and equal noise give equal outputs: random numbers come from `draw` of a game.Noisy."""
    for spec, module in _augmentations(subject):
        x = samples_like(spec)
        drawn = (seeded(module.draw, x),) if isinstance(module, Noisy) else ()
        one, two = (seeded(module, x, *drawn, seed=seed) for seed in (1, 2))
        require(equal(one, two), "it draws noise in `forward`: make it a game.Noisy, which draws it in `draw`")


@check("A-SHAPE", needs="cpu", kinds=("augmentation",))
def augmentations_keep_the_shape(subject: ComponentSubject) -> None:
    """Augmented samples keep their shape and dtype, and are finite."""
    for spec, module in _augmentations(subject):
        x = samples_like(spec)
        output = seeded(_augmented, module, x)
        require(
            output.shape == x.shape and output.dtype == x.dtype,
            f"samples {tuple(x.shape)} become {tuple(output.shape)}, {output.dtype}",
        )
        require_finite(output, "an augmented sample")


@check("A-GRADIENT", needs="cpu", kinds=("augmentation",))
def augmentations_are_differentiable(subject: ComponentSubject) -> None:
    """Gradients reach the samples; without them the generator could not learn."""
    for spec, module in _augmentations(subject):
        x = samples_like(spec, 16).requires_grad_()
        output = seeded(_augmented, module, x)
        require(output.requires_grad, "its output has no graph to the samples: use differentiable operations")
        (gradient,) = torch.autograd.grad(output.square().sum(), x)
        require(gradient.any() and torch.isfinite(gradient).all(), "no gradient reaches the samples")


@check("A-SEED", needs="cpu", kinds=("augmentation",))
def augmentations_follow_the_seed(subject: ComponentSubject) -> None:
    """The same seed and state give the same output, and safetensors accepts the state."""
    target = target_of(subject)
    for spec, module in _augmentations(subject):
        x = samples_like(spec)
        again = seeded(_augmented, seeded(target), x)
        require(equal(seeded(_augmented, module, x), again), "the same seed and state give another output")
        require_saveable(seeded(target), partial(seeded, target, seed=1), lambda one, x=x: _augmented(one, x))  # type: ignore[misc]
