"""DCGAN: convolutions with strides, batch normalisation and Adam (Radford, Metz and Chintala, 2015)."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1
PAPER = "arXiv:1511.06434"

# Minutes on two cores: half the paper's width, a hidden layer at either end of the convolutions (with it, FID at 64,000
# images of the digits fell to a third), and a generator three times as fast as its critic.
SMALL = {
    "batch_size": 64,
    "lr": 1e-3,
    "critic_lr": 3e-4,
    "generator.width": 32,
    "generator.dense": 256,
    "discriminator.width": 32,
    "discriminator.dense": 256,
}


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
            "digits": SMALL | {"images": 256_000},
            "mnist": SMALL | {"images": 1_200_000},
            "cifar10": {"images": 12_800_000},
        },
    )
