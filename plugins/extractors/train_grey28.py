"""Trains the weights of zoo-grey28: `python -m aigc_zoo_plugins.extractors.train_grey28 --out FILE`.

The classifier is trained on MNIST and the drawn digits together, shifted by up to two pixels, half of them with noise.
Without noise in training, faint noise in samples would give a larger distance than a generator that repeats ten images
(noise of 20 of 255 grey levels: 62; ten repeated MNIST images: 39; with noise in training 0.6 and 39). The same seed
and number of threads give the same weights, in a few minutes on one core. MNIST is located as by the dataset `mnist`.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points, version
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from aigc_zoo.data import resolve
from aigc_zoo.data.cache import cache_folder
from aigc_zoo.game import Samples
from aigc_zoo.spec import GROUP

from .grey28 import Grey28

SEED = 2014
BATCH = 128
EPOCHS = 6
SHIFT = 2
NOISE = 48
TOTAL_VARIANCE = 100.0
"""Total variance of the features over the training images. It sets the scale of FID: a generator that repeats one image
with average features has about this value."""


def main(
    arguments: Sequence[str] | None = None,
    *,
    network: type[nn.Module] = Grey28,
    data: Sequence[str] = ("mnist", "digits"),
    epochs: int = EPOCHS,
    augment: Callable[[Tensor], Tensor] | None = None,
    noise: float = NOISE,
    seed: int = SEED,
    about: str = __doc__,
) -> None:
    """Train `network` and write its weights file; the keyword parameters are the defaults of the command line."""
    parser = _parser(about, data, epochs, noise, seed)
    given = parser.parse_args(arguments)

    threads = torch.get_num_threads()
    torch.set_num_threads(given.threads)
    try:
        splits = {Path(name).stem: dataset(name) for name in given.data}
        train = [limited(split["train"], given.limit) for split in splits.values()]
        images, labels = (torch.cat(parts) for parts in zip(*train, strict=True))
        started = time.perf_counter()
        module = fit(
            images, labels, epochs=given.epochs, seed=given.seed, network=network, augment=augment, noise=given.noise
        )
        seconds = time.perf_counter() - started
        metadata = {
            "accuracy": " ".join(
                f"{name}={accuracy(module, *limited(split['test'], given.limit)):.4f}" for name, split in splits.items()
            ),
            "data": " ".join(f"{name}/train={split['train'].digest}" for name, split in splits.items()),
            "settings": f"seed={given.seed} epochs={given.epochs} batch={BATCH} noise={given.noise:g} "
            f"threads={given.threads}",
            "versions": f"aigc-zoo={version('aigc-zoo')} torch={version('torch')} python={platform.python_version()}",
            "date": datetime.date.today().isoformat(),
        }
    finally:
        torch.set_num_threads(threads)
    given.out.write_bytes(save({name: value.contiguous() for name, value in module.state_dict().items()}, metadata))
    print(f"{given.out}: {given.out.stat().st_size} bytes, {seconds:.0f} s, accuracy {metadata['accuracy']}")  # noqa: T201


def _parser(about: str, data: Sequence[str], epochs: int, noise: float, seed: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the safetensors file to write")
    parser.add_argument("--data", nargs="+", default=[*data], help="datasets or paths, for training and test")
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--limit", type=int, help="maximum number of images of each split, for a trial")
    parser.add_argument(
        "--noise", type=float, default=noise, help="maximum standard deviation of the noise, in grey levels"
    )
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument(
        "--threads", type=int, default=1, help="number of threads; it affects the weights, as the seed does"
    )
    return parser


def dataset(name: str) -> Mapping[str, Samples]:
    """The splits of a path, or of a first-party dataset found by its entry point: plugins do not import each other."""
    if Path(name).exists():
        return resolve.load_path(Path(name))
    for point in entry_points(group=GROUP, name="datasets"):
        if point.dist is None or point.dist.name != "aigc-zoo":
            continue
        for component in point.load().zoo_components():
            if (component.kind, component.name) == ("dataset", name):
                module, _, function = component.target.partition(":")
                data = Path(os.environ["ZOO_DATA"]) / name if os.environ.get("ZOO_DATA") else None
                directory = data if data is not None and data.is_dir() else cache_folder() / "data" / name
                splits: Mapping[str, Samples] = getattr(importlib.import_module(module), function)(directory)
                return splits
    raise SystemExit(f"no dataset {name} is installed")


def limited(samples: Samples, limit: int | None) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 28, 28) uint8 and labels (N,) int64, at most `limit` of them."""
    return samples.fields["real"][:limit], samples.fields["label"][:limit]


