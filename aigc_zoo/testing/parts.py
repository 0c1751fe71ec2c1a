"""Checks of losses, penalties, augmentations and extractors."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Adversarial, Nets, Noisy, Penalty, Recipe, Spec, adam, play_at
from aigc_zoo.testing.checks import check
from aigc_zoo.testing.probes import (
    LATENT,
    ROWS,
    joined,
    need,
    need_finite,
    need_saveable,
    noise,
    refusal,
    same,
    samples_like,
    seeded,
    spec_of,
    target_of,
    uniform,
)
from aigc_zoo.testing.subjects import Part
from aigc_zoo.two_player import two_player

LOGITS = ((8,), (8, 1), (8, 1, 3, 3))
"""Shapes of logits: one a sample, one a sample in a column, one a patch."""


# --- losses -----------------------------------------------------------------------------------------------------------


def _loss(part: Part) -> Adversarial:
    made = target_of(part)()
    need(isinstance(made, Adversarial), f"it returns a {type(made).__name__}, not a game.Adversarial")
    return made  # type: ignore[no-any-return]


def _both(loss: Adversarial, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """What the critic and the generator lower, the latter without reals where it says that it needs none."""
    return loss.discriminator(real, fake), loss.generator(fake, real if loss.needs_real else None)


@check("L-SCALAR", needs="cpu", kinds=("loss",))
def losses_are_scalars(part: Part) -> None:
    """Both functions give one finite number with a graph, for logits of any shape (N, ...), near 0 and at +-50."""
    loss = _loss(part)
    for shape in LOGITS:
        for scale in (1.0, 50.0):
            real, fake = (scale * noise(*shape, seed=seed).clamp(-1, 1) for seed in (1, 2))
            real.requires_grad_()
            fake.requires_grad_()
            for name, value in zip(("discriminator", "generator"), _both(loss, real, fake), strict=True):
                need(isinstance(value, Tensor) and value.ndim == 0, f"{name} gives no single number for logits {shape}")
                need_finite(value, f"{name} of logits {shape} up to {scale:.0f}")
                need(value.requires_grad, f"{name} has no graph to the logits")
                (gradient,) = torch.autograd.grad(value, fake, retain_graph=True)
                need_finite(gradient, f"the gradient of {name} at logits up to {scale:.0f}")


@check("L-MEAN", needs="cpu", kinds=("loss",))
def losses_are_means(part: Part) -> None:
    """A batch twice over has the same losses, so that batch size and number of ranks do not change their meaning."""
    loss = _loss(part)
    real, fake = noise(8, 1, seed=1), noise(8, 1, seed=2)
    for name, one, two in zip(
        ("discriminator", "generator"),
        _both(loss, real, fake),
        _both(loss, torch.cat((real, real)), torch.cat((fake, fake))),
        strict=True,
    ):
        need(torch.allclose(one, two, rtol=1e-4, atol=1e-6), f"{name} grows with the batch: take the mean over it")


@check("L-PURE", needs="cpu", kinds=("loss",))
def losses_are_pure(part: Part) -> None:
    """The same logits have the same losses, whatever torch's generator says, and are left as they were."""
    loss = _loss(part)
    real, fake = noise(8, 1, seed=1), noise(8, 1, seed=2)
    before = real.clone(), fake.clone()
    one, two = seeded(_both, loss, real, fake, seed=1), seeded(_both, loss, real, fake, seed=2)
    need(all(same(a, b) for a, b in zip(one, two, strict=True)), "it draws noise of its own: a loss has none")
    need(same(real, before[0]) and same(fake, before[1]), "it changes the logits that it is given")


@check("L-DIRECTION", needs="cpu", kinds=("loss",))
def losses_point_the_right_way(part: Part) -> None:
    """Where it is wrong the critic wants reals higher and fakes lower; the generator wants rejected fakes higher.

    Elsewhere they may differ: least squares draws a fake at -0.5 up to its target 0.
    """
    loss = _loss(part)
    high, low = torch.full((8, 1), 0.5, requires_grad=True), torch.full((8, 1), -0.5, requires_grad=True)
    critic, _ = _both(loss, low, high)
    up, down = torch.autograd.grad(critic, (low, high), allow_unused=True)
    need(up is not None and bool((up < 0).any()), "the critic gains nothing from higher logits of reals")
    need(down is not None and bool((down > 0).any()), "the critic gains nothing from lower logits of fakes")
    need(bool((up <= 0).all()) and bool((down >= 0).all()), "the critic lowers reals or raises fakes")
    _, generator = _both(loss, high, low)
    (raised,) = torch.autograd.grad(generator, low)
    need(bool((raised < 0).all()), "the generator gains nothing from higher logits of its fakes")


