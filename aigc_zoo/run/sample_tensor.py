"""Generated samples as a tensor that a notebook shows as an image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.game import Spec
from aigc_zoo.modality import Modality, png


class SampleTensor(Tensor):
    """Samples (N, *shape), or one of them, on the CPU. Everything that is computed from it is a plain tensor.

    Indices and slices that select samples are shown as an image, too. Copies and files hold plain tensors.
    """

    spec: Spec
    modality: Modality

    @classmethod
    def of(cls, samples: Tensor, spec: Spec, modality: Modality) -> SampleTensor:
        """The same memory as samples of `spec`."""
        found = samples.as_subclass(cls)
        found.spec, found.modality = spec, modality
        return found

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **(kwargs or {}))
        source = args[0] if args else None
        if func is not Tensor.__getitem__ or not isinstance(source, SampleTensor) or not isinstance(result, Tensor):
            return result
        shape = source.spec.shape
        still = len(source.shape) == len(shape) + 1 and result.shape in (shape, (*result.shape[:1], *shape))
        return cls.of(result, source.spec, source.modality) if still else result

    def _repr_png_(self) -> bytes | None:
        """The preview for a notebook; None for no samples."""
        samples = self.plain()
        batch = samples[None] if samples.shape == self.spec.shape else samples
        return png(self.modality.preview(batch[: self.modality.previews], self.spec)) if len(batch) else None

    def plain(self) -> Tensor:
        """The samples as a plain tensor that shares their memory."""
        return self.as_subclass(Tensor)

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]  # typed (*, Any = ...)
        return repr(self.plain())

    def __deepcopy__(self, memo: Any) -> Tensor:
        return self.plain().__deepcopy__(memo)  # type: ignore[no-any-return,no-untyped-call]  # torch gives it no types

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.plain().__reduce_ex__(protocol)  # type: ignore[no-untyped-call]  # torch gives it no types
