"""zoo-grey28: a small convnet for grey 28x28 digits, for metrics offline and within a second.

FID in its features is called `fid-zoo-grey28`, since its values are not comparable with published FID.
`train_grey28.py` trains the weights, 396 KB. They classify 99.33 % of MNIST's 10,000 test images and 99.95 % of the
2,000 of `digits` correctly; data, seed, versions and date are in the file's metadata.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from .inputs import fits, refusal

FILE = Path(__file__).with_name("zoo-grey28.safetensors")
FEATURES = 128


class Grey28(nn.Module):
    """Four convolutions and global average pooling: (N, 1, 28, 28) -> features (N, 128), logits (N, 10).

    Images are uint8, or float in [-1, 1], through which gradients flow.
    `norm` is the normalization after each convolution in training, which is then folded into the convolutions.
    """

    def __init__(self, norm: type[nn.Module] = nn.Identity) -> None:
        super().__init__()
        plain = norm is nn.Identity
        layers: list[nn.Module] = []
        for inputs, outputs, kernel, stride in ((1, 16, 5, 1), (16, 32, 3, 2), (32, 64, 3, 2), (64, FEATURES, 3, 1)):
            convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=plain)
            layers += [convolution, nn.ReLU()] if plain else [convolution, norm(outputs), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(FEATURES, 10)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        if not fits(images, (1, 28, 28)):
            raise refusal("zoo-grey28 accepts grey 28x28 images, (N, 1, 28, 28)", images)
        features = self.body(images.float() / 255 if images.dtype == torch.uint8 else (images + 1) / 2).mean((2, 3))
        return {"features": features, "logits": self.head(features)}


def grey28() -> nn.Module:
    """The extractor with its shipped weights."""
    with torch.device("meta"):  # skips initialization, which the file replaces, and draws no random numbers
        module = Grey28()
    module.load_state_dict(load_file(FILE), assign=True)
    return module
