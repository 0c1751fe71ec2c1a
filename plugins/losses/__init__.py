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
        summary="Minimax loss: the generator minimizes log(1 - D(G(z))), which saturates",
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
        summary="Least-squares loss with targets 1 for reals and 0 for fakes (LSGAN)",
        paper="arXiv:1611.04076",
    )
    yield Component(
        kind="loss",
        name="wasserstein",
        target=f"{__name__}.adversarial:wasserstein",
        summary="Wasserstein loss: difference of mean logits, for a Lipschitz discriminator",
        paper="arXiv:1701.07875",
    )
    yield Component(
        kind="loss",
        name="hinge",
        target=f"{__name__}.adversarial:hinge",
        summary="Hinge loss: the discriminator's loss is zero beyond a margin of 1",
        paper="arXiv:1705.02894",
    )
    yield Component(
        kind="loss",
        name="relativistic",
        target=f"{__name__}.adversarial:relativistic",
        summary="Relativistic loss of paired real and fake logits (RpGAN)",
        paper="arXiv:1807.00734",
    )
