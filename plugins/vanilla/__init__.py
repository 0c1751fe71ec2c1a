"""Networks of the first GAN: multilayer perceptrons, for samples of any shape (Goodfellow et al., 2014)."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1

TAGS = ("any-shape", "perceptron", "labels")
# Dropping one of two coordinates, as the paper drops pixels, would hide where a point is.
POINTS = {"width": 64, "dropout": 0.0, "input_dropout": 0.0}
NETWORKS = (
    ("generator", "Two hidden ReLU layers; any shape of sample", {"points": {"width": 128}}),
    (
        "discriminator",
        "Two hidden maxout layers with dropout; any shape of sample",
        {"points": POINTS, "points-spectral": POINTS | {"weights": "spectral"}},
    ),
)


@hookimpl
def zoo_components() -> Iterable[Component]:
    for kind, summary, presets in NETWORKS:
        names = {"kind": kind, "name": "vanilla", "target": f"{__name__}.networks:{kind}"}
        yield Component(**names, summary=summary, paper="arXiv:1406.2661", tags=TAGS, presets=presets)
