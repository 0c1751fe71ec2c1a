"""inception-v3-compat: InceptionV3 as torch-fidelity has it, for comparisons with published numbers."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from aigc_zoo.errors import ConfigError

# Weights of the TensorFlow graph inception-2015-12-05. The file's name carries the first eight digits of its SHA-256;
# the whole digest is as public projects that pin this file state it.
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
BYTES = 95_628_359
LAYERS = ["2048", "logits_unbiased"]


AT_ONCE = 8
"""Pictures that go through the network together on a CPU: their activations then stay in its cache."""


class Inception(nn.Module):
    """(N, 3 or 1, H, W) uint8 -> features (N, 2048), logits (N, 1008); grey is repeated, the network itself resizes.

    It computes what torch-fidelity's network does in another order: normalisation is folded into the convolutions,
    memory is channels-last, and on a CPU few pictures go through together.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = folded(network).to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
            kind = str(images.dtype).removeprefix("torch.")
            raise ConfigError(
                "inception-v3-compat looks at grey or colour pictures, (N, 1 or 3, H, W) in uint8, not at "
                f"{tuple(images.shape)} in {kind}: choose another extractor with --extractor NAME"
            )
        parts = images.expand(-1, 3, -1, -1).split(AT_ONCE if images.device.type == "cpu" else max(1, len(images)))
        features, logits = (torch.cat(made) for made in zip(*map(self.network, parts), strict=True))
        return {"features": features, "logits": logits}


def folded(network: nn.Module) -> nn.Module:
    """The network with each normalisation folded into the convolution before it, in float64, then rounded once."""
    for block in network.modules():
        if isinstance(getattr(block, "conv", None), nn.Conv2d) and isinstance(block.bn, nn.BatchNorm2d):
            fused = fuse_conv_bn_eval(block.conv.double(), block.bn.double())
            block.conv, block.bn = fused.float(), nn.Identity()
    return network


def inception_v3_compat(weights: Callable[..., Mapping[str, Tensor]]) -> nn.Module:
    """The extractor; `weights` gives the tensors of the published file, checked before they are read."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    return Inception(network(weights(URL_INCEPTION_V3, sha256=SHA256, size=BYTES)))


def network(state: Mapping[str, Tensor]) -> nn.Module:
    """torch-fidelity's network with these tensors.

    Its constructor unpickles a file without restraint (`weights_only=False`). So that no file from outside ever gets
    there, it is given an empty dictionary made here, and the tensors take their places where it loads that.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Network(FeatureExtractorInceptionV3):  # type: ignore[misc]
        def load_state_dict(self, *_: object, **__: object) -> None:
            super().load_state_dict(state, assign=True)

    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    with torch.device("meta"):  # no time and no random number is spent on values that are replaced
        made: nn.Module = Network("inception-v3-compat", LAYERS, feature_extractor_weights_path=nothing)
    return made
