"""The end of a run: metrics of the final and the best generator on the held-out split, and a test for memorization."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.artefacts.atomic import write_json
from aigc_zoo.artefacts.runs import RunDirectory, nulled
from aigc_zoo.data.pool import Pool, example
from aigc_zoo.data.writers import save_image
from aigc_zoo.engine.sampler import Sampler
from aigc_zoo.errors import ConfigError, ZooError
from aigc_zoo.game import Recipe, Samples
from aigc_zoo.metrics.evaluate import REFERENCE_NUM, Evaluator
from aigc_zoo.metrics.generated import Generated
from aigc_zoo.metrics.reference import dataset_batches
from aigc_zoo.modality import Modality
from aigc_zoo.plugins import Catalogue
from aigc_zoo.run import previews
from aigc_zoo.run.default_metrics import evaluation_metrics, memorization_metrics
from aigc_zoo.run.evaluation_samples import EVALUATION_SEED, entries_of, evaluation_seed, generated_samples
from aigc_zoo.run.generator import load_generator
from aigc_zoo.run.shared_extractor import marked

HELD_OUT = ("test", "val")
"""Names of splits that are not trained on; the first that a dataset has is its held-out split."""

SAMPLES, NEIGHBORS = 12, 3
"""Samples in nearest.png, and the number of nearest training images below each."""


def held_out_split(splits: Mapping[str, Samples]) -> Samples | None:
    """The dataset's held-out split, None where it has none."""
    return next((splits[name] for name in HELD_OUT if name in splits), None)


def inputs_of(recipe: Recipe, split: Samples, device: torch.device) -> Callable[[Tensor], Mapping[str, Tensor]] | None:
    """Rows of the split that a recipe is evaluated on, as entries that it generates samples from; None for a recipe
    without inputs. Raises ConfigError where the split lacks an entry."""
    if not recipe.inputs:
        return None
    known = example(split).keys()
    missing = [name for name in recipe.inputs if name not in known]
    if missing:
        raise ConfigError(
            f"this recipe generates samples from {missing[0]!r}, but the split {split.split} of {split.name} has "
            f"{', '.join(sorted(known))}"
        )
    return Pool(split, device).rows


def evaluate_held_out(
    catalogue: Catalogue,
    directory: RunDirectory,
    evaluator: Evaluator,
    split: Samples,
    device: torch.device,
    *,
    best: int | None,
    last: int,
) -> str:
    """Writes held_out.json and nearest.png of the generators of the steps `last` and `best`.

    The best generator was selected on the training split, without `split`. An error is returned as a sentence, since
    the run itself ends well.
    """
    try:
        files = {"final": (directory.generator_path, last)}
        if best is not None and best < last and directory.best_path.exists():
            files["best"] = directory.best_path, best
        records: list[dict[str, Any]] = []
        for which, (path, step) in files.items():
            generator = load_generator(catalogue, path, device=device)
            inputs = inputs_of(generator.recipe, split, device)
            sampler = generator.sampler(seed=evaluation_seed(EVALUATION_SEED), inputs=inputs)
            held_out, memorization = _evaluators(evaluator, split, sampler)
            generated = generated_samples(sampler, held_out, memorization)
            found = marked(held_out.score(generated, weights=generator.weights, seed=EVALUATION_SEED), generator.card)
            if which == "final" and memorization.metrics:
                scored = memorization.score(generated, weights=generator.weights, seed=EVALUATION_SEED)
                found += marked(scored, generator.card)
                write_nearest(directory.nearest_path, generated, memorization, generator.modality)
            records += [{"which": which, "step": step, **record} for record in found]
        if best == last:  # the final generator is the best one
            records += [{**record, "which": "best"} for record in records if record["name"] in held_out.names]
        content = {"schema": 1, "selected_by": f"{evaluator.names[0]} on train", "metrics": records}
        write_json(directory.held_out_path, nulled(content))
    except ZooError as error:
        return f"no evaluation on the held-out split {split.split}: {str(error).splitlines()[0]}"
    return ""


def _evaluators(evaluator: Evaluator, split: Samples, sampler: Sampler) -> tuple[Evaluator, Evaluator]:
    """One that compares with the held-out split, and one that tests for memorization of the training split."""
    held_out, memorization = (
        Evaluator(
            evaluator.extractor,
            reference,
            metrics=(),
            num=evaluator.num,
            has_entry=entries_of(sampler.recipe, reference, lambda: sampler),
            installed=evaluator.installed,
            progress=evaluator.progress,
            **more,
        )
        for reference, more in (
            (split, {"allow_few": evaluator.allow_few}),
            (evaluator.reference, {"reference_num": REFERENCE_NUM, "held_out": split}),
        )
    )
    held_out.choose(evaluation_metrics(held_out, leading=evaluator.metrics[0]))
    if evaluator.extractor is not None:
        memorization.choose(memorization_metrics(memorization))
    return held_out, memorization


def nearest_rows(samples: Tensor, reference: Tensor, count: int) -> Tensor:
    """The rows (N, count) of the reference (M, D) that are nearest to each of the samples (N, D)."""
    return torch.cdist(samples.double(), reference.double()).topk(count, largest=False).indices


def write_nearest(path: Path, generated: Generated, evaluator: Evaluator, modality: Modality) -> None:
    """Writes samples in the first row of a sheet, and below each the training samples with the nearest features.

    All have the precision of files.
    """
    assert evaluator.extractor is not None
    spec = evaluator.reference.spec
    samples = next(generated.rows(("fake",)))["fake"]
    count = min(SAMPLES, len(samples))
    features = generated.features(evaluator.extractor).values[:count]
    rows = nearest_rows(features, evaluator.data.features(), NEIGHBORS)
    indices = evaluator.data.rows()[rows.flatten()]
    neighbors = torch.cat([*dataset_batches(evaluator.reference, rows=indices)]).view(
        count, NEIGHBORS, *samples.shape[1:]
    )
    columns = torch.cat((samples[:count, None].cpu(), neighbors), 1).transpose(0, 1)
    shown = [modality.decode(row, torch.rand, spec) for row in columns]
    save_image(previews.in_rows(shown, spec, modality), path)
