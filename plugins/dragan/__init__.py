"""DRAGAN: slopes of one around the data (Kodali et al., 2017)."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1

# Minutes on two cores: half of DCGAN's width, and a generator three times as fast as its critic.
MINUTES = {
    "lr": 1e-3,
    "discriminator_lr": 3e-4,
    "generator": "dcgan.narrow",
    "discriminator": "dcgan.small-plain",
}
POINTS = {
    "precision": "fp32",
    "images": 600_000,
    "batch_size": 100,
    "lr": 1e-3,
    "generator": "vanilla.points",
    "discriminator": "vanilla.points",
}


@hookimpl
def zoo_components() -> Iterable[Component]:
    yield Component(
        kind="recipe",
        name="dragan",
        target=f"{__name__}.recipe:dragan",
        summary="The first GAN's loss with a critic of slope one around the data",
        paper="arXiv:1705.07215",
        tags=("image", "labels"),
        presets={
            "digits": MINUTES | {"images": 256_000},
            "mnist": MINUTES | {"images": 1_200_000},
            "cifar10": {},
            "ring": POINTS,
            "grid": POINTS,
        },
    )
