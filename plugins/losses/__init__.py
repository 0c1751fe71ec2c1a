"""Adversarial losses, as functions of logits."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1


@hookimpl
def zoo_components() -> Iterable[Component]:
    yield Component(
        kind="loss",
        name="minimax",
        target=f"{__name__}.adversarial:minimax",
        summary="Minimax loss: the generator minimizes log(1 - D(G(z)))",
        paper="arXiv:1406.2661",
        tags=("saturating",),
    )
    yield Component(
        kind="loss",
        name="non-saturating",
        target=f"{__name__}.adversarial:non_saturating",
        summary="Non-saturating loss: the generator maximizes log D(G(z))",
        paper="arXiv:1406.2661",
    )
    yield Component(
        kind="loss",
        name="least-squares",
        target=f"{__name__}.adversarial:least_squares",
        summary="LSGAN: least-squares loss, targets 1 (real) and 0 (fake)",
        paper="arXiv:1611.04076",
    )
    yield Component(
        kind="loss",
        name="wasserstein",
        target=f"{__name__}.adversarial:wasserstein",
        summary="Wasserstein loss: difference of the mean logits",
        paper="arXiv:1701.07875",
    )
    yield Component(
        kind="loss",
        name="hinge",
        target=f"{__name__}.adversarial:hinge",
        summary="Hinge loss with a margin of 1 for the discriminator",
        paper="arXiv:1705.02894",
    )
    yield Component(
        kind="loss",
        name="relativistic",
        target=f"{__name__}.adversarial:relativistic",
        summary="RpGAN: relativistic loss of paired real and fake logits",
        paper="arXiv:1807.00734",
    )
