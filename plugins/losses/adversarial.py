"""Losses of logits (N, ...), any shape after N, each reduced to its mean in float32 or better."""

from torch import Tensor, promote_types
from torch import float32 as single
from torch.nn.functional import logsigmoid, relu, softplus

from aigc_zoo.game import Adversarial


def minimax() -> Adversarial:
    """min_G max_D of E log D(x) + E log(1 - D(G(z))), D = sigmoid(logit) (Goodfellow et al., 2014, eq. 1)."""
    return Adversarial(_classify, lambda fake, real: _mean_log_d(-fake))


def non_saturating() -> Adversarial:
    """L_D = -E log D(x) - E log(1 - D(G(z))) and L_G = -E log D(G(z)) (Goodfellow et al., 2014, section 3).

    Where D is sure of a fake, minimax has no gradient left and this loss has its largest.
    """
    return Adversarial(_classify, lambda fake, real: -_mean_log_d(fake))


def least_squares() -> Adversarial:
    """L_D = E (D(x) - 1)^2 / 2 + E D(G(z))^2 / 2 and L_G = E (D(G(z)) - 1)^2 / 2 (Mao et al., 2017, eq. 9)."""
    return Adversarial(
        lambda real, fake: ((_wide(real) - 1).square().mean() + _wide(fake).square().mean()) / 2,
        lambda fake, real: (_wide(fake) - 1).square().mean() / 2,
    )


def wasserstein() -> Adversarial:
    """L_D = E D(G(z)) - E D(x) and L_G = -E D(G(z)) (Arjovsky et al., 2017, eq. 2); D is to be kept Lipschitz."""
    return Adversarial(
        lambda real, fake: _wide(fake).mean() - _wide(real).mean(),
        lambda fake, real: -_wide(fake).mean(),
    )


def hinge() -> Adversarial:
    """L_D = E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))) and L_G = -E D(G(z)) (Miyato et al., 2018, eq. 16 and 17)."""
    return Adversarial(
        lambda real, fake: relu(1 - _wide(real)).mean() + relu(1 + _wide(fake)).mean(),
        lambda fake, real: -_wide(fake).mean(),
    )


def relativistic() -> Adversarial:
    """L_D = E log(1 + exp(D(G(z)) - D(x))), of pairs, and L_G the same with the two exchanged.

    The relativistic standard GAN of Jolicoeur-Martineau (2018); RpGAN of Huang et al. (2024, eq. 2).
    """
    return Adversarial(
        lambda real, fake: softplus(_wide(fake) - _wide(real)).mean(),
        lambda fake, real: softplus(_wide(real) - _wide(fake)).mean(),
        needs_real=True,
    )


def _classify(real: Tensor, fake: Tensor) -> Tensor:
    """-E log D(x) - E log(1 - D(G(z))): the cross-entropy of telling reals from fakes."""
    return -_mean_log_d(real) - _mean_log_d(-fake)


def _mean_log_d(logits: Tensor) -> Tensor:
    """E log D, stably from the logit; log(1 - D) is log D of the negated logit."""
    return logsigmoid(_wide(logits)).mean()


def _wide(logits: Tensor) -> Tensor:
    """In float32 or better."""
    return logits.to(promote_types(logits.dtype, single))
