"""Weights that a plugin publishes: `acme/dcgan@mnist` is a file that is fetched once, whole and as it was stated."""

from __future__ import annotations

from pathlib import Path

from aigc_zoo.data.download import Progress, fetch
from aigc_zoo.data.place import cache_folder
from aigc_zoo.errors import ConfigError, did_you_mean
from aigc_zoo.plugins import Catalogue


def located(catalogue: Catalogue, source: Path | str, *, progress: Progress | None = None, local: bool = False) -> Path:
    """The path itself where it exists, else the file of the published weights that RECIPE@NAME means.

    They lie in the cache under their digest, so that no two of one name are mixed up. `local` is for tests: it admits
    http from this machine. Raises ConfigError for what is not published, DataError for another content than stated,
    StorageError where it cannot be had. What is neither a path nor such a name is returned as it is.
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
    place = cache_folder() / "weights" / f"{weights.sha256}.safetensors"
    return fetch(weights.url, place, f"sha256:{weights.sha256}", weights.bytes, local=local, progress=progress)