def fit(
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    seed: int,
    network: type[nn.Module] = Grey28,
    augment: Callable[[Tensor], Tensor] | None = None,
    noise: float = NOISE,
) -> nn.Module:
    """Train the classifier, fold its normalization into the convolutions and scale its features.

    `network(norm)` has a `body` of convolutions, each followed by norm and ReLU, and a linear `head` on its mean.
    """
    augment = augment or shifted
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = network(nn.BatchNorm2d).to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(module.parameters(), weight_decay=1e-2)
        steps = len(images) // BATCH
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=epochs * steps)
        for _ in range(epochs):
            order = torch.randperm(len(images))
            for step in range(steps):
                rows = order[step * BATCH : (step + 1) * BATCH]
                logits = module(noised(augment(images[rows]), noise))["logits"]
                loss = nn.functional.cross_entropy(logits, labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                scheduler.step()
        return scaled(folded(module.eval()), images)


def shifted(images: Tensor) -> Tensor:
    """Shift each image (C, H, W) by up to SHIFT pixels in both directions, with black padding."""
    n, channels, height, width = images.shape
    padded = nn.functional.pad(images, [SHIFT] * 4)
    down, right = torch.randint(0, 2 * SHIFT + 1, (2, n, 1))
    rows = (torch.arange(height) + down)[:, None, :, None]
    columns = (torch.arange(width) + right)[:, None, None, :]
    image, channel = torch.arange(n)[:, None, None, None], torch.arange(channels)[None, :, None, None]
    return padded[image, channel, rows, columns]


def noised(images: Tensor, most: float = NOISE) -> Tensor:
    """Add normal noise to half of the images, with a standard deviation between 0 and `most` grey levels for each."""
    strength = (2 * torch.rand(len(images), 1, 1, 1) - 1).clamp(min=0) * most
    return (images + strength * torch.randn(images.shape)).round().clamp(0, 255).to(torch.uint8)


def folded(module: nn.Module) -> nn.Module:
    """The same function without normalization layers."""
    plain = type(module)()
    layers = list(module.body)
    for target, (convolution, norm) in zip(plain.body[::2], zip(layers[::3], layers[1::3], strict=True), strict=True):
        target.load_state_dict(fuse_conv_bn_eval(convolution, norm).state_dict())
    plain.head.load_state_dict(module.head.state_dict())
    return plain.eval()


@torch.no_grad()
def scaled(module: nn.Module, images: Tensor) -> nn.Module:
    """Scale the features so that their variances over `images` sum to TOTAL_VARIANCE; the logits do not change."""
    features = torch.cat([module(chunk)["features"] for chunk in images.split(500)]).double()
    factor = (TOTAL_VARIANCE / features.var(0).sum()).sqrt().item()
    last = module.body[-2]
    last.weight.mul_(factor)
    last.bias.mul_(factor)
    module.head.weight.div_(factor)
    return module


@torch.no_grad()
def accuracy(module: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Fraction of images whose largest logit is that of their label."""
    hits = [
        module(chunk)["logits"].argmax(1) == part
        for chunk, part in zip(images.split(500), labels.split(500), strict=True)
    ]
    return torch.cat(hits).double().mean().item()


if __name__ == "__main__":
    main()
