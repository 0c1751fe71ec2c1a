"""`zoo export`: a generator as safetensors, torch.export program and ONNX model, each loaded again and compared."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aigc_zoo.artefacts import checkpoint
from aigc_zoo.artefacts.atomic import explained, make_folder, write_json
from aigc_zoo.artefacts.runs import RunDirectory, read_lines
from aigc_zoo.engine.sampler import CHUNK
from aigc_zoo.errors import ConfigError, DataError, UsageError, ZooError
from aigc_zoo.plugins import Catalogue
from aigc_zoo.random import seeded
from aigc_zoo.run.generator import Generator, load_generator, read_generator
from aigc_zoo.run.recording import RecordingBatch

TOLERANCE = 1e-5
"""The largest allowed difference between an exported file's samples and the generator's, as a fraction of the range."""

EXAMPLE_ROWS, TEST_ROWS = 2, 5
"""Batch sizes for tracing a program and for testing it: they differ, since the batch size is dynamic."""

WEIGHTS, PROGRAM, ONNX, RECORD = "generator.safetensors", "generator.pt2", "generator.onnx", "published.json"


class Program(nn.Module):
    """A generator as a module whose inputs are the entries, such as noise and label, that `generate` reads."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.nets = generator.nets
        self.generate = generator.recipe.generate
        t, images = torch.tensor(float(generator.card["t"])), torch.tensor(float(generator.card["images"]))
        self.fixed = {"t": t, "images": images}
        batch = example_batch(generator, EXAMPLE_ROWS)
        recording = RecordingBatch({**batch, **self.fixed})
        try:
            with torch.no_grad():
                self.generate(self.nets, recording)
        except KeyError as error:
            raise ConfigError(
                f"{generator.card['recipe']} cannot be exported: its generate reads {error}, "
                f"and an export is a function of {', '.join(batch)}"
            ) from error
        self.names = tuple(name for name in batch if name in recording.read)
        try:
            with torch.no_grad():
                self.generate(self.nets, {name: batch[name] for name in self.names} | self.fixed)
        except KeyError:  # `generate` reads a copy of the batch
            self.names = tuple(batch)

    def forward(self, *entries: Tensor) -> Tensor:
        batch = {**dict(zip(self.names, entries, strict=True)), **self.fixed}
        return self.generate(self.nets, batch)["fake"]


def example_batch(generator: Generator, rows: int, seed: int = 0) -> dict[str, Tensor]:
    """Noise, and labels where there are classes, for `rows` samples."""
    placeholders = {generator.recipe.imitates: torch.zeros(rows, *generator.spec.shape)}
    if generator.spec.classes:
        labels = torch.arange(rows) % generator.spec.classes
        placeholders["label"] = torch.nn.functional.one_hot(labels, generator.spec.classes).float()
    with seeded(torch.device("cpu"), seed, "publish", rows):
        noise = dict(generator.recipe.draw(placeholders))
    return {name: value for name, value in placeholders.items() if name == "label"} | noise


def export_to(source: Path, to: Path | str | None) -> Path:
    """The folder to export to, by default RUN/export. Raises DataError where there is no run."""
    if not source.exists():
        raise DataError(f"{source}: no such run or file\ngive a run directory or a generator.safetensors file")
    folder = (source if source.is_dir() else source.parent) / "export" if to is None else Path(to)
    if folder.is_file():
        raise UsageError(f"--to {folder}: is a file, and an export needs a folder: choose another --to")
    return folder


def export_generator(
    catalogue: Catalogue, source: Path, folder: Path, *, onnx: bool = False, licence: str = ""
) -> list[tuple[Path, float]]:
    """Exports the generator of a run or a generator file to `folder`; returns each file with its largest error.

    `generator.safetensors` is for aigc_zoo, `generator.pt2` for `torch.export.load`, `generator.onnx` for any ONNX
    runtime; the last two are functions of noise (and label) with a dynamic batch size. `published.json` holds digests,
    sizes, the licence, and the run's metrics with their protocols. Every file is loaded again and compared.

    Raises ConfigError for a generator that cannot be exported, or differs by more than TOLERANCE; DataError,
    StorageError.
    """
    generator = load_generator(catalogue, source)
    if generator.recipe.inputs:
        entries = ", ".join(generator.recipe.inputs)
        raise ConfigError(
            f"{source}: its generator reads {entries}, so it is not a function of noise: use its generator.safetensors"
        )
    make_folder(folder)
    files = [(folder / WEIGHTS, _export_weights(catalogue, source, folder / WEIGHTS, generator))]
    program = Program(generator).eval()
    files.append((folder / PROGRAM, _export_program(program, generator, folder / PROGRAM)))
    if onnx:
        files.append((folder / ONNX, _export_onnx(program, generator, folder / ONNX)))
    write_json(folder / RECORD, _record(source, generator, program, [path for path, _ in files], licence))
    return files


