"""R1: the penalty at the reals that makes training converge (Mescheder et al., 2018)."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1

# Minutes on two cores: half of DCGAN's width. At 1e-3 for both, FID at 64,000 images of MNIST was half of what it was
# with a critic at 3e-4, as batch normalisation in the critic wants it.
MINUTES = {
    "lr": 1e-3,
    "generator": "dcgan.small",
    "discriminator": "dcgan.small-plain",
}
# A weight fit for coordinates of size one.
POINTS = {
    "precision": "fp32",
    "images": 600_000,
    "batch_size": 100,
    "lr": 1e-3,
    "penalty.r1.weight": 0.5,
    "generator": "vanilla.points",
    "discriminator": "vanilla.points",
}


@hookimpl
def zoo_components() -> Iterable[Component]:
    yield Component(
        kind="recipe",
        name="dcgan-r1",
        target=f"{__name__}.recipe:dcgan_r1",
        summary="DCGAN without batch normalisation in the critic, held flat at the reals",
        paper="arXiv:1801.04406",
        tags=("image", "labels"),
        presets={
            "digits": MINUTES | {"images": 256_000},
            "mnist": MINUTES | {"images": 1_200_000},
            "cifar10": {},
            "ring": POINTS,
            "grid": POINTS,
        },
    )
