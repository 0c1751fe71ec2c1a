"""Named datasets: synthetic ones, and published ones that are read from files or downloaded."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1

COLLAPSE = "2-D Gaussians {}, which make mode collapse visible in a plot"
STACKED = "60,000 28x28 color images with {} digit in each channel: 1,000 modes to count"
FASHION = "Fashion-MNIST: 60,000 + 10,000 grey 28x28 images of clothes in ten classes"
MNIST = "MNIST: 60,000 + 10,000 grey 28x28 handwritten digits (LeCun, Cortes and Burges, 1998)"
CIFAR = "CIFAR-10: 50,000 + 10,000 32x32 color images in ten classes (Krizhevsky, 2009)"
DIGITS = "14,000 labelled 28x28 grey synthetic digits, drawn in a second without a download"
EDGES = "Pairs: edges of the synthetic digits, and the digits in random stripes of two tints"
GREY = "Pairs: grey values of CIFAR-10's images, and the images in color"
# name, target, summary, what a sample is, where it comes from, paper
DATASETS = (
    ("digits", "digits:digits", DIGITS, "image", "offline", ""),
    ("ring", "points:ring", f"Eight {COLLAPSE.format('on a circle')}", "points", "offline", ""),
    ("grid", "points:grid", f"Twenty-five {COLLAPSE.format('on a 5x5 grid')}", "points", "offline", ""),
    ("stacked-digits", "stacked:stacked_digits", STACKED.format("a synthetic"), "image", "offline", "arXiv:1611.02163"),
    ("stacked-mnist", "stacked:stacked_mnist", STACKED.format("an MNIST"), "image", "download", "arXiv:1611.02163"),
    ("mnist", "mnist:mnist", MNIST, "image", "download", ""),
    ("fashion-mnist", "mnist:fashion_mnist", FASHION, "image", "download", "arXiv:1708.07747"),
    ("cifar10", "cifar:cifar10", CIFAR, "image", "download", ""),
    ("digits-edges", "edges:digits_edges", EDGES, "image", "offline", ""),
    ("grey-cifar", "edges:grey_cifar", GREY, "image", "download", ""),
)

MORE_TAGS = {"stacked-mnist": ("mnist-files",), "digits-edges": ("pairs",), "grey-cifar": ("pairs",)}


@hookimpl
def zoo_components() -> Iterable[Component]:
    for name, target, summary, sample, origin, paper in DATASETS:
        names = {"kind": "dataset", "name": name, "target": f"{__name__}.{target}"}
        tags = (sample, "labels", origin, *MORE_TAGS.get(name, ()))
        yield Component(**names, summary=summary, paper=paper, tags=tags)
