"""Checks of generators and discriminators: what they make of every size, and what they promise the trainer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from aigc_zoo import options
from aigc_zoo.game import Spec
from aigc_zoo.spec import KINDS
from aigc_zoo.testing.checks import CheckFailed, check
from aigc_zoo.testing.probes import (
    CLASSES,
    LATENT,
    ROWS,
    differing,
    entry_of,
    first,
    joined,
    need,
    need_finite,
    need_saveable,
    network_builder,
    noise,
    one_hot,
    refusal,
    same,
    samples_like,
    seeded,
    served,
    shaken,
    untouched_weights,
)
from aigc_zoo.testing.subjects import Part

NETWORKS = ("generator", "discriminator")
RANGES = ((-1.0, 1.0), (0.0, 1.0), (-2.0, 6.0))


@check("C-OPTIONS", needs="cpu", kinds=KINDS)
def options_are_valid(part: Part) -> None:
    """Its signature is what its kind is called with, its options have types that can be set, its presets fit them."""
    for preset in ("", *part.entry.component.presets):
        reference = f"{part.entry.id}.{preset}" if preset else part.entry.id
        if part.entry.kind == "recipe":
            options.build(part.catalogue, options.resolve(part.catalogue, reference))
        else:
            options.bind(part.catalogue, part.entry.kind, reference)


def _each(part: Part) -> Iterator[tuple[Spec, nn.Module]]:
    """The network at the first shape that it serves, without labels and with them where it takes any.

    A network that only makes sense with labels is met with them alone.
    """
    build = network_builder(part)
    found = 0
    for classes in (0, CLASSES):
        try:
            one = first(part, build, classes)
        except CheckFailed:
            if classes or first(part, build, CLASSES) is None:
                raise
            continue
        if one is not None:
            found += 1
            yield one
    assert found, "first() raises where nothing is served"


def _run(module: nn.Module, x: Tensor, label: Tensor | None) -> Tensor:
    out = module(x, label)
    if not isinstance(out, Tensor):
        raise CheckFailed(f"it returns a {type(out).__name__}, not a tensor")
    return out


@check("G-SHAPE", needs="cpu", kinds=("generator",))
def makes_samples(part: Part) -> str:
    """(z, label) -> finite samples (N, *shape), of the type of z, at every shape that it states or that is usual."""
    seen = []
    for spec, net in _labelled_or_not(part):
        out = _run(net, noise(ROWS, LATENT), one_hot(spec, 1))
        need(
            out.shape == (ROWS, *spec.shape),
            f"for samples {spec.shape} it gives {tuple(out.shape)}, not {(ROWS, *spec.shape)}",
        )
        need_finite(out, f"a sample of shape {spec.shape}")
        need(out.dtype == torch.float32, f"of z in float32 it makes {out.dtype}")
        seen.append("x".join(map(str, spec.shape)))
    return f"at {', '.join(seen)}"


def _labelled_or_not(part: Part) -> Iterator[tuple[Spec, nn.Module]]:
    """Every shape that it serves; with labels only where it serves none without."""
    build = network_builder(part)
    try:
        yield from served(part, build)
    except CheckFailed:
        every = list(served(part, build, CLASSES))
        if not every:
            raise
        yield from every


@check("G-RANGE", needs="cpu", kinds=("generator",))
def stays_in_range(part: Part) -> None:
    """Samples stay in `spec.range`, whichever it is and however large weights and z are."""
    for spec, _ in _each(part):
        for bounds in RANGES:
            ranged = replace(spec, range=bounds)
            net, sentence = refusal(lambda ranged=ranged: seeded(network_builder(part), ranged))  # type: ignore[misc]
            need(net is not None, f"it refuses the range {bounds}: {sentence}")
            low, high = bounds
            slack = 1e-5 * (high - low)
            for scale, module in ((1.0, net), (30.0, shaken(net, 1.0))):
                with torch.no_grad():
                    out = _run(module, scale * noise(ROWS, LATENT), one_hot(spec, 1))
                need(
                    out.min() >= low - slack and out.max() <= high + slack,
                    f"with spec.range {bounds} samples reach from {out.min():.3g} to {out.max():.3g}: rescale them",
                )


@check("G-SEED", needs="cpu", kinds=("generator",))
def follows_the_seed(part: Part) -> None:
    """Same seed, same weights; same seed and z, same samples; another z, other samples."""
    build = network_builder(part)
    for spec, net in _each(part):
        need_equal_weights(net, seeded(build, spec))
        net = shaken(net).eval()
        label = one_hot(spec, 1)
        run = partial(_run, net, label=label)
        with torch.no_grad():
            one, two = (seeded(run, noise(ROWS, LATENT)) for _ in range(2))
            other = seeded(run, noise(ROWS, LATENT, seed=1))
        need(same(one, two), "with the same seed and z it makes other samples: no noise but torch's, from the seed")
        need(not torch.allclose(one, other), "samples are the same whatever z is")


def need_equal_weights(one: nn.Module, other: nn.Module) -> None:
    """Two builds from one seed have equal weights and buffers."""
    odd = differing(one.state_dict(), other.state_dict())
    need(
        not odd, f"built twice from one seed, {joined(odd)} differ: draw initial weights from torch's global generator"
    )


@check("D-SEED", needs="cpu", kinds=("discriminator",))
def is_built_by_the_seed(part: Part) -> None:
    """Same seed, same weights; in evaluation, same samples, same logits."""
    build = network_builder(part)
    for spec, net in _each(part):
        need_equal_weights(net, seeded(build, spec))
        run = partial(_run, shaken(net).eval(), label=one_hot(spec, 1))
        with torch.no_grad():
            one, two = (seeded(run, samples_like(spec)) for _ in range(2))
        need(same(one, two), "with the same seed and samples it gives other logits")


@check("D-SHAPE", needs="cpu", kinds=("discriminator",))
def gives_logits(part: Part) -> str:
    """(x, label) -> finite logits (N, ...) in floating point, at every shape that it states or that is usual."""
    seen = []
    for spec, net in _labelled_or_not(part):
        out = _run(net, samples_like(spec), one_hot(spec, 1))
        need(out.ndim >= 1 and len(out) == ROWS, f"logits have shape {tuple(out.shape)}, not ({ROWS}, ...)")
        need_finite(out, f"the logits of samples {spec.shape}")
        seen.append("x".join(map(str, spec.shape)))
    return f"at {', '.join(seen)}"


@check("D-LOGITS", needs="cpu", kinds=("discriminator",))
def ends_without_a_sigmoid(part: Part) -> None:
    """Logits are not squeezed into [0, 1]: losses apply their own sigmoid."""
    for spec, net in _each(part):
        for seed in range(8):
            module = shaken(net, 0.3, seed)
            with torch.no_grad():
                out = seeded(_run, module, samples_like(spec, seed=seed), one_hot(spec, 1))
            if out.min() < 0 or out.max() > 1:
                break
        else:
            raise CheckFailed("whatever its weights are, logits stay within [0, 1]: leave out the final sigmoid")


@check("D-TWICE", needs="cpu", kinds=("discriminator",))
def is_differentiable_twice(part: Part) -> None:
    """The gradient by its input has a gradient by its weights, as gradient penalties want it."""
    for spec, net in _each(part):
        x = samples_like(spec).requires_grad_()
        out = seeded(_run, shaken(net), x, one_hot(spec, 1))
        (gradient,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        need(gradient.requires_grad, "the gradient by its input has no graph: an operation has no second derivative")
        weights = [weight for weight in net.parameters() if weight.requires_grad]
        assert weights, "a discriminator without weights is C-GRADIENT's to find"


@check("C-GRADIENT", needs="cpu", kinds=NETWORKS)
def every_weight_counts(part: Part) -> None:
    """Every weight of it gets a gradient from its output."""
    for spec, net in _each(part):
        module = shaken(net)
        idle: set[str] | None = None
        for seed in (1, 2):  # a rectifier may be dead for one batch
            label = one_hot(spec, 0)
            if label is not None:
                label = torch.eye(spec.classes)[torch.arange(4 * ROWS) % spec.classes]
            out = seeded(_run, module, entry_of(part.entry.kind, spec, 4 * ROWS, seed), label)
            found = set(untouched_weights(module, out))
            idle = found if idle is None else idle & found
        need(not idle, f"no gradient reaches {joined(sorted(idle or ()))}: remove these weights or use them")


@check("C-ONE", needs="cpu", kinds=NETWORKS)
def takes_a_batch_of_one(part: Part) -> None:
    """In evaluation a batch of one works, and gives what the same row gives in a larger batch."""
    for spec, net in _each(part):
        module = shaken(net, 0.02).eval()
        x = entry_of(part.entry.kind, spec)
        label = one_hot(spec, 1)
        with torch.no_grad():
            whole = seeded(_run, module, x, label)
            alone = seeded(_run, module, x[:1], None if label is None else label[:1])
        need(alone.shape == (1, *whole.shape[1:]), f"of one row it makes {tuple(alone.shape)}")
        if part.entry.kind == "generator" and _draws(module, x, label):
            continue  # noise of its own: rows of unlike batches get unlike noise
        if part.entry.kind == "discriminator" and not _keeps_apart(module, x, label):
            continue  # a layer that looks at the whole batch by design, such as a minibatch deviation
        need(torch.allclose(alone, whole[:1], rtol=1e-3, atol=1e-4), "in evaluation a row depends on its batch's size")


def _draws(module: nn.Module, x: Tensor, label: Tensor | None) -> bool:
    with torch.no_grad():
        return not same(seeded(_run, module, x, label, seed=1), seeded(_run, module, x, label, seed=2))


def _keeps_apart(module: nn.Module, x: Tensor, label: Tensor | None) -> bool:
    with torch.no_grad():
        one = seeded(_run, module, x, label)
        two = seeded(_run, module, torch.cat((x[:1], -0.5 * x[1:])), label)
    return torch.allclose(one[:1], two[:1], rtol=1e-3, atol=1e-4)


@check("C-SAVE", needs="cpu", kinds=NETWORKS)
def goes_through_safetensors(part: Part) -> None:
    """Its state goes through safetensors, no two tensors share memory, and nothing that matters is left out of it."""
    build = network_builder(part)
    for spec, net in _each(part):
        x, label = entry_of(part.entry.kind, spec), one_hot(spec, 1)
        need_saveable(net, partial(seeded, build, spec, seed=1), partial(_run, x=x, label=label))


@check("C-LABEL", needs="cpu", kinds=NETWORKS)
def labels_make_a_difference(part: Part) -> str | None:
    """A network that takes labels uses them: another class, another output."""
    one = first(part, network_builder(part), CLASSES)
    if one is None:
        return "it takes no labels and says so"
    spec, net = one
    module = shaken(net, 0.3).eval()
    x = entry_of(part.entry.kind, spec)
    with torch.no_grad():
        outs = [seeded(_run, module, x, one_hot(spec, label)) for label in range(CLASSES)]
    need(
        not torch.allclose(outs[0], outs[1]) and not torch.allclose(outs[1], outs[2]),
        "labels make no difference: use them, or refuse a spec with classes (raise ValueError)",
    )
    return None
