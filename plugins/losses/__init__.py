"""Adversarial losses, as functions of logits."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1

# name, summary, paper; the target has the name of the loss, with underscores
LOSSES = (
    ("minimax", "Minimax loss: the generator minimizes log(1 - D(G(z)))", "arXiv:1406.2661"),
    ("non-saturating", "Non-saturating loss: the generator maximizes log D(G(z))", "arXiv:1406.2661"),
    ("least-squares", "LSGAN: least-squares loss, targets 1 (real) and 0 (fake)", "arXiv:1611.04076"),
    ("wasserstein", "Wasserstein loss: difference of the mean logits", "arXiv:1701.07875"),
    ("hinge", "Hinge loss with a margin of 1 for the discriminator", "arXiv:1705.02894"),
    ("relativistic", "RpGAN: relativistic loss of paired real and fake logits", "arXiv:1807.00734"),
)


@hookimpl
def zoo_components() -> Iterable[Component]:
    for name, summary, paper in LOSSES:
        target = f"{__name__}.adversarial:{name.replace('-', '_')}"
        yield Component(kind="loss", name=name, target=target, summary=summary, paper=paper)
