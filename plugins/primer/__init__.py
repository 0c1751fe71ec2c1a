"""The introductory model of the article that the zoo grew from: a first convolutional GAN for 28x28 digits."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1

# The article's own network takes days on two cores, a quarter of its width minutes.
MINUTES = {"ema": 0.999, "generator.width": 32}


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
    yield Component(
        kind="recipe",
        name="primer",
        target=f"{__name__}.recipe:primer",
        summary="The introductory GAN for digits: convolutions against a small perceptron",
        tags=("image", "labels", "introductory"),
        presets={
            "digits": MINUTES | {"lr": 2e-4, "discriminator_lr": 1e-4, "images": 256_000},
            "mnist": MINUTES | {"images": 512_000},  # at 2e-4 every sample is black within 500 steps
        },
    )
