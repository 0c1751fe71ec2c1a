"""Extractors: networks that turn uint8 pictures into the features that metrics compare."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import torch
from torch import Tensor, nn

from aigc_zoo.artefacts.checkpoint import digest
from aigc_zoo.data.download import fetch
from aigc_zoo.errors import ConfigError, DataError, ZooError
from aigc_zoo.metrics.fidelity import library
from aigc_zoo.metrics.protocol import versions_of
from aigc_zoo.options import bind
from aigc_zoo.plugins import Catalogue
from aigc_zoo.random import seeded

BATCH = 64
"""Pictures a forward pass, recorded in the protocol: kernels may round differently for other numbers."""


class Features(NamedTuple):
    """What an extractor makes of samples: features (N, D), and logits (N, classes) where it has any. On the CPU."""

    features: Tensor
    logits: Tensor | None = None


def joined(parts: Sequence[Features]) -> Features:
    """One look at all of the samples."""
    if not parts:
        return Features(torch.zeros(0, 0))
    logits = [part.logits for part in parts if part.logits is not None]
    return Features(torch.cat([part.features for part in parts]), torch.cat(logits) if logits else None)


@dataclass(frozen=True)
class Extractor:
    """A frozen network in evaluation mode, and what the protocol says of it."""

    id: str
    name: str
    module: nn.Module
    digest: str
    device: torch.device
    versions: dict[str, str]
    note: str = ""

    @torch.no_grad()
    def look(self, images: Tensor) -> Features:
        """What it makes of pictures (N, C, H, W) uint8; kinds that it does not take are a ConfigError."""
        # TF32 would round features to ten bits where a GPU offers it: unlike the CPU, and unlike published numbers.
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            try:
                made: Mapping[str, Tensor] = self.module(images.to(self.device))
            except ValueError as error:
                raise ConfigError(f"extractor {self.id} does not take these pictures: {error}") from error
        logits = made.get("logits")
        return Features(made["features"].cpu(), None if logits is None else logits.cpu())

    def features(self, images: Tensor) -> Tensor:
        """The features (N, D) alone."""
        return self.look(images).features

    def stream(self, chunks: Iterable[Tensor], batch: int = BATCH) -> Iterator[Features]:
        """Looks at pictures that come in chunks of any size, always `batch` at a time."""
        for part in rebatched(chunks, batch):
            yield self.look(part)

    def classes(self, shape: tuple[int, ...]) -> int:
        """How many classes it tells apart, 0 where it is no classifier."""
        logits = self.look(torch.zeros(1, *shape, dtype=torch.uint8)).logits
        return 0 if logits is None else logits.shape[1]

    def has_logits(self, shape: tuple[int, ...]) -> bool:
        return self.classes(shape) > 0


class _Coordinates(nn.Module):
    """Points are their own features."""

    def forward(self, points: Tensor) -> dict[str, Tensor]:
        return {"features": points.flatten(1).float()}


def coordinates() -> Extractor:
    """What judges points: no network, but the points as they are."""
    return Extractor("points", "points", _Coordinates(), "none", torch.device("cpu"), versions_of())


def rebatched(chunks: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """The same rows in the same order, `size` at a time; the last may be fewer."""
    rest: Tensor | None = None
    for chunk in chunks:
        rest = chunk if rest is None else torch.cat((rest, chunk))
        while len(rest) >= size:
            yield rest[:size]
            rest = rest[size:]
    if rest is not None and len(rest):
        yield rest


def load_extractor(
    catalogue: Catalogue,
    reference: str,
    *,
    weights: Path | None = None,
    device: torch.device | str = "cpu",
) -> Extractor:
    """The extractor that a name means. Raises ConfigError, and DataError for a weights file that is not the right one.

    Its target is called without arguments, or, where it has a parameter `weights`, with a `Weights` to ask for tensors
    that it does not ship. `weights` is the file that they are in, in place of a download; where they are not the
    published ones, `note` of the result says so, and the digest in every protocol keeps their values apart.
    """
    library()  # without torch-fidelity nothing can be measured: say so before anything is trained
    entry, build = bind(catalogue, "extractor", reference)
    needy = "weights" in signature(entry.load()).parameters
    if weights is not None and not needy:
        raise ConfigError(f"{entry.id} brings its own weights: leave out --extractor-weights {weights}")
    source = Weights(entry.id, weights)
    with seeded(torch.device("cpu"), "extractor", entry.id):
        module: nn.Module = build(source) if needy else build()
    module = module.to(device).eval().requires_grad_(False)
    return Extractor(
        id=entry.id,
        name=entry.name,
        module=module,
        digest=digest(module.state_dict(), {})[:16],
        device=torch.device(device),
        versions=versions_of(entry.distribution),
        note=" ".join(source.notes),
    )


# --- weights that are not shipped -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weights:
    """What an extractor calls for tensors that it does not ship: from the user's file, or downloaded once.

    A download must be the published file. A user's own may be another, such as weights of a later training: it is read
    as tensors only, `notes` names it, and its digest is in the protocol.
    """

    extractor: str
    file: Path | None = None
    notes: list[str] = field(default_factory=list)

    def __call__(self, url: str, *, sha256: str, size: int) -> dict[str, Tensor]:
        """The tensors of the file of that digest and about that size in bytes. Raises DataError, ConfigError."""
        if self.file is None:
            return read_weights(self._downloaded(url, sha256, size), sha256={sha256}, max_bytes=2 * size)
        data = _bytes(self.file, 2 * size)
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            self.notes.append(
                f"{self.file} is not the published weights file of {self.extractor} (its SHA-256 begins with "
                f"{found[:16]}, not {sha256[:16]}): values compare only with others of the same file"
            )
        return _tensors(self.file, data, 2 * size)

    def _downloaded(self, url: str, sha256: str, size: int) -> Path:
        """The file where torch.hub, hence torch-fidelity, keeps it too, so that either's download serves both."""
        path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name
        try:
            fetch(url, path, f"sha256:{sha256}", 2 * size)
        except ZooError as error:
            said = "\n".join(str(error).splitlines()[:2])
            raise type(error)(f"{self.extractor}: {said}\nor name it with --extractor-weights FILE") from error
        return path


