"""zoo-rgb32: a small convnet for colour 32x32 images, for metrics offline and within seconds.

FID in its features is called `fid-zoo-rgb32`, since its values are not comparable with published FID.
`train_rgb32.py` trains the weights; accuracy, data, seed, versions and date are in the file's metadata.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from .inputs import fits, refusal

FILE = Path(__file__).with_name("zoo-rgb32.safetensors")
FEATURES = 128
LAYERS = ((3, 32, 5, 2), (32, 64, 3, 1), (64, 96, 3, 2), (96, FEATURES, 3, 1))


class Rgb32(nn.Module):
    """Four convolutions and global average pooling: (N, 3, 32, 32) -> features (N, 128), logits (N, 10).

    Images are uint8, or float in [-1, 1], through which gradients flow.
    `norm` is the normalization after each convolution in training, which is then folded into the convolutions.
    """

    def __init__(self, norm: type[nn.Module] = nn.Identity) -> None:
        super().__init__()
        plain = norm is nn.Identity
        layers: list[nn.Module] = []
        for inputs, outputs, kernel, stride in LAYERS:
            convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=plain)
            layers += [convolution, nn.ReLU()] if plain else [convolution, norm(outputs), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(FEATURES, 10)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        if not fits(images, (3, 32, 32)):
            raise refusal("zoo-rgb32 accepts colour 32x32 images, (N, 3, 32, 32)", images)
        features = self.body(images.float() / 127.5 - 1 if images.dtype == torch.uint8 else images).mean((2, 3))
        return {"features": features, "logits": self.head(features)}


def rgb32() -> nn.Module:
    """The extractor with its shipped weights."""
    with torch.device("meta"):  # skips initialization, which the file replaces, and draws no random numbers
        module = Rgb32()
    module.load_state_dict(load_file(FILE), assign=True)
    return module
