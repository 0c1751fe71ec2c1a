"""Networks of an introductory GAN for 28x28 digits: a convolutional generator and a small perceptron."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1

NETWORKS = (
    ("generator", "Dense layer to a quarter of each side, then two 5x5 convolutions with upsampling", "image"),
    ("discriminator", "One hidden ReLU layer of 128 units", "any-shape"),
)


@hookimpl
def zoo_components() -> Iterable[Component]:
    for kind, summary, tag in NETWORKS:
        target, tags = f"{__name__}.networks:{kind}", (tag, "introductory", "labels")
        yield Component(kind=kind, name="primer", target=target, summary=summary, tags=tags)