# --- penalties --------------------------------------------------------------------------------------------------------


class _Small(nn.Module):
    """A smooth critic of any shape, with labels or without: what a penalty is tried on."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        size = int(torch.tensor(spec.shape).prod())
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(size, 8), nn.Softplus(), nn.Linear(8, 1))

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class _Tiny(nn.Module):
    """A generator of any shape."""

    def __init__(self, spec: Spec, latent: int) -> None:
        super().__init__()
        self.shape = spec.shape
        self.layer = nn.Linear(latent, int(torch.tensor(spec.shape).prod()))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return torch.tanh(self.layer(z)).view(-1, *self.shape)


def _wasserstein() -> Adversarial:
    return Adversarial(lambda real, fake: fake.mean() - real.mean(), lambda fake, real: -fake.mean())


def _penalised(part: Part) -> Recipe:
    """The standard game with this penalty, as two_player makes it of any."""
    penalty = target_of(part)
    assert isinstance(penalty, Penalty)
    return two_player(
        _Tiny,
        _Small,
        _wasserstein,
        latent=LATENT,
        optimizer=adam(1e-3),
        penalties=(penalty._replace(every=1),),
        steps=1,
    )


class _Trial:
    """One turn's worth of a penalised critic: networks and a batch with its noise."""

    def __init__(self, part: Part, shape: tuple[int, ...]) -> None:
        self.recipe, self.spec = _penalised(part), spec_of(shape)
        self.nets = seeded(lambda: Nets(self.recipe.networks(self.spec)))
        with torch.no_grad():
            self.nets.D.layers[1].weight.mul_(4)
        real = samples_like(self.spec)
        drawn = seeded(self.recipe.draw, {"real": real})
        self.batch = {"real": real, **drawn, "t": torch.tensor(0.5), "images": torch.tensor(1000.0)}
        self.batch |= {key: value.detach() for key, value in self.recipe.generate(self.nets, self.batch).items()}

    def value(self) -> Tensor:
        """The penalty, weighted, beside the loss."""
        loss = play_at(self.recipe.players["discriminator"].loss, 0)
        assert loss is not None
        terms = loss(self.nets, dict(self.batch))
        (name,) = [name for name in terms if name != "loss" and not name.startswith("_")]
        return terms[name]


@check("P-SCALAR", needs="cpu", kinds=("penalty",))
def penalties_are_scalars(part: Part) -> None:
    """(critic, batch) -> one finite number with a graph to the critic's weights, for samples of any shape."""
    stated = part.entry.component.shapes
    for shape in stated or ((2,), (1, 8, 8), (1, 100), (2, 4, 6, 6)):
        trial, sentence = refusal(partial(_Trial, part, shape))
        if trial is None:
            need(not stated and shape != (1, 8, 8), f"it refuses samples of shape {shape}: {sentence}")
            continue
        with torch.no_grad():  # a one-sided penalty leaves gentle slopes alone
            for weight in trial.nets.D.parameters():
                weight.mul_(10)
        value = seeded(trial.value)
        need(value.ndim == 0, f"of samples {shape} it gives shape {tuple(value.shape)}, not one number")
        need_finite(value, f"the penalty of samples {shape}")
        need(value.requires_grad, "it has no graph to the critic's weights: keep create_graph=True")
        found = torch.autograd.grad(value, list(trial.nets.D.parameters()), allow_unused=True)
        moved = [gradient for gradient in found if gradient is not None and gradient.any()]
        need(moved, "it does not depend on the critic's weights")
        need(all(bool(torch.isfinite(gradient).all()) for gradient in moved), f"its gradient is not finite at {shape}")


