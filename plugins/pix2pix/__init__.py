"""pix2pix: paired image-to-image translation (Isola et al., 2017)."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1

NOTES = """Differs from the paper in two choices, which options undo: instance instead of batch normalization, because
batch statistics at a batch size of 1 are instance statistics and running averages blur results (junyanz/
pytorch-CycleGAN-and-pix2pix issues 336 and 555), and resizing before convolutions instead of transposed ones, which
leave a checkerboard (issues 64 and 190). Noise enters by dropout, while training only: a source has one translation."""
SMALL = {
    "generator": "unet.narrow",
    "discriminator": "patch.narrow",
    "batch_size": 16,
    "steps": 5_000,
}


@hookimpl
def zoo_components() -> Iterable[Component]:
    yield Component(
        kind="recipe",
        name="pix2pix",
        target=f"{__name__}.recipe:pix2pix",
        summary="Paired image-to-image translation: an adversarial loss on patches and an L1 loss",
        paper="arXiv:1611.07004",
        tags=("image", "translation", "paired"),
        notes=" ".join(NOTES.split()),
        defaults={"data": "digits-edges", "batch_size": 1, "steps": 200_000},
        presets={"digits-edges": SMALL, "grey-cifar": SMALL | {"steps": 8_000}},
    )
