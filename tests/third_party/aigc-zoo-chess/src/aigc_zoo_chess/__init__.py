"""The manifest of a third-party plugin with a modality of its own."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1


@hookimpl
def zoo_components() -> Iterable[Component]:
    for kind, name, target, summary in (
        ("modality", "position", "position:Position", "Chess positions from .fen files"),
        ("dataset", "endgames", "endgames:endgames", "Random positions of few pieces"),
        ("metric", "kings", "kings:kings", "Fraction of positions with one king of each side"),
    ):
        yield Component(kind=kind, name=name, target=f"{__name__}.{target}", summary=summary)
    yield Component(
        kind="recipe",
        name="chess",
        extends="zoo/gan",
        summary="A dense GAN on chess positions",
        notes="The perceptrons of Goodfellow et al. (2014) without dropout, on one-hot planes.",
        defaults={
            "generator": "zoo/vanilla",
            "discriminator": "zoo/vanilla",
            "discriminator.dropout": 0.0,
            "data": "endgames",
            "batch_size": 64,
            "latent": 32,
            "steps": 400,
            "metrics": "kings",
        },
    )
