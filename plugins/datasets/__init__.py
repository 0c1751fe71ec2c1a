"""Data sets by name: drawn here, or read from where they are."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1


@hookimpl
def zoo_components() -> Iterable[Component]:
    yield Component(
        kind="dataset",
        name="digits",
        target=f"{__name__}.digits:digits",
        summary="14,000 labelled grey 28x28 digits, drawn by the zoo itself in a second; needs no download",
        tags=("image", "labels", "offline"),
    )
    yield Component(
        kind="dataset",
        name="ring",
        target=f"{__name__}.points:ring",
        summary="Eight Gaussians on a circle: dropped modes can be seen with the naked eye",
        tags=("points", "labels", "offline"),
    )
    yield Component(
        kind="dataset",
        name="grid",
        target=f"{__name__}.points:grid",
        summary="Twenty-five Gaussians on a 5x5 grid: dropped modes can be seen with the naked eye",
        tags=("points", "labels", "offline"),
    )
    yield Component(
        kind="dataset",
        name="stacked-digits",
        target=f"{__name__}.stacked:stacked_digits",
        summary="60,000 colour 28x28 pictures, a drawn digit in each channel: a thousand modes to count",
        paper="arXiv:1611.02163",
        tags=("image", "labels", "offline"),
    )
    yield Component(
        kind="dataset",
        name="stacked-mnist",
        target=f"{__name__}.stacked:stacked_mnist",
        summary="60,000 colour 28x28 pictures, a digit of MNIST in each channel: a thousand modes to count",
        paper="arXiv:1611.02163",
        tags=("image", "labels", "download"),
    )
    yield Component(
        kind="dataset",
        name="mnist",
        target=f"{__name__}.mnist:mnist",
        summary="60,000 + 10,000 grey 28x28 handwritten digits of LeCun, Cortes and Burges",
        tags=("image", "labels", "download"),
    )
    yield Component(
        kind="dataset",
        name="fashion-mnist",
        target=f"{__name__}.mnist:fashion_mnist",
        summary="60,000 + 10,000 grey 28x28 pictures of clothes in ten classes",
        paper="arXiv:1708.07747",
        tags=("image", "labels", "download"),
    )
    yield Component(
        kind="dataset",
        name="cifar10",
        target=f"{__name__}.cifar:cifar10",
        summary="50,000 + 10,000 colour 32x32 pictures in ten classes (Krizhevsky, 2009)",
        tags=("image", "labels", "download"),
    )
