"""Metrics of plugins: rows of entries, extractors of their own, names, errors and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from aigc_zoo import plugins
from aigc_zoo.cli import main
from aigc_zoo.data import resolve
from aigc_zoo.data.pool import Pool
from aigc_zoo.errors import ConfigError, DataError, UsageError
from aigc_zoo.game import Spec
from aigc_zoo.metrics import generated
from aigc_zoo.metrics.evaluate import Evaluator
from aigc_zoo.metrics.features import load_extractor
from aigc_zoo.metrics.known import Metrics
from aigc_zoo.metrics.protocol import describe
from aigc_zoo.run.evaluate import evaluate
from aigc_zoo.run.signals import Interrupted
from aigc_zoo_plugins.metrics.pairs import ms_ssim_of, psnr_of, ssim_of

PLUGIN = """
from collections.abc import Iterator

import torch
from torch import nn

from aigc_zoo.data.samples import image_samples, with_entries
from aigc_zoo.game import Player, Recipe
from aigc_zoo.metric import Measured, Metric, Value
from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1


@hookimpl
def zoo_components():
    yield Component(kind="dataset", name="pairs", target=f"{__name__}:pairs", summary="s")
    for name in ("copy", "alone"):
        defaults = {"data": "pairs", "eval_num": 100}
        yield Component(kind="recipe", name=name, target=f"{__name__}:{name}", summary="s", defaults=defaults)
    for name in ("light", "digits", "rows", "broken", "fid", "codes", "raises", "lacks", "strays"):
        yield Component(kind="metric", name=name, target=f"{__name__}:{name}", summary="s")


def pairs(where):
    splits = {}
    for number, (split, count) in enumerate({"train": 150, "test": 120}.items()):
        draws = torch.Generator().manual_seed(number)
        real = torch.randint(0, 256, (count, 1, 28, 28), dtype=torch.uint8, generator=draws)
        source = (real.int() + 20 * (number + 1)).clamp(0, 255).to(torch.uint8)
        both = (image_samples("pairs", split, one) for one in (real, source))
        splits[split] = with_entries(next(both), source=next(both))
    return splits


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.w * x


def recipe(inputs):
    def draw(real):
        return {"code": torch.arange(len(real["real"])).float()[:, None]}

    def generate(nets, batch):
        source = batch["source"] if inputs else batch["real"]
        return {"fake": nets.G(source), "cycled": source + 0.1, "identity": batch["real"] - 0.2}

    still = lambda parameters: torch.optim.SGD(parameters, lr=0.0)
    player = Player(controls=("G",), loss=lambda nets, batch: {"loss": batch["fake"].mean()}, optimizer=still)
    return Recipe(networks=lambda spec: {"G": Net()}, draw=draw, generate=generate, players={"generator": player},
                  inputs=inputs, generators=("G",), batch_size=8)


def copy():
    return recipe(("source",))


def alone():
    return recipe(())


def light():
    def measure(view):
        total = sum(float(chunk["fake"].double().sum()) for chunk in view.chunks("fake"))
        real = sum(float(chunk.double().sum()) for chunk in view.samples("reference"))
        return {"light": Measured(total / view.num, data={"value": real})}

    return Metric((Value("light", "light", "higher", warn=lambda value, record: "too dark" if value < 1 else ""),),
                  measure, needs=frozenset({"samples"}))


def digits():
    def measure(view):
        return {"digits": Measured(float(view.logits().argmax(1).unique().numel())),
                "dimensions": Measured(view.features().shape[1])}

    values = Value("digits", "digits", "higher"), Value("dimensions", "dimensions", "higher")
    return Metric(values, measure, extractor="zoo/zoo-grey28", needs=frozenset({"features", "logits"}))


def rows():
    def measure(view):
        chunks = list(view.chunks("fake", "source", "real"))
        assert max(len(chunk["fake"]) for chunk in chunks) <= 64
        equal = all(torch.equal(chunk["fake"], chunk["source"]) for chunk in chunks)
        return {"rows": Measured(sum(len(chunk["fake"]) for chunk in chunks) if equal else 0)}

    return Metric((Value("rows", "rows", "higher"),), measure, entries=("source", "real"), needs=frozenset({"samples"}))


def codes():
    def measure(view):
        return {"codes": Measured(float(torch.cat([chunk["code"] for chunk in view.chunks("fake", "code")]).max()))}

    return Metric((Value("codes", "codes", "higher"),), measure, entries=("code",), needs=frozenset({"samples"}))


