"""The game of LSGAN, with every part open to exchange."""

from typing import Annotated, Any

from aigc_zoo.game import Recipe, adam
from aigc_zoo.spec import Range, Slot
from aigc_zoo.two_player import two_player


def lsgan(
    *,
    generator: Annotated[Any, Slot("generator")] = "dcgan",
    discriminator: Annotated[Any, Slot("discriminator")] = "dcgan",
    loss: Annotated[Any, Slot("loss")] = "least-squares",
    penalty: tuple[Annotated[Any, Slot("penalty")], ...] = (),
    augmentation: Annotated[Any, Slot("augmentation")] | None = None,
    latent: Annotated[int, Range(1, 4096)] = 128,
    lr: Annotated[float, Range(0, 1)] = 2e-4,
    discriminator_lr: Annotated[float, Range(0, 1)] | None = None,
    discriminator_turns: Annotated[int, Range(1, 100)] = 2,
    conditional: bool = False,
    ema: Annotated[float, Range(0, 0.99999)] = 0.999,
) -> Recipe:
    """LSGAN (Mao et al., 2017, eq. 9) on DCGAN's networks, by the settings of the survey's row "LSGAN SG".

    Adam at 2e-4 with betas 0.5 and 0.999, batches of 64, two critic turns, 200,000 steps. The row's networks have 3x3
    convolutions between those of stride two; here they are DCGAN's. The paper's own runs, on LSUN, have Adam at 1e-3.
    Samples come from the generator's moving average, which neither keeps.

    latent: numbers in z.
    lr: Adam's rate, of both players.
    discriminator_lr: the discriminator's own rate; none means lr.
    discriminator_turns: turns of the discriminator to each of the generator.
    conditional: make and judge samples by their labels.
    ema: decay of the generator's moving average, which samples are taken from; 0 takes the weights themselves.
    """
    return two_player(
        generator,
        discriminator,
        loss,
        latent=latent,
        conditional=conditional,
        penalties=penalty,
        augmentation=augmentation,
        optimizer=adam(lr, 0.5),
        discriminator_optimizer=adam(lr if discriminator_lr is None else discriminator_lr, 0.5),
        discriminator_turns=discriminator_turns,
        ema=ema,
        batch_size=64,
        steps=200_000,
    )
