"""Families that generate images from noise."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from sketch import components
from sketch.components import (
    CLASSES,
    IMAGE,
    SIZE,
    Family,
    logistic,
    noise,
    non_saturating,
    squared_error,
    squared_gradient_norm,
)
from torch import Tensor

from aigc_zoo.game import Batch, Every, Nets, Player, Recipe, Spec, Terms, Until, adam, plus

IMAGES = Spec(shape=IMAGE, classes=CLASSES)


def wgan_gp() -> Family:
    """WGAN-GP (Gulrajani et al., 2017): three discriminator turns per step, a gradient penalty on interpolates."""

    def discriminator(nets: Nets, batch: Batch) -> Terms:
        u = batch["u"].view(-1, 1, 1, 1)
        x = batch["real"].lerp(batch["fake"], u).requires_grad_()
        (gradient,) = torch.autograd.grad(nets.D(x).sum(), x, create_graph=True)
        return {
            "wasserstein": (nets.D(batch["fake"]) - nets.D(batch["real"])).mean(),
            "penalty": 10 * squared_error(gradient.flatten(1).norm(dim=1), 1),
        }

    def generator(nets: Nets, batch: Batch) -> Terms:
        return {"wasserstein": -nets.D(batch["fake"]).mean()}

    recipe = Recipe(
        networks=lambda spec: {"G": components.Generator(8, IMAGE), "D": components.Discriminator(IMAGE)},
        players={
            "discriminator": Player(controls=("D",), loss=discriminator, optimizer=adam(2e-4, 0.0, 0.9), turns=3),
            "generator": Player(controls=("G",), loss=generator, optimizer=adam(2e-4, 0.0, 0.9)),
        },
        draw=noise(8),
        generate=lambda nets, batch: {"fake": nets.G(batch["z"])},
        ema={"G": 0.999},
        steps=100,
    )
    return Family(recipe=recipe, spec=IMAGES, source=components.images)


def infogan() -> Family:
    """InfoGAN (Chen et al., 2016): Q predicts the code from the features of the discriminator."""

    def draw(batch: Batch) -> dict[str, Tensor]:
        n = len(batch["real"])
        return {"z": torch.randn(n, 6), "code": F.one_hot(torch.randint(0, 4, (n,)), 4).float()}

    def discriminator(nets: Nets, batch: Batch) -> Terms:
        return {"logistic": logistic(nets.D(batch["real"]), nets.D(batch["fake"]))}

    def generator(nets: Nets, batch: Batch) -> Terms:
        predicted = nets.Q(nets.D.features(batch["fake"]))
        return {
            "adversarial": non_saturating(nets.D(batch["fake"])),
            "information": F.cross_entropy(predicted, batch["code"]),
        }

    recipe = Recipe(
        networks=lambda spec: {
            "G": components.Generator(10, IMAGE),
            "D": components.Discriminator(IMAGE),
            "Q": torch.nn.Linear(16, 4),
        },
        players={
            "discriminator": Player(controls=("D",), loss=discriminator, optimizer=adam(2e-4, 0.5)),
            "generator": Player(controls=("G", "Q"), loss=generator, optimizer=adam(1e-3, 0.5)),
        },
        draw=draw,
        generate=lambda nets, batch: {"fake": nets.G(torch.cat([batch["z"], batch["code"]], 1))},
        steps=100,
    )
    return Family(recipe=recipe, spec=IMAGES, source=components.images)


def stylegan2() -> Family:
    """StyleGAN2 with ADA (Karras et al., 2020): lazy R1 and path length, adaptive augmentation."""

    def draw(batch: Batch) -> dict[str, Tensor]:
        n = len(batch["real"])
        return noise(8)(batch) | {"u_fake": torch.rand(n), "directions": torch.randn(n, *IMAGE)}

    def generate(nets: Nets, batch: Batch) -> dict[str, Tensor]:
        w = nets.G.mapping(torch.cat([batch["z"], batch["label"]], 1))
        return {"w": w, "fake": nets.G.synthesis(w)}

    def generator(nets: Nets, batch: Batch) -> Terms:
        return {"adversarial": non_saturating(nets.D(nets.ada(batch["fake"], batch["u_fake"])))}

    def discriminator(nets: Nets, batch: Batch) -> Terms:
        real = nets.D(nets.ada(batch["real"], batch["u"]))
        fake = nets.D(nets.ada(batch["fake"], batch["u_fake"]))
        nets.ada.update(real)
        return {"logistic": logistic(real, fake), "_p": nets.ada.p}

    def r1(nets: Nets, batch: Batch) -> Terms:
        return {"r1": 16 * 5 * squared_gradient_norm(lambda x: nets.D(nets.ada(x, batch["u"])), batch["real"])}

    def path_length(nets: Nets, batch: Batch) -> Terms:
        half = len(batch["w"]) // 2  # as the authors do: on half the batch, to save time
        w, directions = batch["w"][:half], batch["directions"][:half]
        (gradient,) = torch.autograd.grad((nets.G.synthesis(w) * directions / 8).sum(), w, create_graph=True)
        length = gradient.square().sum(1).sqrt()
        nets.path.mean.lerp_(length.mean().detach(), 0.01)
        return {"path": 4 * 2 * (length - nets.path.mean).square().mean()}

    def ema_decay(nets: Nets, batch: Batch) -> Tensor:
        halflife = (batch["images"] * 0.05).clamp(1e-8, 500e3)
        return 0.5 ** (SIZE / halflife)

    recipe = Recipe(
        networks=lambda spec: {
            "G": components.Styled(8),
            "D": components.Discriminator(IMAGE),
            "ada": components.Augment(),
            "path": components.Path(),
        },
        players={
            "discriminator": Player(
                controls=("D",), loss=plus(discriminator, Every(16, r1, None)), optimizer=adam(2e-3, 0.0, 0.99)
            ),
            "generator": Player(
                controls=("G",), loss=plus(generator, Every(4, path_length, None)), optimizer=adam(2e-3, 0.0, 0.99)
            ),
        },
        draw=draw,
        generate=generate,
        ema={"G": ema_decay},
        steps=100,
    )
    return Family(recipe=recipe, spec=IMAGES, source=components.images)


def r3gan() -> Family:
    """R3GAN (Huang et al., 2024): relativistic loss, R1 + R2, and schedules of the number of images."""

    def cosine(batch: Batch, start: float, stop: float) -> Tensor:
        return stop + (start - stop) * 0.5 * (1 + torch.cos(math.pi * (batch["images"] / 200).clamp(max=1)))

    def discriminator(nets: Nets, batch: Batch) -> Terms:
        penalty = squared_gradient_norm(nets.D, batch["real"]) + squared_gradient_norm(nets.D, batch["fake"])
        return {
            "relativistic": F.softplus(nets.D(batch["fake"]) - nets.D(batch["real"])).mean(),
            "penalty": cosine(batch, 0.05, 0.005) / 2 * penalty,
        }

    def generator(nets: Nets, batch: Batch) -> Terms:
        return {"relativistic": F.softplus(nets.D(batch["real"]) - nets.D(batch["fake"])).mean()}

    def lr(nets: Nets, batch: Batch) -> Tensor:
        return cosine(batch, 2e-4, 5e-5)

    def ema_decay(nets: Nets, batch: Batch) -> Tensor:
        return 0.5 ** (SIZE / (batch["images"] * 0.1).clamp(min=1e-8))

    recipe = Recipe(
        networks=lambda spec: {"G": components.Generator(12, IMAGE), "D": components.Discriminator(IMAGE)},
        players={
            "discriminator": Player(controls=("D",), loss=discriminator, optimizer=adam(2e-4, 0.0, 0.9), lr=lr),
            "generator": Player(controls=("G",), loss=generator, optimizer=adam(2e-4, 0.0, 0.9), lr=lr),
        },
        draw=noise(8),
        generate=lambda nets, batch: {"fake": nets.G(torch.cat([batch["z"], batch["label"]], 1))},
        ema={"G": ema_decay},
        steps=100,
    )
    return Family(recipe=recipe, spec=IMAGES, source=components.images)


def multiscale() -> Family:
    """Two resolutions, the large one from step 3 on, and a discriminator whose learning rate depends on its logits."""

    def small(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2)

    def discriminator_low(nets: Nets, batch: Batch) -> Terms:
        return {"low": logistic(nets.D_low(small(batch["real"])), nets.D_low(batch["low"]))}

    def discriminator_high(nets: Nets, batch: Batch) -> Terms:
        real, fake = nets.D(batch["real"]), nets.D(batch["fake"])
        nets.balance.update(real.detach())
        return {"high": logistic(real, fake), "_rate": nets.balance.rate}

    def r1(nets: Nets, batch: Batch) -> Terms:
        return {"r1": 2 * squared_gradient_norm(nets.D, batch["real"])}

    def generator_low(nets: Nets, batch: Batch) -> Terms:
        return {"low": non_saturating(nets.D_low(batch["low"]))}

    def generator_high(nets: Nets, batch: Batch) -> Terms:
        return {"high": non_saturating(nets.D(batch["fake"]))}

    def lr(nets: Nets, batch: Batch) -> Tensor:
        return 2e-4 * nets.balance.rate

    discriminator = plus(discriminator_low, Until(3, None, plus(discriminator_high, Every(2, r1, None))))
    generator = plus(generator_low, Until(3, None, generator_high))
    recipe = Recipe(
        networks=lambda spec: {
            "G": components.Scales(8),
            "D": components.Discriminator(IMAGE),
            "D_low": components.Discriminator((3, 4, 4)),
            "balance": components.Balance(),
        },
        players={
            "discriminator": Player(controls=("D", "D_low"), loss=discriminator, optimizer=adam(2e-4), lr=lr),
            "generator": Player(controls=("G",), loss=generator, optimizer=adam(2e-4)),
        },
        draw=noise(8),
        generate=lambda nets, batch: dict(zip(("low", "fake"), nets.G(batch["z"]), strict=True)),
        steps=100,
    )
    return Family(recipe=recipe, spec=IMAGES, source=components.images)
