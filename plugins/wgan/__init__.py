"""Wasserstein GANs: a Lipschitz critic by clipping or by gradient penalties (Arjovsky, Gulrajani, Petzka et al.)."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1

# Minutes on two cores, where the paper's residual networks take 23 s a step.
MINUTES = {"lr": 1e-3, "discriminator_turns": 3, "generator": "dcgan.small", "discriminator": "dcgan.small-plain"}
# The paper's own code takes a lambda of 0.1 for such data.
POINTS = {
    "precision": "fp32",
    "images": 1_800_000,
    "batch_size": 100,
    "lr": 1e-3,
    "discriminator_turns": 3,
    "decay": False,
    "generator": "vanilla.points",
    "discriminator": "vanilla.points",
}
CLIPPED = {"lr": 5e-4, "generator": "dcgan.small", "discriminator": "dcgan.small"}
CLIPPED_POINTS = {
    "precision": "fp32",
    "images": 1_200_000,
    "batch_size": 100,
    "lr": 1e-3,
    "discriminator_turns": 2,
    "clip": 0.1,
    "generator": "vanilla.points",
    "discriminator": "vanilla.points",
}


@hookimpl
def zoo_components() -> Iterable[Component]:
    yield Component(
        kind="recipe",
        name="wgan",
        target=f"{__name__}.clipping:wgan",
        summary="A critic made Lipschitz by clipping its weights",
        paper="arXiv:1701.07875",
        tags=("image", "labels"),
        presets={
            "digits": CLIPPED | {"images": 1_280_000},
            "mnist": CLIPPED | {"images": 3_000_000},
            "cifar10": {},
            "ring": CLIPPED_POINTS,
            "grid": CLIPPED_POINTS,
        },
    )
    yield Component(
        kind="recipe",
        name="wgan-gp",
        target=f"{__name__}.penalised:wgan_gp",
        summary="Wasserstein critic with slopes of one between reals and fakes",
        paper="arXiv:1704.00028",
        tags=("image", "labels"),
        presets={
            "digits": MINUTES | {"images": 512_000},
            "mnist": MINUTES | {"images": 1_200_000},
            "cifar10": {},
            "ring": POINTS | {"penalty.gp.weight": 0.1},
            "grid": POINTS | {"penalty.gp.weight": 0.1},
        },
    )
    yield Component(
        kind="recipe",
        name="wgan-lp",
        target=f"{__name__}.penalised:wgan_gp",
        summary="WGAN-GP with a one-sided penalty: slopes below one are left alone",
        paper="arXiv:1709.08894",
        tags=("image", "labels"),
        presets={
            "default": {"penalty": "lp"},
            "digits": MINUTES | {"images": 512_000},
            "mnist": MINUTES | {"images": 1_200_000},
            "cifar10": {},
            "ring": POINTS | {"penalty.lp.weight": 0.1},
            "grid": POINTS | {"penalty.lp.weight": 0.1},
        },
    )
