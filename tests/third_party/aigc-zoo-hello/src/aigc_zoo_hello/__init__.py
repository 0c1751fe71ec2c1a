"""The manifest of a third-party plugin."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1


@hookimpl
def zoo_components() -> Iterable[Component]:
    yield Component(
        kind="generator",
        name="tiny",
        target=f"{__name__}.networks:tiny",
        summary="Generator with one hidden layer, for samples of any shape",
    )
    yield Component(
        kind="recipe",
        name="hello",
        target=f"{__name__}.recipe:hello",
        summary="A small third-party GAN",
        tags=("any-shape",),
        presets={"wide": {"generator.width": 128}},
    )
