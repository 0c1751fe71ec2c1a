"""Augmentations of images, differentiable, applied alike to reals and fakes."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1


@hookimpl
def zoo_components() -> Iterable[Component]:
    yield Component(
        kind="augmentation",
        name="flip",
        target=f"{__name__}.images:Flip",
        summary="Half of the images mirrored, left to right",
        tags=("image",),
    )
    yield Component(
        kind="augmentation",
        name="diffaugment",
        target=f"{__name__}.images:DiffAugment",
        summary="Colour, translation and cutout, so that a critic cannot learn few images by heart",
        paper="arXiv:2006.10738",
        tags=("image",),
    )
