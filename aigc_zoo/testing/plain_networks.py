"""Checks of networks of the kind `network`: translators, embedders, mappings, whose inputs are their family's matter.

A module runs on a batch of samples of its spec, on the entry `source` of a spec that has one, or on the arguments that
its method `example_inputs(rows)` returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from aigc_zoo.game import Spec
from aigc_zoo.testing.assertions import differing, equal, joined, perturbed, require, require_finite, require_saveable
from aigc_zoo.testing.checks import CheckFailed, check
from aigc_zoo.testing.fixtures import (
    ROWS,
    USUAL_SHAPES,
    built_or_refusal,
    no_usual_shape,
    samples_like,
    seeded,
    spec_of,
    target_of,
)
from aigc_zoo.testing.subjects import ComponentSubject

SOURCE = "source"


def _specs(shape: tuple[int, ...]) -> Iterator[Spec]:
    """Specs of samples of this shape: alone, and with a source of the same shape, as translators need it."""
    yield spec_of(shape)
    yield replace(spec_of(shape), entries={SOURCE: spec_of(shape)})


def _built(subject: ComponentSubject) -> Iterator[tuple[Spec, nn.Module, Callable[[], nn.Module]]]:
    """Each spec that it supports, a newly built module, and the function that builds it.

    It has to support all shapes that it states, or a usual one.
    """
    target, count, refusal = target_of(subject), 0, ""
    for shape in subject.shapes or USUAL_SHAPES:
        for spec in _specs(shape):
            module, refusal = built_or_refusal(lambda spec=spec: seeded(target, spec))  # type: ignore[misc]
            if module is not None:
                require(isinstance(module, nn.Module), f"it returns a {type(module).__name__}, not a torch module")
                count += 1
                yield spec, module, lambda spec=spec: target(spec)  # type: ignore[misc]
                break
        else:
            require(not subject.shapes, f"it states the shape {shape} and refuses it: {refusal}")
    require(count, no_usual_shape(refusal))


def _inputs(spec: Spec, module: nn.Module, rows: int = ROWS) -> tuple[Any, ...]:
    """The arguments that the module is called with."""
    example: Any = getattr(module, "example_inputs", None)
    if example is not None:
        given = example(rows)
        require(isinstance(given, tuple), "its method `example_inputs` returns no tuple of arguments")
        return tuple(given)
    return (samples_like(spec.entries.get(SOURCE, spec), rows),)


def _run(module: nn.Module, inputs: tuple[Any, ...]) -> dict[str, Tensor]:
    """The tensors that it returns, by place or name."""
    try:
        output = module(*inputs)
    except Exception as error:
        if hasattr(module, "example_inputs"):
            raise
        raise CheckFailed(
            f"it does not run on samples ({' '.join(str(error).split())[:200]}): a network that reads something else "
            "has a method `example_inputs(rows)`, which returns a tuple of arguments"
        ) from error
    tensors = dict(_tensors("the output", output))
    require(tensors, f"it returns a {type(output).__name__}, not tensors")
    return tensors


def _tensors(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _tensors(f"{name} {key}", one)
    elif isinstance(value, tuple | list):
        for number, one in enumerate(value):
            yield from _tensors(f"{name} {number}", one)


@check("N-RUNS", needs="cpu", kinds=("network",))
def networks_run(subject: ComponentSubject) -> str:
    """Built for every shape that it states, or for the usual ones, it runs on samples or on what its method
    `example_inputs(rows)` returns, in training and in evaluation mode, and returns finite tensors.
    """
    notes = []
    for spec, module, _ in _built(subject):
        for mode in (True, False):
            for name, value in seeded(_run, module.train(mode), _inputs(spec, module)).items():
                if value.is_floating_point():
                    require_finite(value, name)
        notes.append("x".join(map(str, spec.shape)))
    return f"at {', '.join(notes)}"


@check("N-SEED", needs="cpu", kinds=("network",))
def networks_follow_the_seed(subject: ComponentSubject) -> None:
    """The same seed gives the same weights, and in evaluation mode the same inputs give the same output."""
    for spec, module, build in _built(subject):
        odd = differing(module.state_dict(), seeded(build).state_dict())
        require(
            not odd,
            f"{joined(odd)} differ when it is built twice with one seed: "
            "draw initial weights from torch's global generator",
        )
        changed = perturbed(module).eval()
        inputs = _inputs(spec, module)
        with torch.no_grad():
            one, two = (seeded(_run, changed, inputs, seed=seed) for seed in (1, 2))
        require(not differing(one, two), "in evaluation mode the same inputs give another output: take noise as input")


@check("N-SAVE", needs="cpu", kinds=("network",))
def networks_keep_state_in_buffers(subject: ComponentSubject) -> None:
    """Safetensors accepts its state, in which no two tensors share memory and nothing that affects the output is
    missing.
    """
    for spec, module, build in _built(subject):
        inputs = _inputs(spec, module)

        def run(one: nn.Module, inputs: tuple[Any, ...] = inputs) -> Tensor:
            return torch.cat([value.flatten().double() for value in _run(one, inputs).values()])

        require_saveable(module, lambda build=build: seeded(build, seed=1), run)  # type: ignore[misc]


@check("N-ONE", needs="cpu", kinds=("network",))
def networks_accept_a_batch_of_one(subject: ComponentSubject) -> None:
    """In evaluation mode it accepts a batch of one, and leaves its state and its inputs unchanged."""
    for spec, module, _ in _built(subject):
        inputs = _inputs(spec, module, 1)
        state = {name: value.clone() for name, value in module.eval().state_dict().items()}
        before = [value.clone() if isinstance(value, Tensor) else value for value in inputs]
        with torch.no_grad():
            seeded(_run, module, inputs)
        odd = differing(state, module.state_dict())
        require(not odd, f"in evaluation mode a forward pass changes {joined(odd)}")
        for value, old in zip(inputs, before, strict=True):
            require(not isinstance(value, Tensor) or equal(value, old), "it changes its input: work on a copy")