def _export_weights(catalogue: Catalogue, source: Path, path: Path, generator: Generator) -> float:
    tensors, card = read_generator(source)
    checkpoint.save(path, tensors, card)
    loaded = load_generator(catalogue, path)
    return _compare(generator.sample(CHUNK), loaded.sample(CHUNK), generator, path)


def _export_program(program: Program, generator: Generator, path: Path) -> float:
    with _explain_failure(generator, "torch.export"), torch.no_grad(), explained(path):
        exported = torch.export.export(
            program, tuple(_inputs(program, generator, EXAMPLE_ROWS)), dynamic_shapes=_dynamic_batch_size(program)
        )
        torch.export.save(exported, path)
        loaded = torch.export.load(path).module()
    return _test(lambda inputs: loaded(*inputs), program, generator, path)


def _export_onnx(program: Program, generator: Generator, path: Path) -> float:
    try:
        import onnx
        import onnxscript  # noqa: F401  torch's exporter needs it
        from onnx.reference import ReferenceEvaluator
    except ImportError as error:
        raise ConfigError(f'ONNX needs more ({error.name}): python -m pip install "aigc-zoo[onnx]"') from error
    with _explain_failure(generator, "torch.onnx"), torch.no_grad(), explained(path):
        exported = torch.onnx.export(
            program,
            tuple(_inputs(program, generator, EXAMPLE_ROWS)),
            input_names=list(program.names),
            output_names=["fake"],
            dynamic_shapes=_dynamic_batch_size(program),
            dynamo=True,
            verbose=False,
        )
        assert exported is not None
        exported.save(str(path), external_data=False)
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
        evaluator = ReferenceEvaluator(model)

    def run(inputs: Sequence[Tensor]) -> Tensor:
        entries = {name: value.numpy() for name, value in zip(program.names, inputs, strict=True)}
        return torch.from_numpy(np.asarray(next(iter(evaluator.run(None, entries)))))

    return _test(run, program, generator, path)


def _dynamic_batch_size(program: Program) -> dict[str, Any]:
    return {"entries": tuple({0: torch.export.Dim("rows", min=1, max=65536)} for _ in program.names)}


def _inputs(program: Program, generator: Generator, rows: int) -> list[Tensor]:
    batch = example_batch(generator, rows)
    return [batch[name] for name in program.names]


def _test(run: Callable[[Sequence[Tensor]], Tensor], program: Program, generator: Generator, path: Path) -> float:
    """The error on a batch of another size than the one that the program was traced with."""
    inputs = _inputs(program, generator, TEST_ROWS)
    with torch.no_grad():
        return _compare(program(*inputs), run(inputs), generator, path)


def _compare(expected: Tensor, found: Tensor, generator: Generator, path: Path) -> float:
    """The largest difference as a fraction of the range. ConfigError where it is over TOLERANCE."""
    low, high = generator.spec.range or (-1.0, 1.0)
    if found.shape != expected.shape:
        raise ConfigError(
            f"{path}: the exported generator gives samples of shape {tuple(found.shape)}, not {tuple(expected.shape)}"
        )
    error = float((found - expected).abs().max()) / (high - low)
    if not error <= TOLERANCE:
        raise ConfigError(
            f"{path}: the exported generator differs from the original by {error:.2g} of the range of its samples, "
            f"more than {TOLERANCE:.0e}"
        )
    return error


@contextmanager
def _explain_failure(generator: Generator, exporter: str) -> Iterator[None]:
    """Turns what an exporter raises into a ConfigError, and hides its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (OSError, ZooError):
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            raise ConfigError(f"{generator.card['recipe']} cannot be exported by {exporter}: {text}") from error


def _record(source: Path, generator: Generator, program: Program, files: list[Path], licence: str) -> dict[str, Any]:
    """The content of published.json."""
    card = generator.card
    metrics = read_lines(RunDirectory(source).metrics_path) if source.is_dir() else []
    batch = example_batch(generator, 1)
    return {
        "schema": 1,
        **{key: card[key] for key in ("recipe", "options", "slots", "plugins", "versions", "spec", "classes", "data")},
        "step": card["step"],
        "images": card["images"],
        "weights": generator.weights,
        "licence": licence,
        "inputs": {name: list(value.shape[1:]) for name, value in batch.items() if name in program.names},
        "files": {
            path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
            for path in files
        },
        "metrics": [line for line in metrics if line["step"] == card["step"]],
    }
