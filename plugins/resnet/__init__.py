"""Residual networks of WGAN-GP and SNGAN (Gulrajani et al., 2017; Miyato et al., 2018)."""

from collections.abc import Iterable
from functools import partial

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1

network = partial(Component, name="resnet", tags=("image", "convolutional", "residual", "labels"))


@hookimpl
def zoo_components() -> Iterable[Component]:
    summary = "Residual blocks of one width that double the sides"
    yield network(kind="generator", target=f"{__name__}.networks:generator", summary=summary, paper="arXiv:1704.00028")
    yield network(
        kind="discriminator",
        target=f"{__name__}.networks:discriminator",
        summary="Residual blocks that halve the sides, two that keep them, then sum or mean pooling",
        paper="arXiv:1802.05957",
        presets={"mean": {"pool": "mean"}, "spectral": {"weights": "spectral"}},
    )
