"""Losses between critic and generator, as functions of logits."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1


@hookimpl
def zoo_components() -> Iterable[Component]:
    yield Component(
        kind="loss",
        name="minimax",
        target=f"{__name__}.adversarial:minimax",
        summary="The two-player value itself: the generator lowers log(1 - D(G(z))), which saturates",
        paper="arXiv:1406.2661",
        tags=("saturating",),
    )
    yield Component(
        kind="loss",
        name="non-saturating",
        target=f"{__name__}.adversarial:non_saturating",
        summary="The generator raises log D(G(z)) instead: the same fixed point with a gradient from the start",
        paper="arXiv:1406.2661",
    )
