"""Checks of penalties, as terms of the discriminator's loss in the two-player recipe."""

from __future__ import annotations

import math
from functools import partial

import torch
from safetensors.torch import save
from torch import Tensor, nn

from aigc_zoo.game import Adversarial, Nets, Penalty, Recipe, Spec, adam, play_at
from aigc_zoo.testing.assertions import equal, require, require_finite
from aigc_zoo.testing.checks import check
from aigc_zoo.testing.fixtures import LATENT, built_or_refusal, samples_like, seeded, spec_of, target_of
from aigc_zoo.testing.subjects import ComponentSubject
from aigc_zoo.two_player import two_player

SHAPES = ((2,), (1, 8, 8), (1, 100), (2, 4, 6, 6))
IMAGE = (1, 8, 8)


class _Discriminator(nn.Module):
    """A smooth discriminator for samples of any shape."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(spec.shape), 8), nn.Softplus(), nn.Linear(8, 1))

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


class _Generator(nn.Module):
    """A generator for samples of any shape."""

    def __init__(self, spec: Spec, latent: int) -> None:
        super().__init__()
        self.shape = spec.shape
        self.layer = nn.Linear(latent, math.prod(spec.shape))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return torch.tanh(self.layer(z)).view(-1, *self.shape)


def _wasserstein() -> Adversarial:
    return Adversarial(lambda real, fake: fake.mean() - real.mean(), lambda fake, real: -fake.mean())


def _recipe_with(subject: ComponentSubject) -> Recipe:
    """The two-player recipe with this penalty at every step."""
    penalty = target_of(subject)
    assert isinstance(penalty, Penalty)
    return two_player(
        _Generator,
        _Discriminator,
        _wasserstein,
        latent=LATENT,
        optimizer=adam(1e-3),
        penalties=(penalty._replace(every=1),),
        steps=1,
    )


class _PenaltyFixture:
    """Networks, and a batch with noise and fakes, that a penalty is evaluated on."""

    def __init__(self, subject: ComponentSubject, shape: tuple[int, ...]) -> None:
        self.recipe, self.spec = _recipe_with(subject), spec_of(shape)
        self.nets = seeded(lambda: Nets(self.recipe.networks(self.spec)))
        with torch.no_grad():
            self.nets.D.layers[1].weight.mul_(4)
        real = samples_like(self.spec)
        drawn = seeded(self.recipe.draw, {"real": real})
        self.batch = {"real": real, **drawn, "t": torch.tensor(0.5), "images": torch.tensor(1000.0)}
        self.batch |= {key: value.detach() for key, value in self.recipe.generate(self.nets, self.batch).items()}

    def value(self) -> Tensor:
        """The weighted penalty: the only term beside the loss."""
        loss = play_at(self.recipe.players["discriminator"].loss, 0)
        assert loss is not None
        terms = loss(self.nets, dict(self.batch))
        (name,) = [name for name in terms if name != "loss" and not name.startswith("_")]
        return terms[name]


@check("P-SCALAR", needs="cpu", kinds=("penalty",))
def penalties_are_scalars(subject: ComponentSubject) -> None:
    """(discriminator, batch) -> a finite scalar with a graph to the discriminator's weights, for samples of any
    shape.
    """
    stated = subject.shapes
    for shape in stated or SHAPES:
        fixture, message = built_or_refusal(partial(_PenaltyFixture, subject, shape))
        if fixture is None:
            require(not stated and shape != IMAGE, f"it refuses samples of shape {shape}: {message}")
            continue
        weights = list(fixture.nets.D.parameters())
        with torch.no_grad():  # A one-sided penalty is zero for small gradients.
            for weight in weights:
                weight.mul_(10)
        value = seeded(fixture.value)
        require(value.ndim == 0, f"for samples {shape} it returns shape {tuple(value.shape)}, not a scalar")
        require_finite(value, f"the penalty of samples {shape}")
        require(value.requires_grad, "it has no graph to the discriminator's weights: keep create_graph=True")
        gradients = torch.autograd.grad(value, weights, allow_unused=True)
        nonzero = [gradient for gradient in gradients if gradient is not None and gradient.any()]
        require(nonzero, "it does not depend on the discriminator's weights")
        finite = all(bool(torch.isfinite(gradient).all()) for gradient in nonzero)
        require(finite, f"its gradient is not finite for samples {shape}")


@check("P-PURE", needs="cpu", kinds=("penalty",))
def penalties_are_pure(subject: ComponentSubject) -> None:
    """Equal batches give equal penalties whatever the seed of torch's generator: noise is an entry of the batch."""
    one, two = (seeded(_PenaltyFixture(subject, IMAGE).value, seed=seed) for seed in (1, 2))
    require(equal(one, two), 'it draws its own noise: use batch["u"], one uniform number per sample, or game.Noisy')


@check("P-SIGN", needs="cpu", kinds=("penalty",))
def penalties_are_not_negative(subject: ComponentSubject) -> None:
    """It is never negative, and its default weight is positive."""
    penalty = target_of(subject)
    require(
        callable(penalty.weight) or penalty.weight > 0,
        f"its default weight is {penalty.weight}, so that it has no effect: state a positive one in the manifest",
    )
    require(seeded(_PenaltyFixture(subject, IMAGE).value) >= 0, "it is negative")


@check("P-STATE", needs="cpu", kinds=("penalty",))
def penalties_keep_state_in_buffers(subject: ComponentSubject) -> str | None:
    """A penalty with state is a module, and safetensors accepts its state."""
    term = target_of(subject).make()
    if not isinstance(term, nn.Module):
        require(callable(term), f"it returns a {type(term).__name__}, which is not callable")
        return "it has no state"
    save(term.state_dict())
    return None
