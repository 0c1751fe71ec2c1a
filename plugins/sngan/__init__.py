"""The hinge loss, alone on DCGAN's networks and with spectral normalisation (Lim and Ye, 2017; Miyato et al., 2018)."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1

# Minutes on two cores: half of DCGAN's width, and a generator three times as fast as its critic.
MINUTES = {
    "lr": 1e-3,
    "discriminator_lr": 3e-4,
    "discriminator_turns": 1,
    "generator": "dcgan.small",
    "discriminator": "dcgan.small",
}
SPECTRAL = {"lr": 1e-3, "discriminator_turns": 1, "generator": "dcgan.narrow", "discriminator": "dcgan.narrow-spectral"}
POINTS = {
    "precision": "fp32",
    "images": 600_000,
    "batch_size": 100,
    "lr": 1e-3,
    "discriminator_turns": 1,
    "generator": "vanilla.points",
    "discriminator": "vanilla.points",
}
SPECTRAL_POINTS = {
    "precision": "fp32",
    "images": 600_000,
    "batch_size": 100,
    "lr": 1e-3,
    "discriminator_turns": 1,
    "generator": "vanilla.points",
    "discriminator": "vanilla.points-spectral",
}


@hookimpl
def zoo_components() -> Iterable[Component]:
    yield Component(
        kind="recipe",
        name="hinge",
        target=f"{__name__}.hinge:hinge",
        summary="DCGAN with a margin: what is judged with certainty no longer counts (Geometric GAN)",
        paper="arXiv:1705.02894",
        tags=("image", "labels"),
        presets={
            "digits": MINUTES | {"images": 256_000},
            "mnist": MINUTES | {"images": 1_200_000},
            "cifar10": {},
            "ring": POINTS,
            "grid": POINTS,
        },
    )
    yield Component(
        kind="recipe",
        name="sngan",
        target=f"{__name__}.recipe:sngan",
        summary="Hinge loss with a critic whose every layer has spectral norm one",
        paper="arXiv:1802.05957",
        tags=("image", "labels"),
        presets={
            "digits": SPECTRAL | {"images": 256_000},
            "mnist": SPECTRAL | {"images": 1_200_000},
            "cifar10": {},
            "ring": SPECTRAL_POINTS,
            "grid": SPECTRAL_POINTS,
        },
    )
