"""What components are tried with: shapes, seeds, small games, and questions that several checks ask."""

from __future__ import annotations

import copy
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from aigc_zoo import options
from aigc_zoo.errors import ConfigError, in_a_line
from aigc_zoo.game import Spec
from aigc_zoo.testing.checks import CheckFailed
from aigc_zoo.testing.subjects import Part

USUAL = ((2,), (1, 28, 28), (3, 32, 32), (3, 64, 64))
"""Shapes that are tried on a component that states none: what it refuses in a sentence, it need not serve."""

LATENT = 16
CLASSES = 3
SEED = 20_260
ROWS = 4


# --- components, built ------------------------------------------------------------------------------------------------


def target_of(part: Part) -> Any:
    """The target with its options bound, as a slot receives it."""
    return options.bind(part.catalogue, part.entry.kind, part.reference)[1]


def seeded(function: Callable[..., Any], *arguments: Any, seed: int = SEED) -> Any:
    """The function's result with torch's global generator at this seed, which is put back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return function(*arguments)


def spec_of(shape: Sequence[int], bounds: tuple[float, float] | None = (-1.0, 1.0), classes: int = 0) -> Spec:
    """A sample of this shape: an image with three axes, points or an array with any other number."""
    modality = "image" if len(shape) == 3 else "points" if tuple(shape) == (2,) else "array"
    return Spec(shape=tuple(shape), range=bounds, classes=classes, modality=modality)


def refusal(build: Callable[[], Any]) -> tuple[Any, str]:
    """(what was built, "") or (None, the sentence of the ValueError that refuses it)."""
    try:
        return build(), ""
    except (ValueError, ConfigError) as error:
        cause = error.__cause__ if isinstance(error, ConfigError) else error
        if not isinstance(cause, ValueError):
            raise
        return None, " ".join(str(error).split())


def served(part: Part, build: Callable[[Spec], Any], classes: int = 0) -> Iterator[tuple[Spec, Any]]:
    """The specs that a component serves, each with what it builds for it, lazily and the smallest first.

    Those whose shape the component states must all be served; of the usual ones at least one.
    """
    stated = part.entry.component.shapes
    refused = ""
    count = 0
    for shape in stated or USUAL:
        spec = spec_of(shape, classes=classes)
        made, sentence = _tried(build, spec)
        if made is not None:
            count += 1
            yield spec, made
        elif stated and not classes:
            raise CheckFailed(f"it states the shape {shape} and refuses it: {sentence}")
        else:
            refused = sentence
    if not count and not classes:
        raise CheckFailed(f"it refuses every usual shape ({refused}): state those that it serves as shapes=(...)")


def _tried(build: Callable[[Spec], Any], spec: Spec) -> tuple[Any, str]:
    try:
        return refusal(lambda: seeded(build, spec))
    except CheckFailed:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise CheckFailed(
            f"for {spec.shape} it fails ({reason}): what it cannot serve, it refuses by a ValueError"
        ) from error


def first(part: Part, build: Callable[[Spec], Any], classes: int = 0) -> tuple[Spec, Any] | None:
    """The first spec that it serves, and what it builds for it; None for one that takes no labels."""
    return next(iter(served(part, build, classes)), None)


def network_builder(part: Part) -> Callable[[Spec], nn.Module]:
    """What builds the component's network for a spec; what it returns is a module, or the check fails."""
    target = target_of(part)

    def build(spec: Spec) -> nn.Module:
        made = target(spec, LATENT) if part.entry.kind == "generator" else target(spec)
        if not isinstance(made, nn.Module):
            raise CheckFailed(f"it returns a {type(made).__name__}, not a torch module")
        return made

    return build


# --- numbers ----------------------------------------------------------------------------------------------------------


def noise(*shape: int, seed: int = SEED) -> Tensor:
    """Normal numbers of a seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def uniform(*shape: int, seed: int = SEED) -> Tensor:
    """Numbers in [0, 1) of a seed."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def samples_like(spec: Spec, rows: int = ROWS, seed: int = SEED) -> Tensor:
    """Numbers uniform over the range of the data, (rows, *shape)."""
    low, high = spec.range or (-1.0, 1.0)
    return low + (high - low) * uniform(rows, *spec.shape, seed=seed)


def one_hot(spec: Spec, label: int, rows: int = ROWS) -> Tensor | None:
    """The same class in every row, or None where there are no classes."""
    if not spec.classes:
        return None
    return torch.nn.functional.one_hot(torch.full((rows,), label), spec.classes).float()