def read_weights(path: Path, *, sha256: Collection[str], max_bytes: int) -> dict[str, Tensor]:
    """The tensors of a file that `torch.save` wrote, read only when its SHA-256 is one of those. Raises DataError.

    The one place where the zoo reads a pickle: of known content, capped in size, tensors only, from the very bytes that
    were hashed. A flipped bit would otherwise load and be believed (388 of 400, measured).
    """
    data = _bytes(path, max_bytes)
    found = hashlib.sha256(data).hexdigest()
    if found not in sha256:
        wanted = " or ".join(sorted(one[:16] for one in sha256))
        raise DataError(
            f"{path} is not the published weights file: its SHA-256 begins with {found[:16]}, not {wanted}\n"
            "delete it, or give another with --extractor-weights FILE"
        )
    return _tensors(path, data, max_bytes)


def _bytes(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise DataError(
            f"the weights file {path} cannot be read: {error.strerror}\nname another with --extractor-weights FILE"
        ) from error
    if len(data) > max_bytes:
        raise DataError(
            f"{path} is larger than the {max_bytes:,} bytes that such weights may have: give the right file"
        )
    return data


def _tensors(path: Path, data: bytes, max_bytes: int) -> dict[str, Tensor]:
    """The named tensors that these bytes hold, and nothing else."""
    if zipfile.is_zipfile(io.BytesIO(data)):  # what it unpacks to is capped, too
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(member.file_size for member in archive.infolist()) > max_bytes:
                raise DataError(f"{path} unpacks to more than the {max_bytes:,} bytes that such weights may have")
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds, chosen by who wrote the file
        raise DataError(f"{path} holds something else than named tensors: {type(error).__name__}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DataError(f"{path} holds something else than named tensors: give the right file")
    return dict(state)
