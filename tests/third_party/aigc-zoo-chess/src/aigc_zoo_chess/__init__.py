"""The manifest of a third-party plugin with a modality of its own."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1


@hookimpl
def zoo_components() -> Iterable[Component]:
    yield Component(
        kind="modality",
        name="position",
        target=f"{__name__}.position:Position",
        summary="Chess positions from .fen files",
    )
    yield Component(
        kind="dataset",
        name="endgames",
        target=f"{__name__}.endgames:endgames",
        summary="Random positions of few pieces",
    )
    yield Component(
        kind="metric", name="kings", target=f"{__name__}.kings:kings", summary="Positions with one king of each side"
    )
    yield Component(
        kind="recipe",
        name="chess",
        extends="zoo/gan",
        summary="A dense GAN on chess positions",
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
