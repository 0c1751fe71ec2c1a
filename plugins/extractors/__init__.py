"""Feature extractors for metrics."""

from collections.abc import Iterator
from functools import partial

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1

GREY = "small convnet for grey 28x28 digits; 128 features; accuracy 99.33 % (MNIST), 99.95 % (digits)"
STACKED = "zoo-grey28 on each channel of stacked digits; 384 features, classifies their 1,000 modes"
COLOR = "small convnet for color 32x32 images; 128 features; accuracy 74.1 % (CIFAR-10 as JPEG)"
INCEPTION = "InceptionV3 of torch-fidelity (weights: TensorFlow, 2015) for published comparisons, 2048 features"
PIXELS = "Averages of pixels on a grid of 8x8, for metrics of images of any kind that need no network"
POINTS = "The coordinates of points"

# The classes of the logits, under the names that the datasets which they were trained on have for them.
DIGITS = tuple(str(digit) for digit in range(10))
NUMBERS = tuple(f"{number:03}" for number in range(1_000))
CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

extractor = partial(Component, kind="extractor", modality="image")


@hookimpl
def zoo_components() -> Iterator[Component]:
    small, here = ("28x28", "offline"), __name__
    target, tags = f"{here}.grey28:grey28", ("grey", *small)
    more = {"shapes": ((1, 28, 28),), "classes": DIGITS}
    yield extractor(name="zoo-grey28", target=target, summary=GREY, tags=tags, **more)
    target, more = f"{here}.stacked28:stacked28", {"shapes": ((3, 28, 28),), "classes": NUMBERS}
    yield extractor(name="zoo-stacked28", target=target, summary=STACKED, tags=("color", *small), **more)
    target, tags = f"{here}.rgb32:rgb32", ("color", "32x32", "offline")
    more = {"shapes": ((3, 32, 32),), "classes": CIFAR}
    yield extractor(name="zoo-rgb32", target=target, summary=COLOR, tags=tags, **more)
    target, tags = f"{here}.inception:inception_v3_compat", ("color", "any-size", "download")
    more = {"shapes": ((3, 299, 299), (1, 299, 299)), "paper": "arXiv:1706.08500"}
    yield extractor(name="inception-v3-compat", target=target, summary=INCEPTION, tags=tags, **more)
    target, tags = f"{here}.plain:pixels", ("coarse", "any-size", "offline")
    more = {"shapes": ((1, 28, 28), (3, 32, 32), (4, 32, 32))}
    yield extractor(name="pixels", target=target, summary=PIXELS, tags=tags, **more)
    target, more = f"{here}.plain:points", {"shapes": ((2,),), "modality": "points"}
    yield extractor(name="points", target=target, summary=POINTS, tags=("offline",), **more)
