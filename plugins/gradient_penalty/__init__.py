"""Gradient penalties: terms of the discriminator's loss that penalize the gradient for each sample."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1

# name, function, default weight, summary, paper
PENALTIES = (
    ("gp", "one_centered", 10.0, "WGAN-GP: gradient norm 1 between reals and fakes", "arXiv:1704.00028"),
    ("lp", "one_sided", 10.0, "WGAN-LP: gradient norm at most 1 between reals and fakes", "arXiv:1709.08894"),
    ("dragan", "Dragan", 10.0, "DRAGAN: gradient norm 1 around real samples", "arXiv:1705.07215"),
    ("r1", "r1", 5.0, "R1: zero gradient at reals; the weight is gamma / 2", "arXiv:1801.04406"),
    ("r2", "r2", 5.0, "R2: zero gradient at fakes; the weight is gamma / 2", "arXiv:1801.04406"),
    ("r1r2", "r1r2", 0.5, "R1 + R2: zero gradient at reals and fakes; weight gamma / 2", "arXiv:2501.05441"),
    ("zero-centered", "zero_centered", 10.0, "0-GP: zero gradient between reals and fakes", "arXiv:1902.03984"),
)


@hookimpl
def zoo_components() -> Iterable[Component]:
    for name, function, weight, summary, paper in PENALTIES:
        target, defaults = f"{__name__}.terms:{function}", {"weight": weight}
        yield Component(kind="penalty", name=name, target=target, summary=summary, paper=paper, defaults=defaults)
