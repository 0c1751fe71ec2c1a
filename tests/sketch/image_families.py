"""Families that make pictures from noise."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from sketch import components
from sketch.components import CLASSES, IMAGE, SIZE, Family, fooled, logistic, noise, squares, steepness
from torch import Tensor

from aigc_zoo.game import Batch, Every, Nets, Player, Recipe, Spec, Terms, Until, adam

PICTURES = Spec(shape=IMAGE, classes=CLASSES)


def wgan_gp() -> Family:
    """WGAN-GP (Gulrajani et al., 2017): three discriminator turns a step, slope one on lines between real and fake."""

    def discriminator(nets: Nets, batch: Batch) -> Terms:
        u = batch["u"].view(-1, 1, 1, 1)
        x = batch["real"].lerp(batch["fake"], u).requires_grad_()
        (gradient,) = torch.autograd.grad(nets.D(x).sum(), x, create_graph=True)
        return {
            "wasserstein": (nets.D(batch["fake"]) - nets.D(batch["real"])).mean(),
            "penalty": 10 * squares(gradient.flatten(1).norm(dim=1), 1),
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
    return Family(recipe=recipe, spec=PICTURES, source=components.images)


def infogan() -> Family:
    """InfoGAN (Chen et al., 2016): Q reads the code back from the discriminator's features."""

    def draw(batch: Batch) -> dict[str, Tensor]:
        n = len(batch["real"])
        return {"z": torch.randn(n, 6), "code": F.one_hot(torch.randint(0, 4, (n,)), 4).float()}

    def discriminator(nets: Nets, batch: Batch) -> Terms:
        return {"logistic": logistic(nets.D(batch["real"]), nets.D(batch["fake"]))}

    def generator(nets: Nets, batch: Batch) -> Terms:
        read = nets.Q(nets.D.features(batch["fake"]))
        return {"fool": fooled(nets.D(batch["fake"])), "information": F.cross_entropy(read, batch["code"])}

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
    return Family(recipe=recipe, spec=PICTURES, source=components.images)


def stylegan2() -> Family:
    """StyleGAN2 with ADA (Karras et al., 2020): lazy R1 and path length, augmentation that follows overfitting."""

    def draw(batch: Batch) -> dict[str, Tensor]:
        n = len(batch["real"])
        return noise(8)(batch) | {"u_fake": torch.rand(n), "directions": torch.randn(n, *IMAGE)}

    def generate(nets: Nets, batch: Batch) -> dict[str, Tensor]:
        w = nets.G.mapping(torch.cat([batch["z"], batch["label"]], 1))
        return {"w": w, "fake": nets.G.synthesis(w)}

    def fool(nets: Nets, batch: Batch) -> Terms:
        return {"fool": fooled(nets.D(nets.ada(batch["fake"], batch["u_fake"])))}

    def judge(nets: Nets, batch: Batch) -> Terms:
        real = nets.D(nets.ada(batch["real"], batch["u"]))
        fake = nets.D(nets.ada(batch["fake"], batch["u_fake"]))
        nets.ada.see(real)
        return {"logistic": logistic(real, fake), "_p": nets.ada.p}

    def judge_with_r1(nets: Nets, batch: Batch) -> Terms:
        slope = steepness(lambda x: nets.D(nets.ada(x, batch["u"])), batch["real"])
        return {**judge(nets, batch), "r1": 16 * 5 * slope}

    def fool_with_path(nets: Nets, batch: Batch) -> Terms:
        half = len(batch["w"]) // 2  # as the authors do: on half the batch, to save time
        w, directions = batch["w"][:half], batch["directions"][:half]
        (gradient,) = torch.autograd.grad((nets.G.synthesis(w) * directions / 8).sum(), w, create_graph=True)
        length = gradient.square().sum(1).sqrt()
        nets.path.mean.lerp_(length.mean().detach(), 0.01)
        return {**fool(nets, batch), "path": 4 * 2 * (length - nets.path.mean).square().mean()}

    def ramped(nets: Nets, batch: Batch) -> Tensor:
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
                controls=("D",), loss=Every(16, judge_with_r1, judge), optimizer=adam(2e-3, 0.0, 0.99)
            ),
            "generator": Player(controls=("G",), loss=Every(4, fool_with_path, fool), optimizer=adam(2e-3, 0.0, 0.99)),
        },
        draw=draw,
        generate=generate,
        ema={"G": ramped},
        steps=100,
    )
    return Family(recipe=recipe, spec=PICTURES, source=components.images)


