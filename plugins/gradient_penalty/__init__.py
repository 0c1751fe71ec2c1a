"""Gradient penalties: terms of the discriminator's loss that penalize the gradient for each sample."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1

# name, function, default weight, summary, paper
PENALTIES = (
    ("gp", "one_centered", 10.0, "Gradient norm of 1 between reals and fakes (WGAN-GP)", "arXiv:1704.00028"),
    ("lp", "one_sided", 10.0, "Gradient norm of at most 1 between reals and fakes (WGAN-LP)", "arXiv:1709.08894"),
    ("dragan", "Dragan", 10.0, "Gradient norm of 1 near real samples (DRAGAN)", "arXiv:1705.07215"),
    ("r1", "r1", 5.0, "Zero gradient at real samples; the weight is half of the papers' gamma", "arXiv:1801.04406"),
    ("r2", "r2", 5.0, "Zero gradient at fake samples; the weight is half of the papers' gamma", "arXiv:1801.04406"),
    ("r1r2", "r1r2", 0.5, "Zero gradient at reals and fakes; the weight is half of R3GAN's gamma", "arXiv:2501.05441"),
    ("zero-centered", "zero_centered", 10.0, "Zero gradient between reals and fakes (0-GP)", "arXiv:1902.03984"),
)


@hookimpl
def zoo_components() -> Iterable[Component]:
    for name, function, weight, summary, paper in PENALTIES:
        yield Component(
            kind="penalty",
            name=name,
            target=f"{__name__}.terms:{function}",
            summary=summary,
            paper=paper,
            presets={"default": {"weight": weight}},
        )
