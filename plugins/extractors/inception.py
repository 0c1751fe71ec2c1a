"""inception-v3-compat: the InceptionV3 of torch-fidelity, for comparisons with published values."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .inputs import fits, refusal

# Weights of the TensorFlow graph inception-2015-12-05. The file name contains the first eight digits of its SHA-256;
# the full digest is the one that public projects pin.
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
BYTES = 95_628_359
LAYERS = ["2048", "logits_unbiased"]
SIDE = 299
"""Side in pixels to which the network resizes images."""

AT_ONCE = 8
"""Images per forward pass on a CPU: few enough that their activations stay in its cache."""


class Inception(nn.Module):
    """(N, 3 or 1, H, W) -> features (N, 2048), logits (N, 1008); grey is repeated, the network resizes.

    Images are uint8, or float in [-1, 1], through which gradients flow.

    It is the function of torch-fidelity's network computed in another order: normalization is folded into the
    convolutions, memory is channels-last, and on a CPU only a few images are passed at once.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = folded(network).to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        if images.ndim != 4 or images.shape[1] not in (1, 3) or not fits(images, tuple(images.shape[1:])):
            accepts = "inception-v3-compat accepts grey or colour images, (N, 1 or 3, H, W)"
            raise refusal(accepts, images, "choose another extractor with --extractor NAME")
        parts = images.expand(-1, 3, -1, -1).split(AT_ONCE if images.device.type == "cpu" else max(1, len(images)))
        function = self.network if images.dtype == torch.uint8 else self.of_floats
        features, logits = (torch.cat(outputs) for outputs in zip(*map(function, parts), strict=True))
        return {"features": features, "logits": logits}

    def of_floats(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features and logits of floats (N, 3, H, W): the steps of torch-fidelity's network, which takes uint8 only."""
        from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x as resized

        x = (images + 1) * 127.5
        x = (resized(x, size=(SIDE, SIDE), align_corners=False) - 128) / 128
        for name, layer in self.network.named_children():  # in the order of their computation
            x = layer(x) if name != "fc" else x.flatten(1)
        logits: Tensor = x.mm(self.network.fc.weight.T)
        return x, logits


def folded(network: nn.Module) -> nn.Module:
    """Fold each normalization into the preceding convolution, in float64, and round once."""
    for block in network.modules():
        if isinstance(getattr(block, "conv", None), nn.Conv2d) and isinstance(block.bn, nn.BatchNorm2d):
            fused = fuse_conv_bn_eval(block.conv.double(), block.bn.double())
            block.conv, block.bn = fused.float(), nn.Identity()
    return network


def inception_v3_compat(weights: Callable[..., Mapping[str, Tensor]]) -> nn.Module:
    """The extractor; `weights` returns the tensors of the published file, verified before they are read."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    return Inception(network(weights(URL_INCEPTION_V3, sha256=SHA256, size=BYTES)))


def network(state: Mapping[str, Tensor]) -> nn.Module:
    """The network of torch-fidelity with these tensors.

    Its constructor unpickles a file with `weights_only=False`. To keep untrusted files away from it, it is passed an
    empty dictionary written here, and the tensors are assigned where it would load the dictionary.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Network(FeatureExtractorInceptionV3):  # type: ignore[misc]
        def load_state_dict(self, *_: object, **__: object) -> None:
            super().load_state_dict(state, assign=True)

    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    with torch.device("meta"):  # skips initialization, which is replaced, and draws no random numbers
        module: nn.Module = Network("inception-v3-compat", LAYERS, feature_extractor_weights_path=empty)
    return module