@check("P-PURE", needs="cpu", kinds=("penalty",))
def penalties_are_pure(part: Part) -> None:
    """The same batch has the same penalty whatever torch's generator says: its noise is in the batch, as u is."""
    values = [seeded(_Trial(part, (1, 8, 8)).value, seed=seed) for seed in (1, 2)]
    need(same(*values), 'it draws noise of its own: take batch["u"], one uniform number a sample')


@check("P-SIGN", needs="cpu", kinds=("penalty",))
def penalties_are_not_negative(part: Part) -> None:
    """It is never below zero, and its weight multiplies it."""
    penalty = target_of(part)
    need(
        callable(penalty.weight) or penalty.weight > 0,
        f"its own weight is {penalty.weight}: it does nothing unless one is given",
    )
    need(seeded(_Trial(part, (1, 8, 8)).value) >= 0, "it is negative: a penalty punishes")


@check("P-STATE", needs="cpu", kinds=("penalty",))
def penalties_keep_state_in_buffers(part: Part) -> str | None:
    """One with state is a module, whose state goes through safetensors."""
    made = target_of(part).make()
    if not isinstance(made, nn.Module):
        need(callable(made), f"it returns a {type(made).__name__}, nothing that can be called")
        return "it has no state"
    from safetensors.torch import save

    save(made.state_dict())
    return None


# --- augmentations ----------------------------------------------------------------------------------------------------


def _augmentation(part: Part) -> Iterator[tuple[Spec, nn.Module]]:
    """The module, and each shape that it takes."""
    target = target_of(part)
    count = 0
    refused = ""
    for shape in part.entry.component.shapes or ((1, 16, 16), (3, 16, 16), (3, 32, 32), (2,)):
        spec = spec_of(shape)
        module = seeded(target)
        need(isinstance(module, nn.Module), f"it returns a {type(module).__name__}, not a torch module")
        out, sentence = refusal(partial(seeded, _augmented, module, samples_like(spec)))
        if out is None:
            need(not part.entry.component.shapes, f"it states the shape {shape} and refuses it: {sentence}")
            refused = sentence
            continue
        count += 1
        yield spec, seeded(target)
    need(count, f"it refuses every usual shape ({refused}): state those that it serves as shapes=(...)")


def _augmented(module: nn.Module, x: Tensor) -> Tensor:
    """What it makes of samples, with noise from its own `draw` where it is Noisy."""
    out: Tensor = module(x, module.draw(torch.zeros_like(x))) if isinstance(module, Noisy) else module(x)
    return out


@check("A-PURE", needs="cpu", kinds=("augmentation",))
def augmentations_draw_no_noise(part: Part) -> None:
    """The same samples and the same noise give the same: what is drawn is drawn by `draw` of a game.Noisy."""
    for spec, module in _augmentation(part):
        x = samples_like(spec)
        given = (seeded(module.draw, x),) if isinstance(module, Noisy) else ()
        one, two = (seeded(module, x, *given, seed=seed) for seed in (1, 2))
        need(same(one, two), "it draws noise where it is used: make it a game.Noisy, whose draw gives it beforehand")


@check("A-SHAPE", needs="cpu", kinds=("augmentation",))
def augmentations_keep_the_shape(part: Part) -> None:
    """Samples keep shape and type, and are finite."""
    for spec, module in _augmentation(part):
        x = samples_like(spec)
        out = seeded(_augmented, module, x)
        need(
            out.shape == x.shape and out.dtype == x.dtype,
            f"of {tuple(x.shape)} it makes {tuple(out.shape)}, {out.dtype}",
        )
        need_finite(out, "an augmented sample")


@check("A-GRADIENT", needs="cpu", kinds=("augmentation",))
def augmentations_let_gradients_through(part: Part) -> None:
    """Gradients reach the samples, or the generator would learn nothing."""
    for spec, module in _augmentation(part):
        x = samples_like(spec, 16).requires_grad_()
        out = seeded(_augmented, module, x)
        need(out.requires_grad, "its output has no graph to the samples: use operations that can be differentiated")
        (gradient,) = torch.autograd.grad(out.square().sum(), x)
        need(gradient.any() and torch.isfinite(gradient).all(), "no gradient reaches the samples")


