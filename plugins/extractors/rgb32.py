"""zoo-rgb32: a small convnet for colour 32x32 pictures, so that samples are judged offline and in seconds.

Its Frechet distance is `fid-zoo-rgb32`, never plain FID: numbers compare with each other, not with published ones.
`train_rgb32.py` made the weights; accuracy, data, seed, versions and date are in the file's metadata.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from aigc_zoo.errors import ConfigError

FILE = Path(__file__).with_name("zoo-rgb32.safetensors")
FEATURES = 128
LAYERS = ((3, 32, 5, 2), (32, 64, 3, 1), (64, 96, 3, 2), (96, FEATURES, 3, 1))


class Rgb32(nn.Module):
    """Four convolutions, then the mean over the picture: (N, 3, 32, 32) uint8 -> features (N, 128), logits (N, 10).

    `norm` makes what follows each convolution while training; afterwards it is folded into the convolutions.
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
        if images.dtype != torch.uint8 or tuple(images.shape[1:]) != (3, 32, 32):
            kind = str(images.dtype).removeprefix("torch.")
            raise ConfigError(
                f"zoo-rgb32 looks at colour 32x32 pictures, (N, 3, 32, 32) in uint8, not at {tuple(images.shape)} in "
                f"{kind}: choose another extractor, as in --extractor inception-v3-compat"
            )
        features = self.body(images.float() / 127.5 - 1).mean((2, 3))
        return {"features": features, "logits": self.head(features)}


def rgb32() -> nn.Module:
    """The extractor with the weights that are shipped with it."""
    with torch.device("meta"):  # nothing is initialised that the file replaces, and no random number is drawn
        module = Rgb32()
    module.load_state_dict(load_file(FILE), assign=True)
    return module
