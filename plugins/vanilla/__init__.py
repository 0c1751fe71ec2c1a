"""The first GAN: multilayer perceptrons, for samples of any shape (Goodfellow et al., 2014)."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1
PAPER = "arXiv:1406.2661"
# Two coordinates: dropping some of them, as the paper does with pixels, would hide where a point is.
POINTS = {"width": 64, "dropout": 0.0, "input_dropout": 0.0}


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
        presets={"points": POINTS, "points-spectral": POINTS | {"weights": "spectral"}},
    )
