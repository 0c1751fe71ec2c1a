"""Moving averages of networks, and how they move."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from aigc_zoo.engine import state


class Follower:
    """`mean`, a copy of `net`, moves towards it: weights and float buffers by a share, counts at once.

    What is to be moved is listed here, once: in every step anew it would cost as much as the moving.
    """

    def __init__(self, mean: nn.Module, net: nn.Module) -> None:
        self._weights = list(zip(mean.parameters(), net.parameters(), strict=True))
        self._buffers = list(zip(state.places(mean), state.places(net), strict=True))

    def follow(self, share: Tensor | float, sound: Callable[[Tensor, Tensor], Tensor]) -> None:
        """mean += share * (net - mean). `sound(mine, other)` is what a buffer may move to, in place of `other`."""
        for mine, theirs in self._weights:
            mine.lerp_(theirs, share)
        for place, other in self._buffers:
            mean, value = place.now, other.now
            if mean.is_floating_point():
                mean.lerp_(sound(mean, value), share)
            else:
                mean.copy_(value)