def raises():
    def measure(view):
        return {}["key"]

    return Metric((Value("raises", "raises", "higher"),), measure, needs=frozenset({"samples"}))


def lacks():
    return Metric((Value("lacks", "lacks", "higher"),), lambda view: {"other": Measured(1.0)},
                  needs=frozenset({"samples"}))


def strays():
    def measure(view):
        new = sum(int((chunk["fake"] != chunk["source"]).any()) for chunk in view.chunks("fake", "source"))
        held_out = sum(len(chunk) for chunk in view.samples("held_out"))
        return {"strays": Measured(held_out - new)}

    return Metric((Value("strays", "strays", "higher"),), measure, entries=("source",),
                  needs=frozenset({"samples", "held_out"}))


def broken():
    raise RuntimeError("no such file")


def fid():
    return Metric((Value("fid", "another FID", "higher"),), lambda view: {"fid": Measured(1.0)},
                  needs=frozenset({"samples"}))
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin") / "stranger.py"
    path.write_text(PLUGIN)
    return path


@pytest.fixture(scope="module")
def found(file: Path) -> plugins.Catalogue:
    return plugins.catalogue((file,))


@pytest.fixture(scope="module")
def run(file: Path, found: plugins.Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the recipe that copies its source."""
    out = tmp_path_factory.mktemp("runs") / "copy"
    words = ["--plugin", file, "train", "copy", "--steps", "2", "--out", out, "--metrics", "psnr,rows,light,digits"]
    assert main([str(word) for word in words]) == 0
    return out


def value_of(records: list[dict[str, Any]], name: str) -> float:
    return next(float(record["value"]) for record in records if record["name"] == name)


def split(found: plugins.Catalogue, name: str) -> Mapping[str, Tensor]:
    return resolve.load(found, "pairs")[name].fields


# --- pairs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("evaluated", ["train", "test"])
def test_pairs_are_measured_on_inputs_of_the_split_that_is_evaluated(
    found: plugins.Catalogue, run: Path, evaluated: str
) -> None:
    """The recipe returns its source, which is brighter than the target by 20 levels, in the test split by 40."""
    names = ("psnr", "ssim", "cycle-error", "identity-error")
    records = evaluate(found, run, split=evaluated, metrics=names, num=100)
    fields = split(found, evaluated)
    real, source = fields["real"][:100], fields["source"][:100]
    for name, formula in (("psnr", psnr_of), ("ssim", ssim_of)):
        wanted = formula(source, real)
        assert value_of(records, name) == pytest.approx(float(wanted.mean()), rel=1e-12)
        (record,) = (one for one in records if one["name"] == name)
        half = 1.96 * float(wanted.std()) / 10
        assert record["interval"] == pytest.approx([record["value"] - half, record["value"] + half])
        stamp = record["protocol"]
        assert (stamp["reference"], stamp["split"], stamp["reference_num"]) == ("pairs", evaluated, 100)
        assert (stamp["extractor"], stamp["num"]) == ("", 100)
        assert describe(stamp) == f"100 samples (raw weights) against 100 of pairs {evaluated}"
    assert value_of(records, "cycle-error") == pytest.approx(0.05, abs=1e-6), "0.1 of a range of 2"
    assert value_of(records, "identity-error") == pytest.approx(0.1, abs=1e-6)


def test_training_measures_rows_too(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = {line["name"]: line["value"] for line in lines if line["step"] == 2}
    assert list(last) == ["psnr", "local/rows", "local/light", "local/digits-zoo-grey28", "local/dimensions-zoo-grey28"]
    assert last["local/rows"] == 100
    assert last["local/dimensions-zoo-grey28"] == 128
    held_out = json.loads((run / "held_out.json").read_text())
    assert held_out["selected_by"] == "psnr on train"
    finals = {one["name"]: one["value"] for one in held_out["metrics"] if one["which"] == "final"}
    assert finals["psnr"] < last["psnr"] - 3, "the test split's sources are further from their targets"


def test_pairs_are_no_metric_of_recipes_without_inputs_and_of_files(
    found: plugins.Catalogue, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--plugin", file, "train", "alone", "--steps", "1", "--out", tmp_path / "run", "--metrics", "psnr"]
    assert main([str(word) for word in words]) == 3
    assert "it reads the entry 'real', which these samples do not come with" in capsys.readouterr().err
    assert main([str(word) for word in words[:-2]]) == 0
    assert not any("psnr" in line for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    records = evaluate(found, tmp_path / "run", metrics=("codes",))
    assert records[0]["value"] == 63, "each chunk draws its own codes"
    with pytest.raises(ConfigError, match="'source', which these samples"):
        evaluate(found, tmp_path / "run", metrics=("rows",))


def test_large_images_alone_have_five_scales(found: plugins.Catalogue, run: Path) -> None:
    with pytest.raises(ConfigError, match="MS-SSIM needs images of at least 176 pixels a side"):
        evaluate(found, run, metrics=("ms-ssim",))
    assert float(ms_ssim_of(*(torch.zeros(1, 1, 176, 176, dtype=torch.uint8),) * 2)) == pytest.approx(1)


def test_rows_that_do_not_fit_in_memory_are_generated_again(
    found: plugins.Catalogue, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("psnr", "ssim", "rows", "light", "digits")
    wanted = evaluate(found, run, metrics=names)
    monkeypatch.setattr(generated, "KEEP", 1)
    assert evaluate(found, run, metrics=names) == wanted


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_metric_of_another_package_is_named_by_its_id(found: plugins.Catalogue) -> None:
    known, spec = Metrics(found), Spec(shape=(1, 28, 28))
    (name,) = known.named(("light",), spec)
    assert name.endswith("/light")
    assert known.named((name,), spec) == (name,)
    every = known.named(("all",), spec)
    assert every[:4] == ("fid", "variance-ratio", "duplicates", "modes"), "those of the modality come first"
    assert name in every
    assert not any("broken" in one for one in every)
    assert known.alarm("duplicates") == "near-duplicates"
    assert known.alarm("inexact") == "inexact"
    assert known.value("fid-zoo-grey28").title == "FID"
    assert known.value("local/fid").title == "another FID"
    assert known.value("local/light").better == "higher"
    assert known.warnings([{"name": "local/light", "value": 0.5}]) == {"local/light": "too dark"}
    assert known.warnings([{"name": "light", "value": 0.5}, {"name": "local/gap-points", "value": 0.1}]) == {}
    with pytest.raises(UsageError, match="nonsense: unknown metric; choose from fid, variance-ratio"):
        known.named(("nonsense",), spec)


def test_a_metric_that_cannot_be_built_is_an_error_where_it_is_named_alone(found: plugins.Catalogue, run: Path) -> None:
    with pytest.raises(ConfigError, match=r"broken.*no such file"):
        evaluate(found, run, metrics=("broken",))
    notes: list[str] = []
    names = {record["name"] for record in evaluate(found, run, metrics=("all",), allow_few=True, note=notes.append)}
    assert sum(note.startswith(("left out local/raises: ", "left out local/lacks: ")) for note in notes) == 2
    assert {"local/light", "local/rows", "psnr", "local/fid"} <= names


def test_few_samples_are_refused_for_a_metric_without_features(found: plugins.Catalogue) -> None:
    samples = resolve.load(found, "pairs")["train"]
    evaluator = Evaluator(None, samples, metrics=(), num=5, installed=Metrics(found))
    assert "has no extractor" in evaluator.unavailable_reason("fid")
    evaluator.choose(("light",))
    (record,) = evaluator.measure([samples.fields["real"][:5]], weights="files", seed=None)
    assert record["value"] == float(samples.fields["real"][:5].double().sum()) / 5
    assert record["data"]["value"] == float(samples.fields["real"].double().sum())
    with pytest.raises(DataError, match="3 samples were given where 5 are needed"):
        evaluator.measure([samples.fields["real"][:3]], weights="files", seed=None)


def test_samples_are_read_once_for_all_metrics_and_extractors(found: plugins.Catalogue) -> None:
    samples = resolve.load(found, "pairs")["train"]
    evaluator = Evaluator(
        load_extractor(found, "pixels"), samples, metrics=("variance-ratio", "light", "digits"), num=100,
        installed=Metrics(found),
    )  # fmt: skip
    reads = []

    def source() -> Iterator[Mapping[str, Tensor]]:
        reads.append(1)
        yield {"fake": Pool(samples, "cpu").samples.fields["real"][:100]}

    records = evaluator.score(evaluator.generated(source), weights="files", seed=None)
    assert len(reads) == 1
    assert [record["name"] for record in records] == [
        "variance-ratio-pixels", "local/light", "local/digits-zoo-grey28", "local/dimensions-zoo-grey28",
    ]  # fmt: skip


def test_what_measure_raises_or_lacks_is_an_error_that_names_the_metric(found: plugins.Catalogue, run: Path) -> None:
    with pytest.raises(ConfigError, match=r"metric local/raises of stranger\.py .*KeyError"):
        evaluate(found, run, metrics=("raises",))
    with pytest.raises(ConfigError, match=r"metric local/lacks of stranger\.py measures no 'lacks'"):
        evaluate(found, run, metrics=("lacks",))


@pytest.mark.usefixtures("cache")
def test_a_request_to_stop_passes_through_a_metric(found: plugins.Catalogue) -> None:
    samples = resolve.load(found, "pairs")["train"]

    def stop(what: str, done: int, total: int) -> None:
        if what != "samples":
            raise Interrupted

    evaluator = Evaluator(load_extractor(found, "pixels"), samples, metrics=("variance-ratio",), num=100, progress=stop)
    with pytest.raises(Interrupted):
        evaluator.measure([samples.fields["real"][:100]], weights="files", seed=None)


def test_a_metric_of_the_held_out_split_reads_rows_too(found: plugins.Catalogue, run: Path) -> None:
    """It belongs to a second evaluator, which shares the samples of the first one."""
    records = evaluate(found, run, metrics=("light", "strays"), num=100)
    assert value_of(records, "local/strays") == 120, "all of the held-out split, and every sample is its source"


def test_metrics_of_other_packages_are_imported_where_they_are_named(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loud = tmp_path / "loud.py"
    loud.write_text(PLUGIN.replace("def light():", "def light():\n    print('imported', flush=True)"))
    words = ["--plugin", loud, "train", "copy", "--steps", "1", "--out", tmp_path / "run", "--metrics"]
    assert main([str(word) for word in (*words, "psnr,ssim")]) == 0
    assert main(["--plugin", str(loud), "report", str(tmp_path / "run")]) == 0
    assert "imported" not in capsys.readouterr().out
    assert main([str(word) for word in (*words, "light", "--fresh")]) == 0
    assert "imported" in capsys.readouterr().out
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["run"]["metrics"] == "local/light", "a short name is recorded as what it meant"


@pytest.mark.slow
def test_two_ranks_measure_exactly_what_one_does(file: Path, run: Path, tmp_path: Path) -> None:
    """100 samples are two chunks, the last one incomplete; the rows of both ranks are put together in their order."""
    out = tmp_path / "two"
    train = ["-m", "aigc_zoo", "--plugin", file, "train", "copy", "--steps", "2", "--out", out]
    words = [*train, "--metrics", "psnr,rows,light,digits"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [str(word) for word in (*launch, *words)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 0, done.stderr
    assert (out / "metrics.jsonl").read_text() == (run / "metrics.jsonl").read_text()


LARGE = """
import re
from pathlib import Path
import torch
from aigc_zoo.data.samples import image_samples, with_entries
from aigc_zoo.metrics import generated
from aigc_zoo.metrics.evaluate import Evaluator

COUNT = 768
photos = torch.randint(0, 256, (64, 3, 256, 256), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
few = image_samples("photos", "train", photos)


def source():
    for number in range(COUNT // 64):
        yield {"fake": photos.roll(number, 3), "real": photos}


metrics = ("psnr", "ssim")
data = with_entries(few, source=few)
evaluator = Evaluator(None, data, metrics=metrics, num=COUNT, has_entry=lambda name: True)
assert 2 * COUNT * photos[0].nbytes > generated.KEEP, "they are not kept"
values = [record["value"] for record in evaluator.score(evaluator.generated(source), weights="files", seed=None)]
assert 0 < values[1] < 1 < values[0] < 100, values
status = Path("/proc/self/status").read_text()  # ru_maxrss would be at least that of the process that forked
print(int(re.search(r"VmHWM:\\s*(\\d+) kB", status)[1]) >> 10)
"""


@pytest.mark.slow
def test_pairs_of_large_images_need_less_than_a_gibibyte() -> None:
    """Rows that do not fit are read again for each metric, so that the number of pairs does not count."""
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1_024