def r3gan() -> Family:
    """R3GAN (Huang et al., 2024): relativistic loss, R1 + R2, and schedules of the images seen."""

    def falling(batch: Batch, start: float, stop: float) -> Tensor:
        return stop + (start - stop) * 0.5 * (1 + torch.cos(math.pi * (batch["images"] / 200).clamp(max=1)))

    def discriminator(nets: Nets, batch: Batch) -> Terms:
        slopes = steepness(nets.D, batch["real"]) + steepness(nets.D, batch["fake"])
        return {
            "relativistic": F.softplus(nets.D(batch["fake"]) - nets.D(batch["real"])).mean(),
            "penalty": falling(batch, 0.05, 0.005) / 2 * slopes,
        }

    def generator(nets: Nets, batch: Batch) -> Terms:
        return {"relativistic": F.softplus(nets.D(batch["real"]) - nets.D(batch["fake"])).mean()}

    def rate(nets: Nets, batch: Batch) -> Tensor:
        return falling(batch, 2e-4, 5e-5)

    def ramped(nets: Nets, batch: Batch) -> Tensor:
        return 0.5 ** (SIZE / (batch["images"] * 0.1).clamp(min=1e-8))

    recipe = Recipe(
        networks=lambda spec: {"G": components.Generator(12, IMAGE), "D": components.Discriminator(IMAGE)},
        players={
            "discriminator": Player(controls=("D",), loss=discriminator, optimizer=adam(2e-4, 0.0, 0.9), lr=rate),
            "generator": Player(controls=("G",), loss=generator, optimizer=adam(2e-4, 0.0, 0.9), lr=rate),
        },
        draw=noise(8),
        generate=lambda nets, batch: {"fake": nets.G(torch.cat([batch["z"], batch["label"]], 1))},
        ema={"G": ramped},
        steps=100,
    )
    return Family(recipe=recipe, spec=PICTURES, source=components.images)


def multiscale() -> Family:
    """Two scales, the large one from the third step on, and a discriminator whose rate follows its own success."""

    def small(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2)

    def judge_low(nets: Nets, batch: Batch) -> Terms:
        return {"low": logistic(nets.D_low(small(batch["real"])), nets.D_low(batch["low"]))}

    def judge_both(nets: Nets, batch: Batch) -> Terms:
        real, fake = nets.D(batch["real"]), nets.D(batch["fake"])
        nets.balance.see(real.detach())
        return {**judge_low(nets, batch), "high": logistic(real, fake), "_rate": nets.balance.rate}

    def judge_both_with_r1(nets: Nets, batch: Batch) -> Terms:
        return {**judge_both(nets, batch), "r1": 2 * steepness(nets.D, batch["real"])}

    def fool_low(nets: Nets, batch: Batch) -> Terms:
        return {"low": fooled(nets.D_low(batch["low"]))}

    def fool_both(nets: Nets, batch: Batch) -> Terms:
        return {**fool_low(nets, batch), "high": fooled(nets.D(batch["fake"]))}

    def rate(nets: Nets, batch: Batch) -> Tensor:
        return 2e-4 * nets.balance.rate

    judge = Until(3, judge_low, Every(2, judge_both_with_r1, judge_both))
    recipe = Recipe(
        networks=lambda spec: {
            "G": components.Scales(8),
            "D": components.Discriminator(IMAGE),
            "D_low": components.Discriminator((3, 4, 4)),
            "balance": components.Balance(),
        },
        players={
            "discriminator": Player(controls=("D", "D_low"), loss=judge, optimizer=adam(2e-4), lr=rate),
            "generator": Player(controls=("G",), loss=Until(3, fool_low, fool_both), optimizer=adam(2e-4)),
        },
        draw=noise(8),
        generate=lambda nets, batch: dict(zip(("low", "fake"), nets.G(batch["z"]), strict=True)),
        steps=100,
    )
    return Family(recipe=recipe, spec=PICTURES, source=components.images)
