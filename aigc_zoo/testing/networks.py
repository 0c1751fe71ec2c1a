"""Checks of options of all components, and of generators and discriminators at every supported shape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from aigc_zoo import options
from aigc_zoo.game import Spec
from aigc_zoo.spec import KINDS
from aigc_zoo.testing.assertions import (
    differing,
    equal,
    joined,
    mixes_samples,
    perturbed,
    require,
    require_finite,
    require_saveable,
    weights_without_gradient,
)
from aigc_zoo.testing.checks import CheckFailed, check
from aigc_zoo.testing.fixtures import (
    CLASSES,
    LATENT,
    ROWS,
    built_or_refusal,
    first_supported,
    network_builder,
    network_input,
    noise,
    one_hot,
    samples_like,
    seeded,
    supported,
)
from aigc_zoo.testing.subjects import ComponentSubject

NETWORKS = ("generator", "discriminator")
RANGES = ((-1.0, 1.0), (0.0, 1.0), (-2.0, 6.0))


@check("C-OPTIONS", needs="cpu", kinds=KINDS)
def options_are_valid(subject: ComponentSubject) -> None:
    """Its signature fits its kind, its options have supported types, and its presets set existing options."""
    for preset in ("", *subject.entry.component.presets):
        reference = f"{subject.entry.id}.{preset}" if preset else subject.entry.id
        if subject.kind == "recipe":
            options.build(subject.catalogue, options.resolve(subject.catalogue, reference))
        else:
            options.bind(subject.catalogue, subject.kind, reference)


def _networks(subject: ComponentSubject) -> Iterator[tuple[Spec, nn.Module]]:
    """The network at its first supported shape, without labels and, if it takes labels, with them.

    A network that requires labels is yielded only with them.
    """
    build = network_builder(subject)
    count = 0
    for classes in (0, CLASSES):
        try:
            first = first_supported(subject, build, classes)
        except CheckFailed:
            if classes or first_supported(subject, build, CLASSES) is None:
                raise
            continue
        if first is not None:
            count += 1
            yield first
    assert count, "first_supported raises if nothing is supported"


def _networks_of_all_shapes(subject: ComponentSubject) -> Iterator[tuple[Spec, nn.Module]]:
    """The network at every supported shape, with labels only if it requires them."""
    build = network_builder(subject)
    try:
        yield from supported(subject, build)
    except CheckFailed:
        with_labels = list(supported(subject, build, CLASSES))
        if not with_labels:
            raise
        yield from with_labels


def _run(module: nn.Module, x: Tensor, label: Tensor | None) -> Tensor:
    output = module(x, label)
    if not isinstance(output, Tensor):
        raise CheckFailed(f"it returns a {type(output).__name__}, not a tensor")
    return output


def _at(shapes: list[tuple[int, ...]]) -> str:
    return f"at {', '.join('x'.join(map(str, shape)) for shape in shapes)}"


# --- generators -------------------------------------------------------------------------------------------------------


@check("G-SHAPE", needs="cpu", kinds=("generator",))
def generates_samples(subject: ComponentSubject) -> str:
    """(z, label) -> finite samples (N, *shape) in float32, at every shape that it states, or at the usual shapes."""
    shapes = []
    for spec, net in _networks_of_all_shapes(subject):
        samples = _run(net, noise(ROWS, LATENT), one_hot(spec, 1))
        require(
            samples.shape == (ROWS, *spec.shape),
            f"for spec.shape {spec.shape} samples have shape {tuple(samples.shape)}, not {(ROWS, *spec.shape)}",
        )
        require_finite(samples, f"a sample of shape {spec.shape}")
        require(samples.dtype == torch.float32, f"z in float32 gives samples in {samples.dtype}")
        shapes.append(spec.shape)
    return _at(shapes)


@check("G-RANGE", needs="cpu", kinds=("generator",))
def samples_stay_in_range(subject: ComponentSubject) -> None:
    """Samples stay in `spec.range`, for any range and for large weights and z."""
    for spec, _ in _networks(subject):
        for bounds in RANGES:
            ranged = replace(spec, range=bounds)
            net, message = built_or_refusal(
                lambda ranged=ranged: seeded(network_builder(subject), ranged)  # type: ignore[misc]
            )
            require(net is not None, f"it refuses the range {bounds}: {message}")
            low, high = bounds
            slack = 1e-5 * (high - low)
            for scale, module in ((1.0, net), (30.0, perturbed(net, 1.0))):
                with torch.no_grad():
                    samples = _run(module, scale * noise(ROWS, LATENT), one_hot(spec, 1))
                require(
                    samples.min() >= low - slack and samples.max() <= high + slack,
                    f"with spec.range {bounds} samples span {samples.min():.3g} to {samples.max():.3g}: rescale them",
                )


@check("G-SEED", needs="cpu", kinds=("generator",))
def samples_follow_the_seed(subject: ComponentSubject) -> None:
    """The same seed gives the same weights, the same seed and z the same samples, and another z other samples."""
    build = network_builder(subject)
    for spec, net in _networks(subject):
        _require_equal_weights(net, seeded(build, spec))
        run = partial(_run, perturbed(net).eval(), label=one_hot(spec, 1))
        with torch.no_grad():
            one, two = (seeded(run, noise(ROWS, LATENT)) for _ in range(2))
            other = seeded(run, noise(ROWS, LATENT, seed=1))
        require(equal(one, two), "the same seed and z give other samples: draw noise only from torch's generator")
        require(not torch.allclose(one, other), "samples do not depend on z")


def _require_equal_weights(one: nn.Module, other: nn.Module) -> None:
    """Raises CheckFailed unless two modules built with one seed have equal weights and buffers."""
    odd = differing(one.state_dict(), other.state_dict())
    require(
        not odd,
        f"{joined(odd)} differ when it is built twice with one seed: "
        "draw initial weights from torch's global generator",
    )


# --- discriminators ---------------------------------------------------------------------------------------------------


@check("D-SEED", needs="cpu", kinds=("discriminator",))
def weights_follow_the_seed(subject: ComponentSubject) -> None:
    """The same seed gives the same weights; in evaluation mode, the same samples give the same logits."""
    build = network_builder(subject)
    for spec, net in _networks(subject):
        _require_equal_weights(net, seeded(build, spec))
        run = partial(_run, perturbed(net).eval(), label=one_hot(spec, 1))
        with torch.no_grad():
            one, two = (seeded(run, samples_like(spec)) for _ in range(2))
        require(equal(one, two), "the same seed and samples give other logits")


@check("D-SHAPE", needs="cpu", kinds=("discriminator",))
def returns_logits(subject: ComponentSubject) -> str:
    """(x, label) -> finite floating-point logits (N, ...), at every shape that it states, or at the usual shapes."""
    shapes = []
    for spec, net in _networks_of_all_shapes(subject):
        logits = _run(net, samples_like(spec), one_hot(spec, 1))
        require(logits.ndim >= 1 and len(logits) == ROWS, f"logits have shape {tuple(logits.shape)}, not ({ROWS}, ...)")
        require_finite(logits, f"the logits of samples {spec.shape}")
        shapes.append(spec.shape)
    return _at(shapes)


@check("D-LOGITS", needs="cpu", kinds=("discriminator",))
def has_no_final_sigmoid(subject: ComponentSubject) -> None:
    """Logits are not confined to [0, 1]: losses apply their own sigmoid."""
    for spec, net in _networks(subject):
        for seed in range(8):
            module = perturbed(net, 0.3, seed)
            with torch.no_grad():
                logits = seeded(_run, module, samples_like(spec, seed=seed), one_hot(spec, 1))
            if logits.min() < 0 or logits.max() > 1:
                break
        else:
            raise CheckFailed("logits stay within [0, 1] whatever its weights are: remove the final sigmoid")


@check("D-TWICE", needs="cpu", kinds=("discriminator",))
def is_twice_differentiable(subject: ComponentSubject) -> None:
    """The gradient with respect to its input has a graph itself, as gradient penalties require."""
    for spec, net in _networks(subject):
        x = samples_like(spec).requires_grad_()
        logits = seeded(_run, perturbed(net), x, one_hot(spec, 1))
        (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
        require(gradient.requires_grad, "the gradient of its input has no graph: an operation has no second derivative")
        assert any(weight.requires_grad for weight in net.parameters()), "C-GRADIENT reports a network without weights"


# --- both -------------------------------------------------------------------------------------------------------------


@check("C-GRADIENT", needs="cpu", kinds=NETWORKS)
def every_weight_gets_a_gradient(subject: ComponentSubject) -> None:
    """Every weight gets a gradient from the output."""
    for spec, net in _networks(subject):
        module = perturbed(net)
        label = _labels(spec, 4 * ROWS)
        idle: set[str] | None = None
        for seed in (1, 2):  # A rectifier may be inactive for one batch.
            output = seeded(_run, module, network_input(subject.kind, spec, 4 * ROWS, seed), label)
            names = set(weights_without_gradient(module, output))
            idle = names if idle is None else idle & names
        require(not idle, f"no gradient reaches {joined(sorted(idle or ()))}: remove these weights or use them")


@check("C-ONE", needs="cpu", kinds=NETWORKS)
def accepts_a_batch_of_one(subject: ComponentSubject) -> None:
    """In evaluation mode, the output for a row depends on no other row: a batch of one gives the same output as the
    same row of a larger batch.
    """
    for spec, net in _networks(subject):
        module = perturbed(net, 0.02).eval()
        x, label = network_input(subject.kind, spec), _labels(spec, ROWS)
        with torch.no_grad():
            whole = seeded(_run, module, x, label)
            single = seeded(_run, module, x[:1], None if label is None else label[:1])
        require(single.shape == (1, *whole.shape[1:]), f"a batch of one gives shape {tuple(single.shape)}")
        with torch.no_grad():
            if not equal(whole, seeded(_run, module, x, label)):
                continue  # Its output is random, which the checks of seeds report.
        require(
            not mixes_samples(partial(_run, module), x, label),
            "in evaluation mode the output for a row depends on the other rows of its batch: use running statistics; "
            "if it is by design (minibatch standard deviation), declare C-ONE in ZOO_EXPECTED_FAILURES",
        )
        if _draws_noise(module, x, label):
            continue  # Its noise depends on the shape of the batch.
        require(
            torch.allclose(single, whole[:1], rtol=1e-3, atol=1e-4),
            "in evaluation mode the output for a row depends on the batch size",
        )


def _labels(spec: Spec, rows: int) -> Tensor | None:
    """One-hot labels of all classes in turn, None without classes."""
    return torch.eye(spec.classes)[torch.arange(rows) % spec.classes] if spec.classes else None


def _draws_noise(module: nn.Module, x: Tensor, label: Tensor | None) -> bool:
    with torch.no_grad():
        return not equal(seeded(_run, module, x, label, seed=1), seeded(_run, module, x, label, seed=2))


@check("C-SAVE", needs="cpu", kinds=NETWORKS)
def state_is_saveable(subject: ComponentSubject) -> None:
    """Safetensors accepts its state, in which no two tensors share memory and nothing that affects the output is
    missing.
    """
    build = network_builder(subject)
    for spec, net in _networks(subject):
        x, label = network_input(subject.kind, spec), one_hot(spec, 1)
        require_saveable(net, partial(seeded, build, spec, seed=1), partial(_run, x=x, label=label))


@check("C-LABEL", needs="cpu", kinds=NETWORKS)
def labels_change_the_output(subject: ComponentSubject) -> str | None:
    """A network that accepts labels uses them: another class gives another output."""
    first = first_supported(subject, network_builder(subject), CLASSES)
    if first is None:
        return "it refuses labels"
    spec, net = first
    module = perturbed(net, 0.3).eval()
    x = network_input(subject.kind, spec)
    with torch.no_grad():
        outputs = [seeded(_run, module, x, one_hot(spec, label)) for label in range(CLASSES)]
    require(
        not torch.allclose(outputs[0], outputs[1]) and not torch.allclose(outputs[1], outputs[2]),
        "labels make no difference: use them, or refuse a spec with classes (raise ValueError)",
    )
    return None
