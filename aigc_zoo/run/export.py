"""A generator for others: its file, a program that needs none of our code, a record; all re-run and compared."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aigc_zoo.artefacts import checkpoint
from aigc_zoo.artefacts.atomic import explained, make_folder, write_json
from aigc_zoo.artefacts.runs import RunDirectory, read_lines
from aigc_zoo.engine.sampler import CHUNK
from aigc_zoo.errors import ConfigError, DataError
from aigc_zoo.plugins import Catalogue
from aigc_zoo.random import seeded
from aigc_zoo.run.generator import Generator, load_generator, read_generator

TOLERANCE = 1e-5
"""How far a re-run may be from the generator itself, of the range of its samples."""

EXAMPLE, OTHER = 2, 5
"""Rows of the batch that a program is made from, and of the one that it is tried on: the number is free."""

WEIGHTS, PROGRAM, ONNX, RECORD = "generator.safetensors", "generator.pt2", "generator.onnx", "published.json"


class Program(nn.Module):
    """A generator as a function of the noise, and the label, that its recipe's `make` reads."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.nets = generator.nets
        self.make = generator.recipe.generate
        t = torch.tensor(float(generator.card["t"])), torch.tensor(float(generator.card["images"]))
        self.fixed = dict(zip(("t", "images"), t, strict=True))
        self.names = tuple(self._read_of(batch_of(generator, EXAMPLE)))

    def _read_of(self, batch: Mapping[str, Tensor]) -> list[str]:
        """The entries that `make` looks at, in the order of the batch."""
        seen: set[str] = set()

        class Watched(dict[str, Tensor]):
            def __getitem__(self, key: str) -> Tensor:
                seen.add(key)
                return super().__getitem__(key)

        with torch.no_grad():
            self.make(self.nets, Watched({**batch, **self.fixed}))
        return [name for name in batch if name in seen]

    def forward(self, *entries: Tensor) -> Tensor:
        batch = {**dict(zip(self.names, entries, strict=True)), **self.fixed}
        return self.make(self.nets, batch)["fake"]


def batch_of(generator: Generator, rows: int, seed: int = 0) -> dict[str, Tensor]:
    """Noise, and labels where there are classes, for `rows` samples."""
    shown = {generator.recipe.imitates: torch.zeros(rows, *generator.spec.shape)}
    if generator.spec.classes:
        labels = torch.arange(rows) % generator.spec.classes
        shown["label"] = torch.nn.functional.one_hot(labels, generator.spec.classes).float()
    with seeded(torch.device("cpu"), seed, "publish", rows):
        drawn = dict(generator.recipe.draw(shown))
    return {name: value for name, value in shown.items() if name == "label"} | drawn


def publish(
    catalogue: Catalogue, source: Path, folder: Path, *, onnx: bool = False, licence: str = ""
) -> list[tuple[Path, float]]:
    """Writes the generator of a run, or a generator's file, to `folder`; returns each file with its largest error.

    `generator.safetensors` is read back by this library; `generator.pt2` by `torch.export.load`, `generator.onnx` by
    any ONNX runtime, both as a function of noise (and label) with any number of rows. `published.json` has their
    digests and sizes, the licence, and the run's metrics with their protocols. Every file is re-run and compared.

    Raises ConfigError for a generator that cannot be written so, or differs by more than TOLERANCE; DataError,
    StorageError.
    """
    generator = load_generator(catalogue, source)
    if generator.recipe.inputs:
        entries = ", ".join(generator.recipe.inputs)
        raise ConfigError(
            f"{source}: its generator reads {entries}, so it is no function of noise: use its .safetensors"
        )
    make_folder(folder)
    done = [(folder / WEIGHTS, _weights(catalogue, source, folder / WEIGHTS, generator))]
    program = Program(generator).eval()
    done.append((folder / PROGRAM, _program(program, generator, folder / PROGRAM)))
    if onnx:
        done.append((folder / ONNX, _onnx(program, generator, folder / ONNX)))
    write_json(folder / RECORD, _record(source, folder, generator, program, [path for path, _ in done], licence))
    return done


def _weights(catalogue: Catalogue, source: Path, path: Path, generator: Generator) -> float:
    tensors, card = read_generator(source)
    checkpoint.save(path, tensors, card)
    again = load_generator(catalogue, path)
    return _compared(generator.sample(CHUNK), again.sample(CHUNK), generator, path)


