"""One turn: the gradients of one player's loss, one all-reduce, one optimizer step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from aigc_zoo.engine import state
from aigc_zoo.engine.guard import Guard
from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.game import Batch, Loss, Nets, Terms

Gradients = Sequence[Tensor | None]


def turn(
    loss: Loss,
    nets: Nets,
    micro_batches: Sequence[Batch],
    parameters: Sequence[nn.Parameter],
    optimizer: torch.optim.Optimizer,
    ranks: Ranks,
    guard: Guard,
    shared_buffers: Callable[[], Sequence[Tensor]] = tuple,
) -> dict[str, Tensor]:
    """Update one player's `parameters` once and return the terms of its loss, detached scalars by name.

    Gradients are computed with respect to this player's parameters only (`torch.autograd.grad`), so no other gradient
    is computed, cleared or toggled. Gradients and terms are averaged over the equal `micro_batches`. One flat
    all-reduce averages the gradients and the `shared_buffers` over the ranks. The optimizer steps unless the guard
    found a non-finite value. Raises ValueError for a term that cannot be minimized.
    """
    terms, total, gradients = _gradients(loss, nets, micro_batches[0], parameters)
    for batch in micro_batches[1:]:
        more_terms, more_total, more_gradients = _gradients(loss, nets, batch, parameters)
        terms = {name: terms[name] + term for name, term in more_terms.items()}
        total = total + more_total
        gradients = [_add(one, other) for one, other in zip(gradients, more_gradients, strict=True)]
    count = len(micro_batches)
    if count > 1:
        terms = {name: term / count for name, term in terms.items()}
        total = total / count
        gradients = [None if gradient is None else gradient / count for gradient in gradients]
    buffers = shared_buffers() if ranks.world > 1 else ()
    *means, found = ranks.all_reduce_mean([*gradients, *buffers, guard.check(total)])
    for parameter, gradient in zip(parameters, means[: len(parameters)], strict=True):
        parameter.grad = state.match_strides(gradient, parameter)
    for buffer, mean in zip(buffers, means[len(parameters) :], strict=True):
        assert mean is not None
        buffer.copy_(mean)
    if guard.allows_step(found):
        optimizer.step()
    return terms


def _gradients(
    loss: Loss, nets: Nets, batch: Batch, parameters: Sequence[nn.Parameter]
) -> tuple[dict[str, Tensor], Tensor, Gradients]:
    """The terms of a loss, their sum, and the gradients of the sum with respect to the parameters, all detached."""
    terms = loss(nets, batch)
    total = _sum(terms)
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    # A term without a graph may be a buffer itself, which can change before the term is logged.
    detached = {name: term.detach() if term.requires_grad else term.clone() for name, term in terms.items()}
    return detached, total.detach(), gradients


def _sum(terms: Terms) -> Tensor:
    """The sum of all terms but those that are only logged, whose names start with `_`."""
    minimized = {name: term for name, term in terms.items() if not name.startswith("_")}
    for name, term in minimized.items():
        if not term.requires_grad:
            raise ValueError(
                f"term {name!r} has no graph, as it depends on no weight (name it _{name} if it is only to be logged)"
            )
        if term.ndim:
            raise ValueError(f"term {name!r} has shape {tuple(term.shape)}: a term is one number, such as a mean")
    if not minimized:
        raise ValueError("the loss returned no term to minimize: every name starts with _, or there are none")
    total, *rest = minimized.values()
    for term in rest:
        total = total + term
    return total


def _add(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return other if one is None else one if other is None else one + other
