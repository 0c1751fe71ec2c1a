"""Feature extractors: networks that map uint8 images to the features and logits that metrics compare."""

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
from aigc_zoo.data.modalities import modality_of_extractor
from aigc_zoo.errors import ConfigError, DataError, ZooError
from aigc_zoo.game import Spec
from aigc_zoo.metrics.protocol import versions_of
from aigc_zoo.options import bind
from aigc_zoo.plugins import Catalogue
from aigc_zoo.random import seeded

NO_WEIGHTS = "none"
"""The digest of an extractor without tensors, such as the coordinates of points."""

BATCH = 64
"""Images per forward pass. It is part of the protocol, since kernels may round differently for other batch sizes."""


class Features(NamedTuple):
    """Output of an extractor, on the CPU: features `values` (N, D), and logits (N, classes) if it is a classifier."""

    values: Tensor
    logits: Tensor | None = None


def concatenate(parts: Sequence[Features]) -> Features:
    """Concatenate the features of consecutive batches."""
    if not parts:
        return Features(torch.zeros(0, 0))
    logits = [part.logits for part in parts if part.logits is not None]
    return Features(torch.cat([part.values for part in parts]), torch.cat(logits) if logits else None)


@dataclass(frozen=True)
class Extractor:
    """A frozen network in evaluation mode, with its entries of the protocol.

    note           a sentence for the user on its weights or features
    classes        names of the classes of its logits, as its component states them
    modality       id of the modality of the samples that it takes
    coarse         whether its features are coarse, so that only some metrics have a meaning (tag "coarse")
    num            default number of samples, 0 for the usual one: the attribute `num` of the module
    reference_num  the same of the reference
    """

    id: str
    name: str
    module: nn.Module
    digest: str
    device: torch.device
    versions: dict[str, str]
    note: str = ""
    classes: tuple[str, ...] = ()
    modality: str = Spec.modality
    coarse: bool = False
    num: int = 0
    reference_num: int = 0

    @torch.no_grad()
    def extract_features(self, images: Tensor) -> Features:
        """Features of images (N, C, H, W) uint8. Raises ConfigError for images that the network does not accept."""
        # TF32 would round features to ten bits where a GPU offers it: unlike the CPU, and unlike published numbers.
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            try:
                output: Mapping[str, Tensor] = self.module(images.to(self.device))
            except ValueError as error:
                raise ConfigError(f"extractor {self.id} does not accept these images: {error}") from error
        logits = output.get("logits")
        return Features(output["features"].cpu(), None if logits is None else logits.cpu())

    def features(self, images: Tensor) -> Tensor:
        """Features (N, D) of images, without logits."""
        return self.extract_features(images).values

    def stream(self, chunks: Iterable[Tensor], batch: int = BATCH) -> Iterator[Features]:
        """Yield the features of images that come in chunks of any size, `batch` images at a time."""
        for part in rebatch(chunks, batch):
            yield self.extract_features(part)


