"""Points in the plane; their coordinates are their features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from aigc_zoo.errors import DataError
from aigc_zoo.game import Spec
from aigc_zoo.modality import Adopted, Modality, Values, Writer, npy, png

PLOT = 480
DOT = 2.0
OVERSAMPLING = 4
"""A scatter plot is drawn larger by this factor and reduced, as Pillow's circles are not antialiased."""


class Points(Modality):
    """Points (2,) of float32."""

    noun: ClassVar[str] = "point"
    units: ClassVar[str] = "points"
    previews: ClassVar[int] = 1_024
    rank: ClassVar[int] = 1

    def adopt(self, arrays: Mapping[str, Values], kind: str, where: str) -> Adopted | None:
        first = next(iter(arrays.values()))
        if kind or first.dtype.kind != "f" or first.shape[1:] != (2,):
            return None
        low, high = float(arrays["train"].min()), float(arrays["train"].max())
        margin = (high - low) / 2 or 1.0
        return Adopted(arrays, Spec(shape=(2,), range=(low - margin, high + margin), modality="points"))

    def example(self) -> tuple[Spec, Values]:
        points = np.random.default_rng(0).uniform(-1, 1, (6, 2)).astype(np.float32)
        return Spec(shape=(2,), modality="points"), points

    @property
    def many(self) -> Mapping[str, Writer]:
        return {".png": lambda x, spec: png(self.preview(x, spec)), ".npy": npy}

    def preview(self, x: Tensor, spec: Spec) -> Image.Image:
        """A scatter plot with y upwards, over the range of the data, so that the plots of a run are comparable."""
        values = x.detach().cpu().double().numpy()
        if values.ndim != 2 or values.shape[1] != 2:
            raise DataError(f"points must have the shape (N, 2), not {tuple(values.shape)}")
        low, high = spec.range or _limits(values)
        side = PLOT * OVERSAMPLING
        canvas = Image.new("RGB", (side, side), "white")
        draw = ImageDraw.Draw(canvas)
        for quarter in range(1, 4):
            line = side * quarter // 4
            draw.line((line, 0, line, side), fill="#e0e0e0", width=OVERSAMPLING)
            draw.line((0, line, side, line), fill="#e0e0e0", width=OVERSAMPLING)
        for x_, y in (values - low) / (high - low) * side:
            if math.isfinite(x_) and math.isfinite(y):
                r = DOT * OVERSAMPLING
                draw.ellipse((x_ - r, side - y - r, x_ + r, side - y + r), fill="#1f4e99")
        return canvas.reduce(OVERSAMPLING)

    def extractor(self, spec: Spec) -> str:
        return "points"

    def metrics(self, spec: Spec) -> tuple[str, ...]:
        return ("mixture", "variance-ratio", "duplicates")


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Limits at a power of two that include nearly all points, so that they rarely change during a run."""
    finite = np.abs(values[np.isfinite(values)])
    limit = 2.0 ** math.ceil(math.log2(max(1e-3, float(np.quantile(finite, 0.99))))) if finite.size else 1.0
    return -limit, limit
