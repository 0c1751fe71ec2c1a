"""Checks of feature extractors. Nothing is downloaded."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from aigc_zoo.data.modalities import modality as modality_of
from aigc_zoo.data.modalities import modality_of_extractor
from aigc_zoo.engine.networks import copied
from aigc_zoo.errors import ConfigError, in_a_line
from aigc_zoo.game import Spec
from aigc_zoo.modality import Modality
from aigc_zoo.testing.assertions import differing, joined, require, require_finite
from aigc_zoo.testing.checks import CheckFailed, check
from aigc_zoo.testing.fixtures import ROWS, SEED, no_usual_shape, noise, samples_like, seeded, target_of, uniform
from aigc_zoo.testing.subjects import ComponentSubject

SHAPES = ((1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 299, 299))
STEP = 1e-6
"""Of the finite differences, in units of the samples."""
NOT_PACKAGED = "its weights are not in its package: only the request for them is checked"


class _WeightsRequested(Exception):
    """Stops the construction of an extractor where it requests its weights."""


def _build(subject: ComponentSubject, seed: int = SEED) -> tuple[nn.Module | None, dict[str, Any]]:
    """The extractor, if its package contains its weights; otherwise None and the request: url, sha256 and size."""
    target = target_of(subject)
    request: dict[str, Any] = {}

    def weights(url: str, *, sha256: str = "", size: int = 0) -> Any:
        request.update(url=url, sha256=sha256, size=size)
        raise _WeightsRequested

    if "weights" not in inspect.signature(subject.entry.load()).parameters:
        return seeded(target, seed=seed), {}
    try:
        return seeded(target, weights, seed=seed), request
    except (_WeightsRequested, ConfigError) as error:
        if not (isinstance(error, _WeightsRequested) or isinstance(error.__cause__, _WeightsRequested)):
            raise
        return None, request


class _Output(NamedTuple):
    """Samples as files hold them, the same ones as a model generates them, and the output for those of files."""

    stored: Tensor
    generated: Tensor
    output: dict[str, Tensor]


def _samples(modality: Modality, spec: Spec) -> tuple[Tensor, Tensor]:
    """Random samples of a modality as files hold them, and the same ones as a model generates them."""
    x = len(spec.symbols) * uniform(ROWS, *spec.shape) if spec.symbols else samples_like(spec)
    stored = modality.quantize(x, spec)
    return stored, modality.decode(stored, lambda *shape: uniform(ROWS, *shape), spec)


def _outputs(subject: ComponentSubject, module: nn.Module) -> Iterator[_Output]:
    """The output at each supported shape; at a usual one of the modality if the component states none."""
    modality = modality_of(subject.catalogue, modality_of_extractor(subject.catalogue, subject.entry))
    spec, _ = modality.example()
    usual = tuple(shape for shape in SHAPES if len(shape) == len(spec.shape)) or (spec.shape,)
    refusal = ""
    count = 0
    for shape in subject.shapes or usual:
        stored, generated = _samples(modality, replace(spec, shape=shape))
        try:
            with torch.no_grad():
                output = module.eval()(stored)
        except (ConfigError, ValueError) as error:
            require(not subject.shapes, f"it states the shape {shape} and refuses it: {error}")
            refusal = str(error)
            continue
        count += 1
        yield _Output(stored, generated, output)
    require(count, no_usual_shape(refusal))


@check("E-FEATURES", needs="cpu", kinds=("extractor",))
def extractors_return_features(subject: ComponentSubject) -> str | None:
    """Samples as files hold them (uint8 images) -> {"features": (N, D)}, and "logits" if it has them, finite and
    independent of the batch.
    """
    module, _ = _build(subject)
    if module is None:
        return NOT_PACKAGED
    for stored, _, output in _outputs(subject, module):
        require(isinstance(output, dict) and "features" in output, "it returns no dictionary with the key features")
        for name, value in output.items():
            require(value.ndim == 2 and len(value) == ROWS, f"{name} has shape {tuple(value.shape)}, not ({ROWS}, D)")
            require_finite(value, name)
            with torch.no_grad():
                single = module.eval()(stored[:1])[name]
            independent = torch.allclose(single, value[:1], rtol=1e-3, atol=1e-4)
            require(independent, f"{name} of a sample depend on the other samples of its batch")
    return None


@check("E-GRADIENTS", needs="cpu", kinds=("extractor",))
def extractors_pass_gradients(subject: ComponentSubject) -> str | None:
    """Float samples as models generate them (images in [-1, 1]) have the features of the files that hold them, and the
    gradient of the features is that of finite differences, in float64: losses use it.
    """
    module, _ = _build(subject)
    if module is None:
        return NOT_PACKAGED
    for number, (_, generated, wanted) in enumerate(_outputs(subject, module)):
        if not generated.is_floating_point():
            return f"models generate samples in {generated.dtype} for this modality, which have no gradient"
        with torch.no_grad():
            output = _of_floats(module, generated)
        for name, value in wanted.items():
            alike = torch.allclose(output[name], value, rtol=1e-3, atol=1e-4 * max(1.0, float(value.abs().max())))
            require(alike, f"{name} of float samples differ from those of the same samples in a file")
        if number == 0:
            _require_gradient(copied(module).double().requires_grad_(False), generated.double())
    return None


def _of_floats(module: nn.Module, x: Tensor) -> dict[str, Tensor]:
    try:
        output: dict[str, Tensor] = module(x)
    except Exception as error:
        dtype = str(x.dtype).removeprefix("torch.")
        raise CheckFailed(
            f"it fails for samples in {dtype} ({in_a_line(error)}): accept samples as models generate them, for losses"
        ) from error
    return output


def _require_gradient(module: nn.Module, x: Tensor) -> None:
    """Raises CheckFailed unless the features' gradient along a random direction is that of finite differences."""

    def loss(samples: Tensor) -> Tensor:
        return _of_floats(module, samples)["features"].square().mean()

    x = x.requires_grad_()
    value = loss(x)
    require(value.requires_grad, "features have no graph to float samples: remove no_grad, detach and rounding")
    (gradient,) = torch.autograd.grad(value, x, allow_unused=True)
    require(gradient is not None, "features have no graph to float samples: remove no_grad, detach and rounding")
    require_finite(gradient, "the gradient of its features")
    require(gradient.flatten(1).any(1).all(), "the gradient of its features is zero for a sample")
    direction = noise(*x.shape).to(x)
    with torch.no_grad():
        slope = float(loss(x + STEP * direction) - loss(x - STEP * direction)) / (2 * STEP)
    found = float((gradient * direction).sum())
    require(
        abs(found - slope) <= 1e-3 * max(abs(found), abs(slope)) + 1e-6 * abs(float(value.detach())),
        f"the gradient of its features gives a slope of {found:.4g}, and finite differences {slope:.4g}",
    )


