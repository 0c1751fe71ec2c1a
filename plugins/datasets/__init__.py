"""Named datasets: synthetic ones, and published ones that are read from files or downloaded."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1


@hookimpl
def zoo_components() -> Iterable[Component]:
    yield Component(
        kind="dataset",
        name="digits",
        target=f"{__name__}.digits:digits",
        summary="14,000 labelled 28x28 grey synthetic digits, drawn in a second without a download",
        tags=("image", "labels", "offline"),
    )
    yield Component(
        kind="dataset",
        name="ring",
        target=f"{__name__}.points:ring",
        summary="Eight 2-D Gaussians on a circle, which make mode collapse visible in a plot",
        tags=("points", "labels", "offline"),
    )
    yield Component(
        kind="dataset",
        name="grid",
        target=f"{__name__}.points:grid",
        summary="Twenty-five 2-D Gaussians on a 5x5 grid, which make mode collapse visible in a plot",
        tags=("points", "labels", "offline"),
    )
    yield Component(
        kind="dataset",
        name="stacked-digits",
        target=f"{__name__}.stacked:stacked_digits",
        summary="60,000 28x28 color images with a synthetic digit in each channel: 1,000 modes to count",
        paper="arXiv:1611.02163",
        tags=("image", "labels", "offline"),
    )
    yield Component(
        kind="dataset",
        name="stacked-mnist",
        target=f"{__name__}.stacked:stacked_mnist",
        summary="60,000 28x28 color images with an MNIST digit in each channel: 1,000 modes to count",
        paper="arXiv:1611.02163",
        tags=("image", "labels", "download"),
    )
    yield Component(
        kind="dataset",
        name="mnist",
        target=f"{__name__}.mnist:mnist",
        summary="MNIST: 60,000 + 10,000 grey 28x28 handwritten digits (LeCun, Cortes and Burges, 1998)",
        tags=("image", "labels", "download"),
    )
    yield Component(
        kind="dataset",
        name="fashion-mnist",
        target=f"{__name__}.mnist:fashion_mnist",
        summary="Fashion-MNIST: 60,000 + 10,000 grey 28x28 images of clothes in ten classes",
        paper="arXiv:1708.07747",
        tags=("image", "labels", "download"),
    )
    yield Component(
        kind="dataset",
        name="cifar10",
        target=f"{__name__}.cifar:cifar10",
        summary="CIFAR-10: 50,000 + 10,000 32x32 color images in ten classes (Krizhevsky, 2009)",
        tags=("image", "labels", "download"),
    )
