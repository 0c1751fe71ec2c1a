"""`zoo export`: every exported file is loaded by the library that it is for."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from variants import FILES

from aigc_zoo import options
from aigc_zoo.cli import main
from aigc_zoo.errors import ConfigError
from aigc_zoo.plugins import catalogue
from aigc_zoo.run import export as module
from aigc_zoo.run.export import Program, example_batch, export_generator
from aigc_zoo.run.generator import load_generator
from aigc_zoo.run.loop import train
from aigc_zoo.run.prepare import prepare

from .conftest import TINY


def run_of(blobs: Path, folder: Path, **settings: Any) -> Path:
    chosen = options.resolve(catalogue(), "dcgan", data=str(blobs), given={**TINY, **settings}, origin="python")
    train(prepare(catalogue(), chosen), folder)
    return folder


@pytest.fixture(scope="module")
def run(blobs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of(blobs, tmp_path_factory.mktemp("published") / "run", eval_every=12)


@pytest.fixture(scope="module")
def conditional(blobs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    more = {"conditional": True, "extractor": None, "eval_every": None, "eval_num": None}
    return run_of(blobs, tmp_path_factory.mktemp("published") / "conditional", **more)


def test_every_file_is_loaded_without_aigc_zoo(run: Path, tmp_path: Path) -> None:
    generator = load_generator(catalogue(), run)
    written = export_generator(catalogue(), run, tmp_path / "out", onnx=True, licence="CC-BY-4.0")
    assert [path.name for path, _ in written] == ["generator.safetensors", "generator.pt2", "generator.onnx"]
    assert all(error <= 1e-5 for _, error in written)
    again = load_generator(catalogue(), tmp_path / "out" / "generator.safetensors")
    assert torch.equal(again.sample(3), generator.sample(3))

    z = example_batch(generator, 7, seed=3)["z"]
    with torch.no_grad():
        expected = Program(generator)(z)
    code = (
        "import sys, torch; torch.save(torch.export.load(sys.argv[1]).module()(torch.load(sys.argv[2])), sys.argv[3])"
    )
    torch.save(z, tmp_path / "z.pt")
    files = [str(tmp_path / "out" / "generator.pt2"), str(tmp_path / "z.pt"), str(tmp_path / "fake.pt")]
    blocked = "import sys; sys.modules['aigc_zoo'] = None\n"
    subprocess.run([sys.executable, "-c", blocked + code, *files], check=True, timeout=120)
    torch.testing.assert_close(torch.load(tmp_path / "fake.pt"), expected, rtol=0, atol=2e-5)

    model = onnx.load(str(tmp_path / "out" / "generator.onnx"))
    assert [entry.name for entry in model.graph.input] == ["z"]
    found = ReferenceEvaluator(model).run(None, {"z": z.numpy()})[0]
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=2e-5)


def test_the_record_holds_digests_license_and_metrics(run: Path, tmp_path: Path) -> None:
    export_generator(catalogue(), run, tmp_path, licence="CC-BY-4.0")
    record = json.loads((tmp_path / "published.json").read_text())
    assert record["licence"] == "CC-BY-4.0"
    assert record["recipe"] == "zoo/dcgan"
    assert record["inputs"] == {"z": [8]}
    assert set(record["files"]) == {"generator.safetensors", "generator.pt2"}
    for name, about in record["files"].items():
        data = (tmp_path / name).read_bytes()
        assert (about["bytes"], about["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    metric = record["metrics"][0]
    assert metric["name"] == "fid-zoo-grey28"
    assert {one["protocol"]["num"] for one in record["metrics"]} == {192}
    assert record["plugins"] == {"aigc-zoo": {"version": "0.1.0", "api": 1}}


def test_a_conditional_generator_takes_a_label(conditional: Path, tmp_path: Path) -> None:
    export_generator(catalogue(), conditional, tmp_path, onnx=True)
    record = json.loads((tmp_path / "published.json").read_text())
    assert record["inputs"] == {"label": [2], "z": [8]}
    program = torch.export.load(tmp_path / "generator.pt2").module()
    z = torch.randn(1, 8).expand(2, 8)
    one, two = program(torch.eye(2), z)
    assert not torch.allclose(one, two)


def test_a_file_that_differs_is_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOLERANCE", -1.0)
    with pytest.raises(ConfigError, match="differs from the original"):
        export_generator(catalogue(), run, tmp_path)
    assert not (tmp_path / "published.json").exists()


def test_without_onnx_the_extra_is_named(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r'python -m pip install "aigc-zoo\[onnx\]"'):
        export_generator(catalogue(), run, tmp_path, onnx=True)


def exported(folder: Path, generate: str) -> dict[str, Any]:
    """The record of an export of the family `weighted` with this result of `generate`."""
    source = FILES["weighted"].read_text(encoding="utf-8")
    old = 'return {"fake": nets.G(batch["z"])}'
    assert old in source
    file = folder / "family.py"
    file.write_text(source.replace(old, generate))
    own = catalogue([file])
    given = {"steps": 1, "batch_size": 4, "device": "cpu", "eval_every": 10**6}
    train(prepare(own, options.resolve(own, "local/weighted", given=given, origin="python")), folder / "run")
    export_generator(own, folder / "run", folder / "out")
    return dict(json.loads((folder / "out" / "published.json").read_text()))


@pytest.mark.parametrize(
    "generate",
    [
        'return {"fake": nets.G(batch.get("z"))}',
        'return {"fake": nets.G({**batch}["z"])}',
        'batch = dict(batch)\n        return {"fake": nets.G(batch["z"]) * (1 - 0 * batch["t"])}',
        'return {"z": batch["z"], "fake": nets.G(batch["z"].to(next(nets.G.parameters()).dtype))}',
    ],
)
def test_generate_may_read_its_batch_in_any_way(generate: str, tmp_path: Path) -> None:
    assert exported(tmp_path, generate)["inputs"] == {"z": [8]}


@pytest.mark.parametrize(
    ("generate", "message"),
    [
        ('return {"fake": nets.G(batch["z"]).view_as(batch["real"])}', "its generate reads 'real'"),
        ('return {"fake": nets.G(batch["z"]) if batch["z"].sum() > 0 else -nets.G(batch["z"])}', "by torch.export"),
        (
            'z = batch["z"]\n        return {"fake": torch.stack([nets.G(z[i]) for i in range(len(z))])}',
            "by torch.export",
        ),
        ('return {"fake": nets.G(batch["z"] + torch.randn_like(batch["z"]))}', "differs from the original"),
        ('return {"fake": nets.G(torch.tensor(batch["z"].numpy()))}', "by torch.export"),
    ],
)
def test_what_breaks_an_export_is_explained(generate: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        exported(tmp_path, generate)
    assert len(str(error.value).splitlines()) <= 3


def test_export_and_data_commands(run: Path, capsys: pytest.CaptureFixture[str], blobs: Path) -> None:
    assert main(["export", str(run), "--to", str(run / "here")]) == 0
    output = capsys.readouterr().out.splitlines()
    assert len(output) == 3
    assert "generator.pt2" in output[1]
    assert "differs by" in output[1]
    assert main(["export", str(run / "nosuch"), "--to", "x"]) == 65
    assert main(["data", "list", "--json"]) == 0
    items = {item["name"]: item for item in json.loads(capsys.readouterr().out)["items"]}
    assert items["digits"]["state"] == "drawn"
    assert items["cifar10"]["state"] in ("here", "absent")
    assert main(["data", "prepare", "ring"]) == 0
    output = capsys.readouterr().out
    assert "50,000" in output
    assert "0, 1, 2, 3, 4, 5, 6, 7" in output
    assert main(["data", "prepare", str(blobs)]) == 0
    assert main(["data", "prepare", "rign"]) == 65


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "_ZOO_COMPLETE" in capsys.readouterr().out


def test_completion_lists_the_commands() -> None:
    import os

    env = {**os.environ, "_ZOO_COMPLETE": "bash_complete", "COMP_WORDS": "zoo ch", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, "-m", "aigc_zoo"], capture_output=True, text=True, env=env, timeout=60)
    assert "plain,check" in done.stdout
