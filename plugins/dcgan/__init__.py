"""DCGAN: convolutions with strides, batch normalisation and Adam (Radford, Metz and Chintala, 2015)."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1
PAPER = "arXiv:1511.06434"

# Minutes on two cores: half the paper's width, and a hidden layer at either end of the convolutions: with it, FID at
# 64,000 images of the digits fell to a third.
SMALL = {"width": 32, "dense": 256}


@hookimpl
def zoo_components() -> Iterable[Component]:
    yield Component(
        kind="generator",
        name="dcgan",
        target=f"{__name__}.networks:generator",
        summary="Transposed 4x4 convolutions of stride 2 from b x b up; each level halves the channels",
        paper=PAPER,
        tags=("image", "convolutional", "labels"),
        presets={"small": SMALL, "narrow": {"width": 32}},
    )
    yield Component(
        kind="discriminator",
        name="dcgan",
        target=f"{__name__}.networks:discriminator",
        summary="4x4 convolutions of stride 2 down to b x b; each level doubles the channels",
        paper=PAPER,
        tags=("image", "convolutional", "labels"),
        presets={
            "small": SMALL,
            "narrow": {"width": 32},
            "plain": {"norm": "none"},
            "small-plain": SMALL | {"norm": "none"},
            "spectral": {"norm": "none", "weights": "spectral"},
            "narrow-spectral": {"width": 32, "norm": "none", "weights": "spectral"},
        },
    )