def rebatch(chunks: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """Yield the same rows in the same order, `size` at a time; the last batch may be smaller."""
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
    """Load an extractor by name. Raises ConfigError, and DataError for a wrong weights file.

    The target is called without arguments, or, if it has a parameter `weights`, with `ExtractorWeights` that return
    tensors which the plugin does not ship. `weights` is a file with these tensors, used instead of a download. If it is
    not the published file, `note` of the result says so, and the digest in each protocol keeps its values apart.
    """
    entry, build = bind(catalogue, "extractor", reference)
    needs_weights = "weights" in signature(entry.load()).parameters
    if weights is not None and not needs_weights:
        raise ConfigError(f"{entry.id} ships its own weights: remove --extractor-weights {weights}")
    source = ExtractorWeights(entry.id, weights)
    with seeded(torch.device("cpu"), "extractor", entry.id):
        module: nn.Module = build(source) if needs_weights else build()
    module = module.to(device).eval().requires_grad_(False)
    return Extractor(
        id=entry.id,
        name=entry.name,
        module=module,
        digest=digest(module.state_dict(), {})[:16] if module.state_dict() else NO_WEIGHTS,
        device=torch.device(device),
        # A plugin file is known by its content; a package's version is the one that is installed.
        versions=versions_of() | {entry.distribution if entry.file is None else entry.namespace: entry.version},
        note=" ".join(source.notes),
        classes=entry.component.classes,
        modality=modality_of_extractor(catalogue, entry),
        coarse="coarse" in entry.component.tags,
        num=int(getattr(module, "num", 0)),
        reference_num=int(getattr(module, "reference_num", 0)),
    )


# --- weights that are not shipped -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ExtractorWeights:
    """Callable that returns tensors which an extractor does not ship: from the user's file, or downloaded once.

    A download must be the published file. A user's file may differ, for example weights of a later training: it is read
    as tensors only, `notes` names it, and its digest is in the protocol. `option` is that of the command line which
    takes the file.
    """

    extractor: str
    file: Path | None = None
    option: str = "--extractor-weights"
    notes: list[str] = field(default_factory=list)

    def __call__(self, url: str, *, sha256: str, size: int) -> dict[str, Tensor]:
        """The tensors of the file with this digest and about this size in bytes. Raises DataError, ConfigError."""
        if self.file is None:
            return read_weights(
                self._download(url, sha256, size), sha256={sha256}, max_bytes=2 * size, option=self.option
            )
        data = _read_bytes(self.file, 2 * size, self.option)
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            self.notes.append(
                f"{self.file} is not the published weights file of {self.extractor} (its SHA-256 begins with "
                f"{found[:16]}, not {sha256[:16]}): its values are comparable only with others of the same file"
            )
        return _tensors(self.file, data, 2 * size)

    def _download(self, url: str, sha256: str, size: int) -> Path:
        """Download to the path that torch.hub and torch-fidelity use, so that they share the file."""
        path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name
        try:
            fetch(url, path, f"sha256:{sha256}", 2 * size)
        except ZooError as error:
            message = "\n".join(str(error).splitlines()[:2])
            raise type(error)(f"{self.extractor}: {message}\nor pass the file with {self.option} FILE") from error
        return path


def read_weights(
    path: Path, *, sha256: Collection[str], max_bytes: int, option: str = "--extractor-weights"
) -> dict[str, Tensor]:
    """Read the tensors of a file written by `torch.save`, if its SHA-256 is one of those. Raises DataError, whose text
    names the `option` that takes another file.

    This is the only place where the zoo reads a pickle: of known content, capped in size, tensors only, from the same
    bytes that were hashed. Without the check a file with a flipped bit would load (388 of 400, measured).
    """
    data = _read_bytes(path, max_bytes, option)
    found = hashlib.sha256(data).hexdigest()
    if found not in sha256:
        wanted = " or ".join(sorted(one[:16] for one in sha256))
        raise DataError(
            f"{path} is not the published weights file: its SHA-256 begins with {found[:16]}, not {wanted}\n"
            f"delete it, or pass another file with {option} FILE"
        )
    return _tensors(path, data, max_bytes)


def _read_bytes(path: Path, max_bytes: int, option: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise DataError(
            f"the weights file {path} cannot be read: {error.strerror}\npass another file with {option} FILE"
        ) from error
    if len(data) > max_bytes:
        raise DataError(
            f"{path} is larger than the limit of {max_bytes:,} bytes for these weights: pass the right file"
        )
    return data


def _tensors(path: Path, data: bytes, max_bytes: int) -> dict[str, Tensor]:
    """Load a dictionary of tensors from bytes; any other content is an error."""
    if zipfile.is_zipfile(io.BytesIO(data)):  # the unpacked size is capped, too
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(member.file_size for member in archive.infolist()) > max_bytes:
                raise DataError(f"{path} unpacks to more than the limit of {max_bytes:,} bytes for these weights")
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # the type depends on the content of the file
        raise DataError(f"{path} does not contain a dictionary of tensors: {type(error).__name__}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DataError(f"{path} does not contain a dictionary of tensors: pass the right file")
    return dict(state)