@check("E-CLASSES", needs="cpu", kinds=("extractor",))
def extractors_name_the_classes_of_their_logits(subject: ComponentSubject) -> str | None:
    """It returns one logit for each of the classes that its component states."""
    classes = subject.entry.component.classes
    if not classes:
        return None
    module, _ = _build(subject)
    if module is None:
        return NOT_PACKAGED
    for _, _, output in _outputs(subject, module):
        found = output["logits"].shape[1] if "logits" in output else 0
        require(found == len(classes), f"it states {len(classes)} classes and returns {found} logits")
    return None


@check("E-WEIGHTS", needs="cpu", kinds=("extractor",))
def extractors_have_fixed_weights(subject: ComponentSubject) -> str | None:
    """Its weights are in its package and always the same, or are requested by an https URL, SHA-256 and size."""
    module, request = _build(subject)
    if module is None:
        require(str(request["url"]).startswith("https://"), f"it requests {request['url']}: use an https URL")
        require(re.fullmatch(r"[0-9a-f]{64}", request["sha256"]), "it states no SHA-256 of its weights")
        size = request["size"]
        require(isinstance(size, int) and size > 0, "it states no size of its weights in bytes")
        return NOT_PACKAGED
    other, _ = _build(subject, seed=1)
    assert other is not None
    odd = differing(module.state_dict(), other.state_dict())
    require(not odd, f"{joined(odd)} differ when it is built twice: metrics need fixed weights")
    return None
