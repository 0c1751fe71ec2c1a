"""The first GAN: multilayer perceptrons, for samples of any shape (Goodfellow et al., 2014)."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1
PAPER = "arXiv:1406.2661"
# Two coordinates: dropping some of them, as the paper does with pixels, would hide where a point is.
CRITIC = {"width": 64, "dropout": 0.0, "input_dropout": 0.0}
POINTS = {
    "precision": "fp32",
    "images": 600_000,
    "lr": 1e-3,
    "generator": "vanilla.points",
    "discriminator": "vanilla.points",
}


@hookimpl
def zoo_components() -> Iterable[Component]:
    yield Component(
        kind="generator",
        name="vanilla",
        target=f"{__name__}.networks:generator",
        summary="Two hidden layers of rectifiers; any shape of sample",
        paper=PAPER,
        tags=("any-shape", "perceptron", "labels"),
        presets={"points": {"width": 128}},
    )
    yield Component(
        kind="discriminator",
        name="vanilla",
        target=f"{__name__}.networks:discriminator",
        summary="Two hidden layers of maxout units with dropout; any shape of sample",
        paper=PAPER,
        tags=("any-shape", "perceptron", "labels"),
        presets={"points": CRITIC, "points-spectral": CRITIC | {"weights": "spectral"}},
    )
    yield Component(
        kind="recipe",
        name="vanilla",
        target=f"{__name__}.recipe:vanilla",
        summary="The first GAN, of two multilayer perceptrons",
        paper=PAPER,
        tags=("any-shape", "labels"),
        presets={
            "digits": {"images": 600_000},
            "mnist": {},
            "ring": POINTS,
            "grid": POINTS,
        },
    )
