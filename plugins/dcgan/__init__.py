"""Networks of DCGAN: strided convolutions with batch normalization (Radford, Metz and Chintala, 2015)."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1

TAGS, PAPER = ("image", "convolutional", "labels"), "arXiv:1511.06434"
NARROW, PLAIN, SPECTRAL = {"width": 32}, {"norm": "none"}, {"norm": "none", "weights": "spectral"}
SMALL = NARROW | {"dense": 256}  # with a hidden layer at either end FID at 64,000 images of the digits fell to a third
NETWORKS = (
    (
        "generator",
        "Transposed 4x4 convolutions of stride 2 from b x b up; each level halves the channels",
        {"small": SMALL, "narrow": NARROW},
    ),
    (
        "discriminator",
        "4x4 convolutions of stride 2 down to b x b; each level doubles the channels",
        {"small": SMALL, "narrow": NARROW, "plain": PLAIN, "small-plain": SMALL | PLAIN, "spectral": SPECTRAL}
        | {"narrow-spectral": NARROW | SPECTRAL},
    ),
)


@hookimpl
def zoo_components() -> Iterable[Component]:
    for kind, summary, presets in NETWORKS:
        names = {"kind": kind, "name": "dcgan", "target": f"{__name__}.networks:{kind}"}
        yield Component(**names, summary=summary, paper=PAPER, tags=TAGS, presets=presets)
