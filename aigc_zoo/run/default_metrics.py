"""The metrics that are measured where the user names none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from aigc_zoo.metrics.evaluate import Evaluator
from aigc_zoo.metrics.kinds import KID_LEAST

Purpose = Literal["training", "evaluation", "memorization"]

TRAINING: Mapping[str, tuple[str, ...]] = {
    "image": ("fid", "variance-ratio", "duplicates", "modes"),
    "points": ("modes", "variance-ratio", "duplicates"),
}
"""By modality. The first metric selects the best generator; the others cost little and detect mode collapse."""


def default_metrics(purpose: Purpose, evaluator: Evaluator, *, leading: str = "") -> tuple[str, ...]:
    """The metric groups that `evaluator` measures by default.

    purpose: "training" for evaluations during training; "evaluation" for `zoo eval` and for the held-out split at the
        end of a run; "memorization" for the comparison of training and held-out split.
    leading: the first metric of an evaluation; by default FID, or the number of modes for points; where it cannot be
        measured, the other metrics of evaluations during training.
    """
    modality = evaluator.reference.spec.modality
    groups = TRAINING.get(modality, ())
    if purpose == "training":
        return tuple(group for group in groups if not evaluator.unavailable_reason(group))
    if purpose == "memorization":
        return ("memorization",) if modality == "image" else ()
    if not leading:
        leading = groups[0] if groups else "fid"
        if groups and evaluator.unavailable_reason(leading):
            return tuple(group for group in groups if not evaluator.unavailable_reason(group)) or (leading,)
    enough = min(evaluator.num, evaluator.reference_num) >= KID_LEAST
    return (leading, "kid") if leading == "fid" and enough else (leading,)  # KID is unbiased with few samples
