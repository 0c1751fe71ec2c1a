"""Feature extractors for metrics."""

from collections.abc import Iterator
from functools import partial

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1

GREY = "small convnet for grey 28x28 digits; 128 features; accuracy 99.33 % (MNIST), 99.95 % (digits)"
STACKED = "zoo-grey28 on each channel of stacked digits; 384 features, classifies their 1,000 modes"
COLOR = "small convnet for color 32x32 images; 128 features; accuracy 74.1 % (CIFAR-10 as JPEG)"
INCEPTION = "InceptionV3 of torch-fidelity (weights: TensorFlow, 2015) for published comparisons, 2048 features"

extractor = partial(Component, kind="extractor")


@hookimpl
def zoo_components() -> Iterator[Component]:
    small, here = ("28x28", "offline"), __name__
    target, shapes = f"{here}.grey28:grey28", ((1, 28, 28),)
    yield extractor(name="zoo-grey28", target=target, summary=GREY, tags=("grey", *small), shapes=shapes)
    target, shapes = f"{here}.stacked28:stacked28", ((3, 28, 28),)
    yield extractor(name="zoo-stacked28", target=target, summary=STACKED, tags=("color", *small), shapes=shapes)
    target, tags, shapes = f"{here}.rgb32:rgb32", ("color", "32x32", "offline"), ((3, 32, 32),)
    yield extractor(name="zoo-rgb32", target=target, summary=COLOR, tags=tags, shapes=shapes)
    target, tags = f"{here}.inception:inception_v3_compat", ("color", "download")
    yield extractor(name="inception-v3-compat", target=target, summary=INCEPTION, tags=tags, paper="arXiv:1706.08500")
