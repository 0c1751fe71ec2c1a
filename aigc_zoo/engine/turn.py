"""The hot code: one turn of one player, and the fakes that the players of a step share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from aigc_zoo.engine import state
from aigc_zoo.engine.guard import Guard
from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.game import Batch, Every, Loss, Nets, Play, Terms, Until


def turn(
    loss: Loss,
    nets: Nets,
    batches: Sequence[Batch],
    params: Sequence[nn.Parameter],
    optimizer: torch.optim.Optimizer,
    ranks: Ranks,
    guard: Guard,
    shared: Callable[[], Sequence[Tensor]] = tuple,
) -> dict[str, Tensor]:
    """Lowers one player's loss once, if the guard admits it. Returns its terms, detached.

    Gradients are taken by this player's weights alone, so nobody else's are computed, cleared or toggled; one
    collective averages them, and the buffers that `shared` names then, over the ranks. `batches` are equal parts of one
    batch, whose gradients and terms are averaged.
    """
    terms, lowered, gradients = _lower(loss, nets, batches[0], params)
    for batch in batches[1:]:
        more, value, found = _lower(loss, nets, batch, params)
        terms = {name: terms[name] + term for name, term in more.items()}
        lowered = lowered + value
        gradients = [_plus(one, other) for one, other in zip(gradients, found, strict=True)]
    if len(batches) > 1:
        terms = {name: term / len(batches) for name, term in terms.items()}
        lowered = lowered / len(batches)
        gradients = [None if gradient is None else gradient / len(batches) for gradient in gradients]
    buffers = shared() if ranks.world > 1 else ()
    averaged = ranks.all_reduce_mean([*gradients, *buffers, guard.look(lowered)])
    for param, gradient in zip(params, averaged[: len(params)], strict=True):
        param.grad = state.laid_out(gradient, param)
    for buffer, mean in zip(buffers, averaged[len(params) : -1], strict=True):
        assert mean is not None
        buffer.copy_(mean)
    if guard.admits(averaged[-1]):
        optimizer.step()
    return terms


def _lower(
    loss: Loss, nets: Nets, batch: Batch, params: Sequence[nn.Parameter]
) -> tuple[dict[str, Tensor], Tensor, Sequence[Tensor | None]]:
    """Terms, their sum and its gradients by the weights, all detached."""
    terms = loss(nets, batch)
    lowered = _total(terms)
    gradients = torch.autograd.grad(lowered, params, allow_unused=True)
    # A term without a graph may be a buffer itself, which is going to change before anyone reads it.
    seen = {name: term.detach() if term.requires_grad else term.clone() for name, term in terms.items()}
    return seen, lowered.detach(), gradients


def _plus(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return other if one is None else one if other is None else one + other


def split(batch: Mapping[str, Tensor], rows: int, parts: int) -> list[Mapping[str, Tensor]]:
    """A batch of so many rows in equal parts; an entry that is not one row a sample goes whole into each."""
    if parts == 1:
        return [batch]
    size = rows // parts
    return [
        {name: value[first : first + size] if value.shape[:1] == (rows,) else value for name, value in batch.items()}
        for first in range(0, rows, size)
    ]


def _total(terms: Terms) -> Tensor:
    lowered = {name: term for name, term in terms.items() if not name.startswith("_")}
    for name, term in lowered.items():
        if not term.requires_grad:
            raise ValueError(
                f"term {name!r} has no graph, as it depends on no weight (name it _{name} if it is only to be logged)"
            )
        if term.ndim:
            raise ValueError(f"term {name!r} has shape {tuple(term.shape)}: a term is one number, such as a mean")
    if not lowered:
        raise ValueError("the loss returned no term to lower")
    total, *rest = lowered.values()
    for term in rest:
        total = total + term
    return total


def losses_of(play: Play) -> list[Loss]:
    """All losses that a play may come down to."""
    if isinstance(play, Every):
        return losses_of(play.loss) + losses_of(play.otherwise)
    if isinstance(play, Until):
        return losses_of(play.loss) + losses_of(play.then)
    return [] if play is None else [play]


class Round:
    """One batch of a step, and the fakes made from it: at most once, at the first look at a key that `make` provides.

    Players that control a maker see them with their graph, the others detached. A graph of an older `version` (the
    count of the generators' updates in this step) is of weights that have moved: then they are made anew.
    """

    def __init__(
        self, entries: Mapping[str, Tensor], make: Callable[[Batch], Mapping[str, Tensor]], keep: bool
    ) -> None:
        self.entries = dict(entries)
        self._make = make
        self._keep = keep  # a maker's player is going to want the graph of the first making
        self._made: dict[str, Tensor] | None = None
        self._graph_of = -1  # the version whose graph `_made` carries

    def seen(self, graph: bool, version: int) -> Batch:
        """The batch as a player sees it."""
        return _View(self.entries, lambda: self._fakes(graph, version))

    def _fakes(self, graph: bool, version: int) -> dict[str, Tensor]:
        wanted = graph and self._graph_of != version
        if self._made is None or wanted:
            keep = graph or self._keep
            with torch.set_grad_enabled(keep):
                self._made = dict(self._make(self.entries))
            self._graph_of = version if keep else -1
        return self._made if graph else {name: value.detach() for name, value in self._made.items()}


class _View(dict[str, Tensor]):
    """A batch that makes its fakes when somebody looks."""

    def __init__(self, entries: Mapping[str, Tensor], fakes: Callable[[], Mapping[str, Tensor]]) -> None:
        super().__init__(entries)
        self._fakes: Callable[[], Mapping[str, Tensor]] | None = fakes

    def __missing__(self, key: str) -> Tensor:
        if self._fakes is not None:
            made, self._fakes = self._fakes(), None
            self.update(made)
            if key in self:
                return self[key]
        raise KeyError(f"{key!r} is not in this batch, which has {', '.join(sorted(self))}")