@check("A-SEED", needs="cpu", kinds=("augmentation",))
def augmentations_follow_the_seed(part: Part) -> None:
    """From the same seed and state it does the same, and its state goes through safetensors."""
    target = target_of(part)
    for spec, module in _augmentation(part):
        x = samples_like(spec)
        again = seeded(_augmented, seeded(target), x)
        need(same(seeded(_augmented, module, x), again), "from the same seed and state it does something else")
        need_saveable(seeded(target), partial(seeded, target, seed=1), lambda one, x=x: _augmented(one, x))  # type: ignore[misc]


# --- extractors -------------------------------------------------------------------------------------------------------


class _Asked(Exception):
    """Ends an extractor's building where it asks for its weights."""


def _extractor(part: Part) -> tuple[nn.Module | None, dict[str, Any]]:
    """The extractor where it brings its weights; else what it asks for, (url, sha256, size)."""
    target = target_of(part)
    asked: dict[str, Any] = {}

    def weights(url: str, *, sha256: str = "", size: int = 0) -> Any:
        asked.update(url=url, sha256=sha256, size=size)
        raise _Asked

    if "weights" not in inspect.signature(part.entry.load()).parameters:
        return seeded(target), {}
    try:
        return seeded(target, weights), asked
    except (_Asked, ConfigError) as error:
        if not (isinstance(error, _Asked) or isinstance(error.__cause__, _Asked)):
            raise
        return None, asked


PICTURES = ((1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 299, 299))
E_NOTE = "its weights are not in its package: checked is how it asks for them"


def _pictures(shape: tuple[int, ...], rows: int = ROWS) -> Tensor:
    return (255 * uniform(rows, *shape)).to(torch.uint8)


def _seen(part: Part, module: nn.Module) -> Iterator[tuple[tuple[int, ...], dict[str, Tensor]]]:
    refused = ""
    count = 0
    for shape in part.entry.component.shapes or PICTURES:
        with torch.no_grad():
            out, sentence = _looked(module, _pictures(shape))
        if out is None:
            need(not part.entry.component.shapes, f"it states the shape {shape} and refuses it: {sentence}")
            refused = sentence
            continue
        count += 1
        yield shape, out
    need(count, f"it refuses every usual shape ({refused}): state those that it serves as shapes=(...)")


def _looked(module: nn.Module, pictures: Tensor) -> tuple[Any, str]:
    try:
        return module.eval()(pictures), ""
    except (ConfigError, ValueError) as error:
        return None, str(error)


@check("E-FEATURES", needs="cpu", kinds=("extractor",))
def extractors_see_features(part: Part) -> str | None:
    """uint8 samples -> {"features": (N, D)} and logits where it has them, finite, the same in a batch of any size."""
    module, _ = _extractor(part)
    if module is None:
        return E_NOTE
    for shape, out in _seen(part, module):
        need(isinstance(out, dict) and "features" in out, "it gives no dictionary with the key features")
        for name, value in out.items():
            need(value.ndim == 2 and len(value) == ROWS, f"{name} has shape {tuple(value.shape)}, not ({ROWS}, D)")
            need_finite(value, name)
            with torch.no_grad():
                alone = module.eval()(_pictures(shape)[:1])[name]
            need(torch.allclose(alone, value[:1], rtol=1e-3, atol=1e-4), f"{name} of a sample depend on its batch")
    return None


@check("E-WEIGHTS", needs="cpu", kinds=("extractor",))
def extractors_have_weights(part: Part) -> str | None:
    """Its weights are in its package and the same each time, or asked for by https, SHA-256 and size."""
    module, asked = _extractor(part)
    if module is None:
        need(str(asked["url"]).startswith("https://"), f"it asks for {asked['url']}: only https is fetched")
        need(re.fullmatch(r"[0-9a-f]{64}", asked["sha256"]), "it states no SHA-256 of its weights")
        need(isinstance(asked["size"], int) and asked["size"] > 0, "it states no size in bytes of its weights")
        return E_NOTE
    other, _ = _extractor(part)
    assert other is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        other, _ = _extractor(part)
    assert other is not None
    odd = [name for name, value in module.state_dict().items() if not same(value, other.state_dict()[name])]
    need(not odd, f"{joined(odd)} differ from one building to the next: its metric would mean nothing")
    return None
