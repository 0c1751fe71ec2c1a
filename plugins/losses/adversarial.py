"""The losses of Goodfellow et al. (2014). D(x) = sigmoid(logit); log D and log(1 - D) come stably from the logit."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from aigc_zoo.game import Adversarial


def minimax() -> Adversarial:
    """min_G max_D of E log D(x) + E log(1 - D(G(z))) (Goodfellow et al., 2014, eq. 1). Logits of any shape (N, ...)."""
    return Adversarial(_classify, lambda fake, real: _mean_log_d(-fake))


def non_saturating() -> Adversarial:
    """L_D = -E log D(x) - E log(1 - D(G(z))) and L_G = -E log D(G(z)) (Goodfellow et al., 2014, section 3).

    Where D is sure of a fake, minimax has no gradient left and this loss has its largest. Logits of any shape (N, ...).
    """
    return Adversarial(_classify, lambda fake, real: -_mean_log_d(fake))


def _classify(real: Tensor, fake: Tensor) -> Tensor:
    """-E log D(x) - E log(1 - D(G(z))): the cross-entropy of telling reals from fakes."""
    return -_mean_log_d(real) - _mean_log_d(-fake)


def _mean_log_d(logits: Tensor) -> Tensor:
    """E log D, in float32 or better; log(1 - D) is log D of the negated logit."""
    return logsigmoid(logits.to(torch.promote_types(logits.dtype, torch.float32))).mean()
