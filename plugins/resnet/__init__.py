"""Residual networks of WGAN-GP and SNGAN (Gulrajani et al., 2017; Miyato et al., 2018)."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1


@hookimpl
def zoo_components() -> Iterable[Component]:
    yield Component(
        kind="generator",
        name="resnet",
        target=f"{__name__}.networks:generator",
        summary="Residual blocks that double the sides, all of one width",
        paper="arXiv:1704.00028",
        tags=("image", "convolutional", "residual", "labels"),
    )
    yield Component(
        kind="discriminator",
        name="resnet",
        target=f"{__name__}.networks:discriminator",
        summary="Residual blocks that halve the sides, then two that keep them; sum or mean over what is left",
        paper="arXiv:1802.05957",
        tags=("image", "convolutional", "residual", "labels"),
        presets={"mean": {"pool": "mean"}, "spectral": {"weights": "spectral"}},
    )
