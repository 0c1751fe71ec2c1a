"""DCGAN: convolutions with strides, batch normalisation and Adam (Radford, Metz and Chintala, 2015)."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1
PAPER = "arXiv:1511.06434"


@hookimpl
def zoo_components() -> Iterable[Component]:
    yield Component(
        kind="generator",
        name="dcgan",
        target=f"{__name__}.networks:generator",
        summary="Transposed 4x4 convolutions of stride 2 from b x b up; each level halves the channels",
        paper=PAPER,
        tags=("image", "convolutional"),
    )
    yield Component(
        kind="discriminator",
        name="dcgan",
        target=f"{__name__}.networks:discriminator",
        summary="4x4 convolutions of stride 2 down to b x b; each level doubles the channels",
        paper=PAPER,
        tags=("image", "convolutional"),
    )
    yield Component(
        kind="recipe",
        name="dcgan",
        target=f"{__name__}.recipe:dcgan",
        summary="The convolutional GAN that most others start from; the place to begin",
        paper=PAPER,
        tags=("image", "unconditional"),
        presets={
            "digits": {},
            "mnist": {},
            "cifar10": {},
        },
    )
