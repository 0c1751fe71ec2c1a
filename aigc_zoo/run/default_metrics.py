"""The metrics that are measured where the user names none."""

from __future__ import annotations

from aigc_zoo.metrics.evaluate import Evaluator


def training_metrics(evaluator: Evaluator) -> tuple[str, ...]:
    """Those that the modality states for training, as far as they can be measured. The first one selects the best
    generator.
    """
    defaults = evaluator.installed.defaults(evaluator.reference.spec)
    return tuple(metric.name for metric in defaults if not evaluator.unavailable_reason(metric.name))


def evaluation_metrics(evaluator: Evaluator, *, leading: str = "") -> tuple[str, ...]:
    """Those that the modality states for an evaluation, as far as they can be measured with this many samples; where
    the first of them cannot be measured, those of training.

    leading  the first metric of the run; any but the modality's own first one stands alone
    """
    spec, installed = evaluator.reference.spec, evaluator.installed
    defaults = [one for one in installed.defaults(spec, evaluation=True) if "held_out" not in one.metric.needs]
    first = defaults[0].name if defaults else ""
    if leading and leading != first:
        return (leading,)
    if not leading and first and evaluator.unavailable_reason(first):
        return training_metrics(evaluator) or (first,)
    available = (one.name for one in defaults[1:] if not evaluator.unavailable_reason(one.name))
    others = tuple(name for name in available if evaluator.suffices(name))
    return (first, *others) if first else ()


def memorization_metrics(evaluator: Evaluator) -> tuple[str, ...]:
    """Those of an evaluation that compare training samples with held-out ones."""
    defaults = evaluator.installed.defaults(evaluator.reference.spec, evaluation=True)
    return tuple(metric.name for metric in defaults if "held_out" in metric.metric.needs)
