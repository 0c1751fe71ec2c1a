"""The end of a run against data that it was not trained on: values of the final and the best generator, and copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from aigc_zoo.artefacts.atomic import write_json
from aigc_zoo.artefacts.checkpoint import json_object
from aigc_zoo.artefacts.checkpoint import judged as judged_file
from aigc_zoo.artefacts.runs import RunDirectory, nulled
from aigc_zoo.data.writers import grid, png
from aigc_zoo.errors import ZooError
from aigc_zoo.game import Samples, Spec
from aigc_zoo.metrics.coverage import nearest
from aigc_zoo.metrics.evaluate import Evaluator
from aigc_zoo.metrics.fidelity import KID_LEAST
from aigc_zoo.metrics.reference import dataset_batches
from aigc_zoo.plugins import Catalogue
from aigc_zoo.run.generator import load_generator
from aigc_zoo.run.monitor import EVALUATION_SEED, best_of, evaluation_seed, judged

SHOWN, NEIGHBOURS = 12, 3
"""Samples in the picture of nearest training pictures, and how many of these below each."""


def judge_ends(
    catalogue: Catalogue,
    home: RunDirectory,
    evaluator: Evaluator,
    split: Samples,
    history: Sequence[Mapping[str, Any]],
    inputs: Callable[[Tensor], Mapping[str, Tensor]] | None = None,
) -> str:
    """Writes held_out.json and nearest.png; what made it impossible is returned as a sentence, as a run ends well.

    The best generator was selected on the training split; `split` had no say in it.
    """
    own = evaluator.metrics[0]
    try:
        alike: dict[str, Any] = {"num": evaluator.num, "progress": evaluator.progress}
        held_out = Evaluator(evaluator.extractor, split, metrics=(own,), allow_few=evaluator.allow_few, **alike)
        if own == "fid" and min(evaluator.num, held_out.reference_num) >= KID_LEAST:
            held_out.choose((own, "kid"))  # unbiased where there are few
        copies = Evaluator(evaluator.extractor, evaluator.reference, metrics=(), held_out=split, **alike)
        copies.choose([group for group in ("memorization",) if evaluator.reference.spec.modality == "image"])
        best = best_of([dict(line) for line in history], evaluator.names[0])
        last = max(int(line["step"]) for line in history)
        ends = {"final": (home.generator_path, last)}
        if best is not None and int(best["step"]) < last and home.best_path.exists():
            ends["best"] = home.best_path, int(best["step"])
        records: list[dict[str, Any]] = []
        for which, (path, step) in ends.items():
            generator = load_generator(catalogue, path, device=evaluator.extractor.device)
            sampler = generator.sampler(seed=evaluation_seed(EVALUATION_SEED), inputs=inputs)
            first: list[Tensor] = []
            chunks = (first.append(c) or c for c in judged(sampler, generator.spec, evaluator.num))  # type: ignore[func-returns-value]
            seen = held_out.extract(chunks)
            about = {"weights": generator.weights, "seed": EVALUATION_SEED}
            found = held_out.score(seen, **about)  # type: ignore[arg-type]
            if which == "final":
                found += copies.score(seen, **about)  # type: ignore[arg-type]
                if copies.metrics:
                    write_nearest(home.nearest_path, first[0], seen.values, copies, generator.spec)
            records += [{"which": which, "step": step, **record} for record in found]
        if best is not None and int(best["step"]) == last:  # the final one itself
            records += [{**record, "which": "best"} for record in records if record["name"] in held_out.names]
        write_json(
            home.held_out_path,
            nulled({"schema": 1, "selected_by": f"{evaluator.names[0]} on train", "metrics": records}),
        )
    except ZooError as error:
        return f"nothing is measured against {split.split}: {str(error).splitlines()[0]}"
    return ""


def read_held_out(home: RunDirectory) -> tuple[dict[str, Any], ...]:
    """The records of held_out.json; none where there is no such file."""
    if not home.held_out_path.exists():
        return ()
    with judged_file(home.held_out_path):
        return tuple(json_object(home.held_out_path.read_text("utf-8"))["metrics"])


def write_nearest(path: Path, samples: Tensor, features: Tensor, evaluator: Evaluator, spec: Spec) -> None:
    """A picture: samples in the first row, below each the training pictures that its features are nearest to."""
    count = min(SHOWN, len(samples))
    rows = nearest(features[:count], evaluator.data.features(), NEIGHBOURS)[1]
    places = evaluator.data.rows()[rows.flatten()]
    pictures = torch.cat([*dataset_batches(evaluator.reference, rows=places)]).view(count, NEIGHBOURS, *spec.shape)
    columns = torch.cat((samples[:count, None], pictures), 1).transpose(0, 1).flatten(0, 1)
    picture: Image.Image = grid(columns, Spec(shape=spec.shape, range=(0, 255)), columns=count)
    png(picture, path)
