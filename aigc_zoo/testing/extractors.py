"""Checks of feature extractors. Nothing is downloaded."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from aigc_zoo.errors import ConfigError
from aigc_zoo.testing.assertions import differing, joined, require, require_finite
from aigc_zoo.testing.checks import check
from aigc_zoo.testing.fixtures import ROWS, SEED, no_usual_shape, seeded, target_of, uniform
from aigc_zoo.testing.subjects import ComponentSubject

SHAPES = ((1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 299, 299))
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


def _images(shape: tuple[int, ...], rows: int = ROWS) -> Tensor:
    return (255 * uniform(rows, *shape)).to(torch.uint8)


def _outputs(subject: ComponentSubject, module: nn.Module) -> Iterator[tuple[tuple[int, ...], dict[str, Tensor]]]:
    """The output at each supported shape."""
    refusal = ""
    count = 0
    for shape in subject.shapes or SHAPES:
        try:
            with torch.no_grad():
                output = module.eval()(_images(shape))
        except (ConfigError, ValueError) as error:
            require(not subject.shapes, f"it states the shape {shape} and refuses it: {error}")
            refusal = str(error)
            continue
        count += 1
        yield shape, output
    require(count, no_usual_shape(refusal))


@check("E-FEATURES", needs="cpu", kinds=("extractor",))
def extractors_return_features(subject: ComponentSubject) -> str | None:
    """uint8 samples -> {"features": (N, D)}, and "logits" if it has them, finite and independent of the batch."""
    module, _ = _build(subject)
    if module is None:
        return NOT_PACKAGED
    for shape, output in _outputs(subject, module):
        require(isinstance(output, dict) and "features" in output, "it returns no dictionary with the key features")
        for name, value in output.items():
            require(value.ndim == 2 and len(value) == ROWS, f"{name} has shape {tuple(value.shape)}, not ({ROWS}, D)")
            require_finite(value, name)
            with torch.no_grad():
                single = module.eval()(_images(shape)[:1])[name]
            independent = torch.allclose(single, value[:1], rtol=1e-3, atol=1e-4)
            require(independent, f"{name} of a sample depend on the other samples of its batch")
    return None


@check("E-CLASSES", needs="cpu", kinds=("extractor",))
def extractors_name_the_classes_of_their_logits(subject: ComponentSubject) -> str | None:
    """It returns one logit for each of the classes that its component states."""
    classes = subject.entry.component.classes
    if not classes:
        return None
    module, _ = _build(subject)
    if module is None:
        return NOT_PACKAGED
    for _, output in _outputs(subject, module):
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
