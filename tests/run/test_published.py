"""Weights that a plugin publishes with digest, size, licence and metrics: downloaded once and sampled."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from aigc_zoo import options
from aigc_zoo.discovery import Manager
from aigc_zoo.errors import ConfigError, DataError
from aigc_zoo.plugins import Catalogue, catalogue
from aigc_zoo.run.export import export_generator
from aigc_zoo.run.generator import load_generator
from aigc_zoo.run.loop import train
from aigc_zoo.run.prepare import prepare
from aigc_zoo.run.published import resolve_source
from aigc_zoo.spec import Component, Weights

from .conftest import TINY

SHA = "0" * 64
MANIFEST = """
from aigc_zoo.spec import Component, Weights, hookimpl

ZOO_API = 1


@hookimpl
def zoo_components():
    yield Component(
        kind="recipe", name="trained", target=f"{{__name__}}:make", summary="Trained",
        weights={{"blobs": Weights(url={url!r}, sha256={sha!r}, bytes={size}, licence="MIT", metrics={metrics!r})}},
    )
"""


@pytest.fixture(scope="module")
def published(blobs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    chosen = options.resolve(catalogue(), "dcgan", data=str(blobs), given={**TINY, "eval_every": 12}, origin="python")
    train(prepare(catalogue(), chosen), folder / "run")
    export_generator(catalogue(), folder / "run", folder / "out", licence="CC-BY-4.0")
    return folder / "out"


@pytest.fixture
def served(published: Path) -> Iterator[str]:
    """The URL of the published file on an HTTP server on this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object, **keywords: object) -> None:
            super().__init__(*args, directory=str(published), **keywords)  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/generator.safetensors"
        server.shutdown()


def plugin(folder: Path, published: Path, url: str, **changes: object) -> Catalogue:
    """A plugin that publishes the file with the facts in published.json."""
    record = json.loads((published / "published.json").read_text())
    about = record["files"]["generator.safetensors"]
    values = {
        "url": url,
        "sha": about["sha256"],
        "size": about["bytes"],
        "metrics": tuple(record["metrics"]),
        **changes,
    }
    (folder / "publisher.py").write_text(MANIFEST.format(**values))
    manager = Manager()
    manager.load_setuptools_entrypoints()
    manager.load_file(folder / "publisher.py")
    return Catalogue(manager)


def test_published_weights_are_downloaded_once_and_sampled(published: Path, served: str, tmp_path: Path) -> None:
    found = plugin(tmp_path, published, served)
    path = resolve_source(found, "trained@blobs", local=True)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
    expected = load_generator(catalogue(), published / "generator.safetensors").sample(3)
    assert torch.equal(load_generator(found, path).sample(3), expected)
    gone = plugin(tmp_path, published, "http://127.0.0.1:1/gone.safetensors")
    assert resolve_source(gone, "local/trained@blobs") == path, "the file is in the cache"
    metrics = found.find("recipe", "trained").entry.component.weights["blobs"].metrics
    assert {metric["protocol"]["num"] for metric in metrics} == {192}


def test_content_that_does_not_match_the_digest_is_refused(published: Path, served: str, tmp_path: Path) -> None:
    found = plugin(tmp_path, published, served, sha=SHA)
    with pytest.raises(DataError):
        resolve_source(found, "trained@blobs", local=True)


def test_weights_that_are_not_published_are_refused(published: Path, served: str, tmp_path: Path) -> None:
    found = plugin(tmp_path, published, served)
    with pytest.raises(ConfigError, match=r"no weights 'blob'; did you mean 'blobs'\?\npublished: trained@blobs"):
        resolve_source(found, "trained@blob")
    with pytest.raises(ConfigError, match="published: none"):
        resolve_source(found, "dcgan@mnist")
    assert resolve_source(found, tmp_path) == tmp_path
    assert resolve_source(found, tmp_path / "nosuch") == tmp_path / "nosuch"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": "ftp://x/y"}, "by https"),
        ({"sha256": "abc"}, "SHA-256"),
        ({"bytes": 0}, "size in bytes"),
        ({"licence": ""}, "licence"),
        ({"metrics": ({"name": "fid", "value": 1.0},)}, "a protocol"),
    ],
)
def test_incomplete_weights_are_refused(changes: dict[str, object], message: str) -> None:
    good = {"url": "https://x/y", "sha256": SHA, "bytes": 1, "licence": "MIT"}
    Weights(**good)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        Weights(**{**good, **changes})  # type: ignore[arg-type]


def test_only_recipes_publish_weights() -> None:
    weights = {"a": Weights(url="https://x/y", sha256=SHA, bytes=1, licence="MIT")}
    Component(kind="recipe", name="x", target="a:b", summary="s", weights=weights)
    with pytest.raises(ValueError, match="must be a recipe's"):
        Component(kind="loss", name="x", target="a:b", summary="s", weights=weights)
