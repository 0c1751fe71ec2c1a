"""Finds out whether training depends on `t`, the progress, and with it on the length of the run.

Names of entries do not tell: `{**batch}` reads them all and need not use them. So the tensor `t` itself notes that an
operation used it. What never used it trains the same whatever the length, and can be continued to another one exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ContextDecorator
from typing import Any

import torch
from torch import Tensor


class _Part(ContextDecorator):
    """The block of `ProgressWatch.part`: a class, as a generator function takes three times as long."""

    def __init__(self, watch: ProgressWatch, name: str) -> None:
        self._watch, self._name = watch, name

    def __enter__(self) -> None:
        self._before, self._watch.current = self._watch.current, self._name

    def __exit__(self, *_: object) -> None:
        self._watch.current = self._before


class ProgressWatch:
    """Collects in `users` which parts of a recipe used `t` so far: "lr of generator", "loss of discriminator"."""

    def __init__(self) -> None:
        self.users: set[str] = set()
        self.current = "recipe"

    def part(self, name: str) -> _Part:
        """Within the block or the decorated function, what uses `t` is the part `name`."""
        return _Part(self, name)

    def watched(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The batch with a `t` of the same value that notes its use; one without a value, a fake tensor, cannot."""
        if type(batch["t"]) is not Tensor:
            return dict(batch)
        t = batch["t"].as_subclass(_Watched)
        t.note = lambda: self.users.add(self.current)
        return {**batch, "t": t}

    def load(self, users: Iterable[str] | None) -> None:
        """Adds the users of the steps before a checkpoint; None where it does not record them."""
        self.users |= {"earlier steps, of a version that did not record it"} if users is None else set(users)


class _Watched(Tensor):
    """A tensor that calls `note` when an operation uses its value. Results are plain tensors."""

    note: Callable[[], object]

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **(kwargs or {}))
        # Attributes such as `shape`, `device` and `dtype` are read through here as well; they are no tensors.
        if getattr(func, "__name__", "") != "__get__" or isinstance(result, Tensor):
            noted = False
            for value in args:
                if isinstance(value, cls):
                    value.note()
                    noted = True
            if not noted:  # within a list or a keyword; this search takes longer than most operations on `t`
                for value in torch.utils._pytree.tree_leaves((args, kwargs)):
                    if isinstance(value, cls):
                        value.note()
        return result
