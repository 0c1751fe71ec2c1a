"""Networks that map images to images, and discriminators that score patches (Isola et al., 2017)."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1

PAPER = "arXiv:1611.07004"
UNET = "Strided convolutions down to a few pixels and up again, with a skip connection at every level; any size"
PATCH = "Strided convolutions to a map of logits, each of which scores one patch of the image; any size"


@hookimpl
def zoo_components() -> Iterable[Component]:
    networks = f"{__name__}.networks"
    tags = ("translator", "image", "convolutional")
    yield Component(
        kind="network", name="unet", target=f"{networks}:unet", summary=UNET, paper=PAPER, tags=tags,
        presets={"narrow": {"width": 32}},
    )  # fmt: skip
    yield Component(
        kind="discriminator", name="patch", target=f"{networks}:patch", summary=PATCH, paper=PAPER, tags=tags[1:],
        presets={"narrow": {"width": 32, "depth": 2}},
    )  # fmt: skip
