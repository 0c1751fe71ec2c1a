"""The introductory game, with every part open to exchange."""

from typing import Annotated, Any

from aigc_zoo.game import Recipe, adam
from aigc_zoo.spec import Range, Slot
from aigc_zoo.two_player import two_player


def primer(
    *,
    generator: Annotated[Any, Slot("generator")] = "primer",
    discriminator: Annotated[Any, Slot("discriminator")] = "primer",
    loss: Annotated[Any, Slot("loss")] = "non-saturating",
    penalty: tuple[Annotated[Any, Slot("penalty")], ...] = (),
    augmentation: Annotated[Any, Slot("augmentation")] | None = None,
    latent: Annotated[int, Range(1, 4096)] = 100,
    lr: Annotated[float, Range(0, 1)] = 1e-4,
    discriminator_lr: Annotated[float, Range(0, 1)] | None = None,
    conditional: bool = False,
    ema: Annotated[float, Range(0, 0.99999)] = 0.0,
) -> Recipe:
    """The introductory model of the founding article: Adam at 1e-4, batches of 128, 100 epochs of the 60,000 of MNIST.

    L_D = -log D(x) - log(1 - D(G(z))), L_G = -log D(G(z)), from logits. No row of the survey's table: the source is the
    article. There both players step at once from one forward pass; here the generator answers the critic's new
    weights. z is normal. The whole length, 6,000,000 images, wants a GPU: the preset digits is narrower and shorter.

    latent: numbers in z.
    lr: Adam's rate, of both players.
    discriminator_lr: the discriminator's own rate; none means lr.
    conditional: make and judge samples by their labels.
    ema: decay of the generator's moving average, which samples are taken from; 0 takes the weights themselves.
    """
    return two_player(
        generator,
        discriminator,
        loss,
        latent=latent,
        optimizer=adam(lr),
        discriminator_optimizer=adam(lr if discriminator_lr is None else discriminator_lr),
        penalties=penalty,
        augmentation=augmentation,
        conditional=conditional,
        ema=ema,
        batch_size=128,
        images=6_000_000,
    )