def _program(program: Program, generator: Generator, path: Path) -> float:
    shapes = tuple({0: torch.export.Dim("rows", min=1, max=65536)} for _ in program.names)
    with _explained(generator, "torch.export"), torch.no_grad(), explained(path):
        exported = torch.export.export(
            program, tuple(_inputs(program, generator, EXAMPLE)), dynamic_shapes={"entries": shapes}
        )
        torch.export.save(exported, path)
        loaded = torch.export.load(path).module()
    return _tried(lambda inputs: loaded(*inputs), program, generator, path)


def _onnx(program: Program, generator: Generator, path: Path) -> float:
    try:
        import onnx
        import onnxscript  # noqa: F401  torch's exporter needs it
        from onnx.reference import ReferenceEvaluator
    except ImportError as error:
        raise ConfigError(f'ONNX needs more ({error.name}): python -m pip install "aigc-zoo[onnx]"') from error
    shapes = tuple({0: torch.export.Dim("rows", min=1, max=65536)} for _ in program.names)
    with _explained(generator, "torch.onnx"), torch.no_grad(), explained(path):
        made = torch.onnx.export(
            program,
            tuple(_inputs(program, generator, EXAMPLE)),
            input_names=list(program.names),
            output_names=["fake"],
            dynamic_shapes={"entries": shapes},
            dynamo=True,
            verbose=False,
        )
        assert made is not None
        made.save(str(path), external_data=False)
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
        evaluator = ReferenceEvaluator(model)

    def run(inputs: Sequence[Tensor]) -> Tensor:
        given = {name: value.numpy() for name, value in zip(program.names, inputs, strict=True)}
        return torch.from_numpy(np.asarray(next(iter(evaluator.run(None, given)))))

    return _tried(run, program, generator, path)


def _inputs(program: Program, generator: Generator, rows: int) -> list[Tensor]:
    batch = batch_of(generator, rows)
    return [batch[name] for name in program.names]


def _tried(run: Callable[[Sequence[Tensor]], Tensor], program: Program, generator: Generator, path: Path) -> float:
    """The error on a batch of another size than the one that it was made from."""
    inputs = _inputs(program, generator, OTHER)
    with torch.no_grad():
        return _compared(program(*inputs), run(inputs), generator, path)


def _compared(expected: Tensor, found: Tensor, generator: Generator, path: Path) -> float:
    """The largest difference, in shares of the range; ConfigError where it is too large."""
    low, high = generator.spec.range or (-1.0, 1.0)
    if found.shape != expected.shape:
        raise ConfigError(f"{path}: re-run it gives samples of shape {tuple(found.shape)}, not {tuple(expected.shape)}")
    error = float((found - expected).abs().max()) / (high - low)
    if not error <= TOLERANCE:
        raise ConfigError(
            f"{path}: re-run it differs from the generator by {error:.2g} of the range, over {TOLERANCE:.0e}"
        )
    return error


class _explained:
    """What an exporter raises, in a sentence; its warnings are its own affair."""

    def __init__(self, generator: Generator, exporter: str) -> None:
        self.what = f"{generator.card['recipe']} cannot be written by {exporter}"
        self.quiet = warnings.catch_warnings()

    def __enter__(self) -> None:
        self.quiet.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self.quiet.__exit__(kind, error, trace)
        if isinstance(error, Exception) and not isinstance(error, OSError | ConfigError | DataError):
            text = " ".join(str(error).split())[:300]
            raise ConfigError(f"{self.what}: {type(error).__name__}: {text}") from error


def _record(
    source: Path, folder: Path, generator: Generator, program: Program, files: list[Path], licence: str
) -> dict[str, Any]:
    """What the files are, that they are whole, what they may be used for, how good they are."""
    card = generator.card
    metrics = read_lines(RunDirectory(source).metrics_path) if source.is_dir() else []
    return {
        "schema": 1,
        **{key: card[key] for key in ("recipe", "options", "slots", "plugins", "versions", "spec", "classes", "data")},
        "step": card["step"],
        "images": card["images"],
        "weights": generator.weights,
        "licence": licence,
        "inputs": {
            name: list(value.shape[1:]) for name, value in batch_of(generator, 1).items() if name in program.names
        },
        "files": {
            path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
            for path in files
        },
        "metrics": [line for line in metrics if line["step"] == card["step"]],
    }
