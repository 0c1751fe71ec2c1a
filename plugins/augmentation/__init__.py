"""Differentiable augmentations of images, applied to reals and fakes alike."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1


@hookimpl
def zoo_components() -> Iterable[Component]:
    yield Component(
        kind="augmentation",
        name="flip",
        target=f"{__name__}.images:Flip",
        summary="Horizontal flip of half of the images",
        tags=("image",),
    )
    yield Component(
        kind="augmentation",
        name="diffaugment",
        target=f"{__name__}.images:DiffAugment",
        summary="DiffAugment: random color, translation and cutout",
        paper="arXiv:2006.10738",
        tags=("image",),
    )
