"""Differentiable augmentations of images, applied to reals and fakes alike."""

from collections.abc import Iterable
from functools import partial

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1

augmentation = partial(Component, kind="augmentation", tags=("image",))


@hookimpl
def zoo_components() -> Iterable[Component]:
    yield augmentation(name="flip", target=f"{__name__}.images:Flip", summary="Horizontal flip of half of the images")
    summary = "DiffAugment: random color, translation and cutout"
    target = f"{__name__}.images:DiffAugment"
    yield augmentation(name="diffaugment", target=target, summary=summary, paper="arXiv:2006.10738")
