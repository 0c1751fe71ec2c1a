"""Feature extractors for metrics."""

from collections.abc import Iterator

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1


@hookimpl
def zoo_components() -> Iterator[Component]:
    yield Component(
        kind="extractor",
        name="zoo-grey28",
        target=f"{__name__}.grey28:grey28",
        summary="small convnet for grey 28x28 digits; 128 features; accuracy 99.33 % (MNIST), 99.95 % (digits)",
        tags=("grey", "28x28", "offline"),
    )
    yield Component(
        kind="extractor",
        name="zoo-stacked28",
        target=f"{__name__}.stacked28:stacked28",
        summary="zoo-grey28 on each channel of stacked digits; 384 features, classifies their 1,000 modes",
        tags=("colour", "28x28", "offline"),
        shapes=((3, 28, 28),),
    )
    yield Component(
        kind="extractor",
        name="zoo-rgb32",
        target=f"{__name__}.rgb32:rgb32",
        summary="small convnet for colour 32x32 images; 128 features; accuracy 74.1 % (CIFAR-10 as JPEG)",
        tags=("colour", "32x32", "offline"),
    )
    yield Component(
        kind="extractor",
        name="inception-v3-compat",
        target=f"{__name__}.inception:inception_v3_compat",
        summary="InceptionV3 of torch-fidelity (weights: TensorFlow, 2015) for published comparisons, 2048 features",
        paper="arXiv:1706.08500",
        tags=("colour", "download"),
    )
