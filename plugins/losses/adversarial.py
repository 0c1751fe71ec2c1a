"""Adversarial losses. Each is a pair of functions of logits (N, ...), reduced to the mean in float32 or float64.

D(x) is a logit in all equations, except where sigmoid(D(x)) is written as the probability that x is real.
"""

from torch import Tensor, float32, promote_types
from torch.nn.functional import logsigmoid, relu, softplus

from aigc_zoo.game import Adversarial


def minimax() -> Adversarial:
    """Minimax loss (Goodfellow et al., 2014, arXiv:1406.2661, eq. 1).

    L_D = -E log sigmoid(D(x)) - E log(1 - sigmoid(D(G(z)))), L_G = E log(1 - sigmoid(D(G(z))))

    The generator's gradient vanishes for fakes that the discriminator rejects with confidence.
    """
    return Adversarial(_cross_entropy, lambda fake, real: _mean_log_probability(-fake))


def non_saturating() -> Adversarial:
    """Non-saturating loss (Goodfellow et al., 2014, arXiv:1406.2661, section 3).

    L_D = -E log sigmoid(D(x)) - E log(1 - sigmoid(D(G(z)))), L_G = -E log sigmoid(D(G(z)))

    It has the fixed point of the minimax loss, and its largest gradient for fakes that the discriminator rejects.
    """
    return Adversarial(_cross_entropy, lambda fake, real: -_mean_log_probability(fake))


def least_squares() -> Adversarial:
    """Least-squares loss with targets 1 for reals and 0 for fakes (Mao et al., 2017, arXiv:1611.04076, eq. 9).

    L_D = E (D(x) - 1)^2 / 2 + E D(G(z))^2 / 2, L_G = E (D(G(z)) - 1)^2 / 2
    """
    return Adversarial(
        lambda real, fake: ((_float(real) - 1).square().mean() + _float(fake).square().mean()) / 2,
        lambda fake, real: (_float(fake) - 1).square().mean() / 2,
    )


def wasserstein() -> Adversarial:
    """Wasserstein loss (Arjovsky et al., 2017, arXiv:1701.07875, eq. 2).

    L_D = E D(G(z)) - E D(x), L_G = -E D(G(z))

    It estimates a distance only if D is Lipschitz: use it with a gradient penalty or weight clipping.
    """
    return Adversarial(
        lambda real, fake: _float(fake).mean() - _float(real).mean(),
        lambda fake, real: -_float(fake).mean(),
    )


def hinge() -> Adversarial:
    """Hinge loss (Lim and Ye, 2017, arXiv:1705.02894; Miyato et al., 2018, arXiv:1802.05957, eq. 16 and 17).

    L_D = E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))), L_G = -E D(G(z))
    """
    return Adversarial(
        lambda real, fake: relu(1 - _float(real)).mean() + relu(1 + _float(fake)).mean(),
        lambda fake, real: -_float(fake).mean(),
    )


def relativistic() -> Adversarial:
    """Relativistic pairing loss: the standard RGAN of Jolicoeur-Martineau (2018, arXiv:1807.00734).

    L_D = E log(1 + exp(D(G(z)) - D(x))), L_G = E log(1 + exp(D(x) - D(G(z))))

    Row n of the fakes is paired with row n of the reals. Huang et al. (2024, arXiv:2501.05441, eq. 2) call it RpGAN.
    """
    return Adversarial(
        lambda real, fake: softplus(_float(fake) - _float(real)).mean(),
        lambda fake, real: softplus(_float(real) - _float(fake)).mean(),
        needs_real=True,
    )


def _cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """Binary cross-entropy with label 1 for reals and 0 for fakes, summed over the two means."""
    return -_mean_log_probability(real) - _mean_log_probability(-fake)


def _mean_log_probability(logits: Tensor) -> Tensor:
    """E log sigmoid(logits), computed stably. For log(1 - sigmoid(logits)) negate the logits."""
    return logsigmoid(_float(logits)).mean()


def _float(logits: Tensor) -> Tensor:
    """Logits in float32, or in float64 if they are."""
    return logits.to(promote_types(logits.dtype, float32))
