"""The game of DCGAN, with every part open to exchange."""

from typing import Annotated, Any

from aigc_zoo.game import Recipe, adam
from aigc_zoo.spec import Range, Slot
from aigc_zoo.two_player import two_player


def dcgan(
    *,
    generator: Annotated[Any, Slot("generator")] = "dcgan",
    discriminator: Annotated[Any, Slot("discriminator")] = "dcgan",
    loss: Annotated[Any, Slot("loss")] = "non-saturating",
    penalty: tuple[Annotated[Any, Slot("penalty")], ...] = (),
    augmentation: Annotated[Any, Slot("augmentation")] | None = None,
    latent: Annotated[int, Range(1, 4096)] = 100,
    lr: Annotated[float, Range(0, 1)] = 2e-4,
    discriminator_lr: Annotated[float, Range(0, 1)] | None = None,
    beta1: Annotated[float, Range(0, 0.999)] = 0.5,
    conditional: bool = False,
    ema: Annotated[float, Range(0, 0.99999)] = 0.999,
) -> Recipe:
    """DCGAN (Radford, Metz and Chintala, 2015, section 4): both players by Adam, 2e-4 and 0.5, on batches of 128.

    The critic raises log D(x) + log(1 - D(G(z))), then the generator raises log D(G(z)), one turn each a step.
    Followed is the paper; of the survey's rows at 32x32 the nearest is GC's (100,000 steps, z of 100, one critic turn),
    which has other networks, beta2 0.9 and a falling rate. Here z is normal, where the paper draws it uniformly from
    [-1, 1]; the critic sees reals and fakes in batches of their own, as in the authors' code; weights are not decayed
    (theirs by 1e-5); samples come from the generator's moving average, which the paper does not keep; and the default
    length is a million images (theirs: 25 epochs of 350,000 faces), what the well-known tutorial trains on CelebA.

    penalty: terms added to the critic's loss; batch normalisation in it is refused then.
    latent: numbers in z.
    lr: Adam's rate, of both players.
    discriminator_lr: the discriminator's own rate; none means lr.
    beta1: decay of Adam's first moment.
    conditional: make and judge samples by their labels.
    ema: decay of the generator's moving average, which samples are taken from; 0 takes the weights themselves.
    """
    return two_player(
        generator,
        discriminator,
        loss,
        latent=latent,
        optimizer=adam(lr, beta1),
        discriminator_optimizer=adam(lr if discriminator_lr is None else discriminator_lr, beta1),
        penalties=penalty,
        augmentation=augmentation,
        conditional=conditional,
        ema=ema,
        batch_size=128,
        images=1_000_000,
    )