def entry_of(kind: str, spec: Spec, rows: int = ROWS, seed: int = SEED) -> Tensor:
    """What a network of this kind reads: z, or samples."""
    return noise(rows, LATENT, seed=seed) if kind == "generator" else samples_like(spec, rows, seed)


# --- questions --------------------------------------------------------------------------------------------------------


def need(condition: Any, sentence: str) -> None:
    """Fails with the sentence unless the condition holds."""
    if not bool(condition):
        raise CheckFailed(sentence)


def need_finite(value: Tensor, what: str) -> None:
    """Fails unless these are floating point numbers, all finite."""
    need(value.is_floating_point(), f"{what} is {value.dtype}, not of a floating point type")
    need(torch.isfinite(value).all(), f"{what} has values that are not finite")


def shaken(module: nn.Module, size: float = 0.1, seed: int = SEED) -> nn.Module:
    """A copy with noise on every weight: what starts at zero, such as a gate, no longer hides what is behind it."""
    other = copy.deepcopy(module)
    with torch.no_grad():
        for number, weight in enumerate(other.parameters()):
            weight.add_(size * noise(*weight.shape, seed=seed + number).to(weight))
    return other


def differing(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """Names of tensors that are not bit-equal in both, or missing in one."""
    return [
        name for name in {**one, **other} if name not in one or name not in other or not same(one[name], other[name])
    ]


def same(one: Tensor, other: Tensor) -> bool:
    """Whether they are equal bit by bit, NaN included."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(one, other) or bool(((one == other) | (one.isnan() & other.isnan())).all())


def need_saveable(module: nn.Module, again: Callable[[], nn.Module], run: Callable[[nn.Module], Tensor]) -> None:
    """Its state goes through safetensors, and is all that there is: another copy with this state does the same."""
    try:
        data = save({name: value.contiguous() for name, value in module.state_dict().items()})
    except (RuntimeError, SafetensorError) as error:
        raise CheckFailed(f"safetensors refuses its state: {in_a_line(error)[:300]}") from error
    other = again()
    other.load_state_dict(load(data))
    module.eval()
    other.eval()
    with torch.no_grad():
        one, two = seeded(run, module), seeded(run, other)
        if not same(one, seeded(run, module)):
            return  # it does not even give the same twice, which the checks of seeds say
    need(
        same(one, two),
        "with its state loaded another copy does not give the same: keep all state in weights and buffers",
    )


def untouched_weights(module: nn.Module, output: Tensor) -> list[str]:
    """Names of weights that the output does not depend on."""
    named = [(name, weight) for name, weight in module.named_parameters() if weight.requires_grad]
    if not named:
        return []
    found = torch.autograd.grad(output.double().square().sum(), [weight for _, weight in named], allow_unused=True)
    return [name for (name, _), gradient in zip(named, found, strict=True) if gradient is None or not gradient.any()]


def mixes_samples(module: Callable[[Tensor], Tensor], x: Tensor) -> bool:
    """Whether the first sample's output changes with the others of its batch."""
    other = torch.cat((x[:1], 0.1 - 0.5 * x[1:]))
    with torch.no_grad():
        one, two = seeded(module, x), seeded(module, other)
    return not torch.allclose(one[:1], two[:1], rtol=1e-4, atol=1e-6)


def graph_names(value: Tensor) -> set[str]:
    """Names of all operations that a value's graph holds."""
    names: set[str] = set()
    seen: set[Any] = set()
    queue = [value.grad_fn]
    while queue:
        node = queue.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        names.add(node.name())
        queue += [above for above, _ in node.next_functions]
    return names


@contextmanager
def offline() -> Iterator[None]:
    """No connection to another machine is made inside the block: a check downloads nothing."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise OSError("a check makes no connections")

    old = socket.socket.connect, socket.create_connection, socket.getaddrinfo
    socket.socket.connect = refuse  # type: ignore[method-assign]
    socket.create_connection, socket.getaddrinfo = refuse, refuse
    try:
        yield
    finally:
        socket.socket.connect = old[0]  # type: ignore[method-assign]
        socket.create_connection, socket.getaddrinfo = old[1], old[2]


def joined(names: Iterable[str], most: int = 4) -> str:
    """The first names, and how many more."""
    every = list(names)
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")
