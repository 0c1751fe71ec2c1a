"""The introductory model of the article that the zoo grew from: a first convolutional GAN for 28x28 digits."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1


@hookimpl
def zoo_components() -> Iterable[Component]:
    yield Component(
        kind="generator",
        name="primer",
        target=f"{__name__}.networks:generator",
        summary="Dense to a quarter of each side, then two 5x5 convolutions with upsampling",
        tags=("image", "convolutional", "labels"),
    )
    yield Component(
        kind="discriminator",
        name="primer",
        target=f"{__name__}.networks:discriminator",
        summary="One hidden layer of 128 rectifiers",
        tags=("any-shape", "perceptron", "labels"),
    )
