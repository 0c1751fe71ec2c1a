"""R3GAN's objective: paired relativistic loss with R1 and R2 (Huang et al., 2024)."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1

# Minutes on two cores, where the paper's residual networks take 23 s a step.
MINUTES = {"lr": 1e-3, "batch_size": 64, "generator": "dcgan.small", "discriminator": "dcgan.small-plain"}
# A weight fit for coordinates of size one.
POINTS = {
    "precision": "fp32",
    "images": 600_000,
    "batch_size": 100,
    "lr": 1e-3,
    "penalty.r1r2.weight": 0.05,
    "generator": "vanilla.points",
    "discriminator": "vanilla.points",
}


@hookimpl
def zoo_components() -> Iterable[Component]:
    yield Component(
        kind="recipe",
        name="rpgan-r1r2",
        target=f"{__name__}.recipe:rpgan_r1r2",
        summary="R3GAN's objective on residual networks: paired relativistic loss, R1 and R2",
        paper="arXiv:2501.05441",
        tags=("image", "labels"),
        presets={
            "digits": MINUTES | {"images": 256_000},
            "mnist": MINUTES | {"images": 1_200_000},
            "cifar10": {},
            "ring": POINTS,
            "grid": POINTS,
        },
    )
