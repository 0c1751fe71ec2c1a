"""Weights that a plugin publishes: `acme/dcgan@mnist` names a file that is downloaded once and verified."""

from __future__ import annotations

from pathlib import Path

from aigc_zoo.data.download import Progress, fetch
from aigc_zoo.data.place import cache_folder
from aigc_zoo.errors import ConfigError, did_you_mean
from aigc_zoo.plugins import Catalogue


def resolve_source(
    catalogue: Catalogue, source: Path | str, *, progress: Progress | None = None, local: bool = False
) -> Path:
    """The path where it exists, else the downloaded file of the published weights RECIPE@NAME.

    Anything else is returned as a path. Files are cached under their digest, so that equal names are not confused.
    `local` allows http from this machine, for tests. Raises ConfigError for weights that are not published, DataError
    for content that does not match the published digest, StorageError where the download fails.
    """
    path = Path(source)
    reference, at, name = str(source).rpartition("@")
    if path.exists() or not at:
        return path
    entry = catalogue.find("recipe", reference).entry
    published = entry.component.weights
    if name not in published:
        known = ", ".join(f"{reference}@{one}" for one in published) or "none"
        raise ConfigError(
            f"recipe {entry.id} has no weights {name!r}{did_you_mean(name, published)}\npublished: {known}"
        )
    weights = published[name]
    cached = cache_folder() / "weights" / f"{weights.sha256}.safetensors"
    return fetch(weights.url, cached, f"sha256:{weights.sha256}", weights.bytes, local=local, progress=progress)
