"""LSGAN: least squares in place of the cross-entropy (Mao et al., 2017)."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1

# Minutes on two cores: half of DCGAN's width, and a generator three times as fast as its critic.
MINUTES = {
    "lr": 1e-3,
    "discriminator_lr": 3e-4,
    "discriminator_turns": 1,
    "generator": "dcgan.narrow",
    "discriminator": "dcgan.narrow",
}
POINTS = {
    "precision": "fp32",
    "images": 600_000,
    "batch_size": 100,
    "lr": 1e-3,
    "discriminator_turns": 1,
    "generator": "vanilla.points",
    "discriminator": "vanilla.points",
}


@hookimpl
def zoo_components() -> Iterable[Component]:
    yield Component(
        kind="recipe",
        name="lsgan",
        target=f"{__name__}.recipe:lsgan",
        summary="Least squares instead of cross-entropy: fakes that fool the critic are still pulled to the data",
        paper="arXiv:1611.04076",
        tags=("image", "labels"),
        presets={
            "digits": MINUTES | {"images": 256_000},
            "mnist": MINUTES | {"images": 1_200_000},
            "cifar10": {},
            "ring": POINTS,
            "grid": POINTS,
        },
    )
