"""Images and extractors for the tests of metrics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from aigc_zoo.data.samples import image_samples
from aigc_zoo.game import Samples
from aigc_zoo.metrics.features import Extractor, load_extractor
from aigc_zoo.plugins import catalogue
from aigc_zoo.random import generator
from aigc_zoo_plugins.datasets.digits import draw

MakeSamples = Callable[..., Samples]


@pytest.fixture(scope="session")
def digits() -> tuple[Tensor, Tensor]:
    """1,200 of the zoo's drawn digits (N, 1, 28, 28) uint8 and their labels, with a seed that no split has."""
    images, labels = draw(1_200, seed=77)
    return torch.from_numpy(images), torch.from_numpy(labels)


@pytest.fixture(scope="session")
def grey28() -> Extractor:
    return load_extractor(catalogue(), "zoo-grey28")


class Tiny(nn.Module):
    """Eight features of 4x4 images: a fixed linear map of the pixels."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randn(16, 8, generator=generator("tiny", seed)))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        if images.shape[1:] != (1, 4, 4):
            raise ValueError("only 4x4")
        return {"features": images.flatten(1).float() / 255 @ self.weight}


def tiny_extractor(seed: int = 0, versions: dict[str, str] | None = None) -> Extractor:
    return Extractor(
        id="zoo/tiny",
        name="tiny",
        module=Tiny(seed),
        digest=f"digest-{seed}",
        device=torch.device("cpu"),
        versions=versions or {"torch": "1"},
    )


def tiny_samples(n: int = 200, *, split: str = "train", seed: int = 0, name: str = "squares") -> Samples:
    """`n` random 4x4 images."""
    images = torch.randint(0, 256, (n, 1, 4, 4), dtype=torch.uint8, generator=generator("squares", seed))
    return image_samples(name, split, images)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache directory for one test."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of InceptionV3 in the format of the published file, whose features differ between images.

    The running statistics are those of a few images: without them the outputs after fifty layers are all alike, and the
    metrics would measure the rounding of the last bit.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Unloaded(FeatureExtractorInceptionV3):  # type: ignore[misc]
        def load_state_dict(self, *_: object, **__: object) -> None:
            """Load nothing: only the layers are needed."""

    path = tmp_path_factory.mktemp("inception") / "random.pth"
    torch.save({}, path)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(3)
        network = Unloaded("random", ["2048"], feature_extractor_weights_path=path)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        network.train()
        network(torch.randint(0, 256, (6, 3, 24, 24), dtype=torch.uint8))
        for module in network.Mixed_7c.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.fill_(0.06)  # distances as large as those of the published network
    torch.save(network.state_dict(), path)
    return path
