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
    yield Component(
        kind="loss",
        name="least-squares",
        target=f"{__name__}.adversarial:least_squares",
        summary="Logits are drawn to 1 for reals and 0 for fakes by squares, which never saturate (LSGAN)",
        paper="arXiv:1611.04076",
    )
    yield Component(
        kind="loss",
        name="wasserstein",
        target=f"{__name__}.adversarial:wasserstein",
        summary="The difference of mean scores: a distance, if the critic is kept Lipschitz by a penalty or clipping",
        paper="arXiv:1701.07875",
    )
    yield Component(
        kind="loss",
        name="hinge",
        target=f"{__name__}.adversarial:hinge",
        summary="The critic stops caring beyond a margin of one",
        paper="arXiv:1705.02894",
    )
    yield Component(
        kind="loss",
        name="relativistic",
        target=f"{__name__}.adversarial:relativistic",
        summary="A real is to score higher than the fake it is paired with: no scale to run away on (RpGAN)",
        paper="arXiv:1807.00734",
    )
