"""`--device`: what torch finds is taken, what the project has not tested says so, and anything else is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import aigc_zoo
from aigc_zoo import devices
from aigc_zoo.cli import main
from aigc_zoo.data.pool import Fetcher, Pool
from aigc_zoo.engine import fast
from aigc_zoo.errors import ConfigError, UsageError
from aigc_zoo.game import adam
from aigc_zoo.random import seeded
from aigc_zoo.run.device import choose_device

Machine = Callable[..., list[str]]
META = torch.device("meta")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A function that makes torch find so many devices; it returns the list of calls that select one."""
    for name in ("WORLD_SIZE", "LOCAL_RANK", "RANK"):
        monkeypatch.delenv(name, raising=False)

    def have(*, cuda: int = 0, xpu: int = 0, mps: bool = False) -> list[str]:
        calls: list[str] = []
        for backend, count in ((torch.cuda, cuda), (torch.xpu, xpu)):
            monkeypatch.setattr(backend, "is_available", lambda count=count: count > 0)
            monkeypatch.setattr(backend, "device_count", lambda count=count: count)
            monkeypatch.setattr(backend, "set_device", lambda device: calls.append(str(device)))
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        return calls

    have()
    return have


@pytest.mark.promise("U9", 1, 1)
@pytest.mark.parametrize(
    ("found", "wanted", "device"),
    [
        ({}, "auto", "cpu"),
        ({}, "cpu", "cpu"),
        ({"cuda": 1}, "auto", "cuda:0"),
        ({"cuda": 2}, "cuda", "cuda:0"),
        ({"cuda": 2}, "cuda:0", "cuda:0"),
        ({"cuda": 2}, "cuda:1", "cuda:1"),
        ({"cuda": 12}, "cuda:11", "cuda:11"),
        ({"cuda": 2}, "cpu", "cpu"),
        ({"xpu": 2}, "xpu", "xpu:0"),
        ({"xpu": 2}, "xpu:1", "xpu:1"),
        ({"mps": True}, "mps", "mps"),
        ({"mps": True}, "auto", "cpu"),
        ({"xpu": 1}, "auto", "cpu"),
    ],
)
def test_a_device_that_torch_finds_is_taken(
    machine: Machine, found: dict[str, int], wanted: str, device: str, promise: Any
) -> None:
    calls = machine(**found)
    assert str(choose_device(wanted)) == device
    assert calls == ([device] if ":" in device else [])
    promise.kept(taken=1)


@pytest.mark.promise("U9", 1, 1)
@pytest.mark.parametrize(
    ("found", "wanted", "use"),
    [
        ({}, "cuda", "cpu"),
        ({}, "mps", "cpu"),
        ({}, "xpu:1", "cpu"),
        ({"cuda": 1}, "cuda:1", "cpu or cuda:0"),
        ({"cuda": 2}, "mps", "cpu, cuda:0 or cuda:1"),
        ({"xpu": 1}, "xpu:7", "cpu or xpu:0"),
        ({"mps": True}, "cuda:0", "cpu or mps"),
        ({"cuda": 1}, "cuda:9999", "cpu or cuda:0"),
    ],
)
def test_a_device_that_torch_does_not_find_is_refused(
    machine: Machine, found: dict[str, int], wanted: str, use: str, promise: Any
) -> None:
    machine(**found)
    with pytest.raises(ConfigError) as caught:
        choose_device(wanted)
    assert str(caught.value) == f"--device {wanted}: torch finds no such device here; use --device {use}"
    for one in use.replace(" or ", ", ").split(", "):
        choose_device(one)  # what the message advises works
    promise.kept(refused=1)


@pytest.mark.parametrize(
    "word",
    ["gpu", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cuda:01", "cuda:N", "cpu:0", "mps:0", "auto:0", "xpu:1:2", ""],
)
def test_what_is_no_device_is_refused_alike(
    machine: Machine, capsys: pytest.CaptureFixture[str], tmp_path: Path, word: str
) -> None:
    with pytest.raises(UsageError) as caught:
        choose_device(word)
    message = f"--device {word}: not one of auto, cpu, cuda, cuda:N, mps, xpu, xpu:N"
    assert str(caught.value) == message
    commands = ("train vanilla --out", "bench speed vanilla --json", "sample", "eval")
    for command in commands:
        assert main([*command.split(), str(tmp_path / "x"), "--device", word]) == 2
        assert capsys.readouterr().err.startswith(f"zoo: {message}\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("found", "wanted", "rank", "outcome"),
    [
        ({"cuda": 2}, "cuda", 1, "cuda:1"),
        ({"cuda": 2}, "auto", 1, "cuda:1"),
        ({"cuda": 2}, "cpu", 1, "cpu"),
        ({}, "auto", 1, "cpu"),
        ({"cuda": 2}, "cuda:1", 0, "2 ranks train on --device cuda, a GPU for each, or --device cpu"),
        ({"mps": True}, "mps", 0, "2 ranks train on --device cuda"),
        ({"xpu": 2}, "xpu", 1, "2 ranks train on --device cuda"),
        ({"cuda": 1}, "cuda", 1, "torch finds one CUDA device\nuse torchrun --nproc-per-node 1"),
        ({}, "cuda", 1, "torch finds no such device here; use --device cpu"),
    ],
)
def test_each_rank_takes_a_gpu_of_its_own(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, found: dict[str, int], wanted: str, rank: int, outcome: str
) -> None:
    machine(**found)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    if not outcome.endswith(("cpu", "cuda:1")) or " " in outcome:
        with pytest.raises(ConfigError) as caught:
            choose_device(wanted)
        assert outcome in str(caught.value)
    else:
        assert str(choose_device(wanted)) == outcome


@pytest.mark.parametrize(
    ("name", "tested"), [("cpu", True), ("cuda:0", True), ("cuda:1", False), ("mps", False), ("xpu:0", False)]
)
def test_an_untested_device_says_so_in_one_line(name: str, tested: bool) -> None:
    note = devices.untested(torch.device(name))
    assert (note == "") == tested
    assert note == "" or (f"device {name} is not tested" in note and "\n" not in note)


def test_commands_say_that_a_device_is_untested(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The CPU stands in for the device, whose kernels this machine lacks."""
    monkeypatch.setattr(devices, "untested", lambda device: "device xpu:0 is not tested by this project")
    note = "note: device xpu:0 is not tested by this project\n"
    run = tmp_path / "run"
    words = ["--data", "ring", "--steps", "1", "--eval-every", "9", "--eval-num", "64", "--batch-size", "8"]
    assert main(["train", "vanilla", *words, "--out", str(run)]) == 0
    assert capsys.readouterr().err.count(note) == 1
    for command in ("sample", "eval"):
        assert main([command, str(run), *(["--num", "64"] if command == "eval" else [])]) == 0
        assert capsys.readouterr().err.count(note) == 1


# --- what depends on the device ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "native", "precision", "why"),
    [
        ("mps", False, "fp32", "bf16 is not tested on mps"),
        ("xpu:0", False, "fp32", "this GPU has no native bf16"),
        ("xpu:1", True, "bf16", "native on this hardware: bfloat16 conversions"),
    ],
)
def test_precision_is_that_of_the_device(
    monkeypatch: pytest.MonkeyPatch, device: str, native: bool, precision: str, why: str
) -> None:
    properties = SimpleNamespace(has_bfloat16_conversions=native)
    monkeypatch.setattr(torch.xpu, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(fast.precision, "processor_flags", lambda: frozenset({"amx_bf16"}))  # not those of the CPU
    assert fast.choose_precision("auto", torch.device(device)) == fast.Choice(precision, why)
    assert fast.choose_precision("fp32", torch.device(device)) == fast.Choice("fp32", "asked for")
    assert fast.choose_precision("bf16", torch.device(device)).name == "bf16"


@pytest.mark.parametrize("device", ["cpu", "mps", "xpu:0"])
def test_only_cuda_has_graphs(device: str) -> None:
    where = {"cpu": "a CPU", "mps": "mps", "xpu:0": "xpu"}[device]
    engine = fast.Engine(fast.Choice("auto", ""), torch.device(device), [], [])
    assert engine.choice == fast.Choice("eager", f"there are no CUDA graphs on {where}")
    where = "the CPU" if device == "cpu" else device
    with pytest.raises(ConfigError, match=f"needs a CUDA device, and this run is on {where}: say --engine eager"):
        fast.Engine(fast.Choice("graph", "asked for"), torch.device(device), [], [])


def test_only_the_cpu_has_learning_rates_in_double_precision() -> None:
    for device, dtype in (("cpu", torch.float64), ("meta", torch.float32)):
        made = adam(1e-3)([torch.nn.Parameter(torch.zeros(1))])
        assert made.param_groups[0]["lr"].dtype == torch.float64
        plain = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1, device=device))], lr=1e-3)
        fast.tune(plain, torch.device(device))
        assert plain.param_groups[0]["lr"].dtype == dtype
        assert plain.param_groups[0]["lr"].device.type == device


def test_rows_that_do_not_fit_are_copied_to_a_device_without_streams() -> None:
    fetched = Fetcher(META).fetch((0,), lambda: {"real": torch.zeros(2, 3)})
    assert (fetched["real"].device, fetched["real"].shape) == (META, (2, 3))


def test_out_of_memory_is_recognized_on_every_device() -> None:
    for text in ("MPS backend out of memory (MPS allocated: 1 GB)", "DefaultCPUAllocator: not enough memory"):
        assert fast.out_of_memory(RuntimeError(text))
    assert fast.out_of_memory(torch.OutOfMemoryError())
    assert not fast.out_of_memory(RuntimeError("shape mismatch"))


class Backend:
    """The functions of torch.xpu, torch.cuda or torch.mps that devices calls, each of which records its call."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            self.calls.append(" ".join([name, *(str(one) for one in arguments if not isinstance(one, torch.Tensor))]))
            results = {"mem_get_info": (800, 1000), "recommended_max_memory": 900, "driver_allocated_memory": 100}
            results |= {"get_rng_state": torch.zeros(4), "get_device_name": "Model", "get_name": "Model"}
            return results.get(name, True)

        return call


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Backend:
    fake = Backend()
    monkeypatch.setattr(torch, "get_device_module", lambda device: fake)
    monkeypatch.setattr(torch, "mps", fake)
    monkeypatch.setattr(torch.backends, "mps", fake)
    return fake


@pytest.mark.parametrize("name", ["cuda:1", "xpu:0", "mps"])
def test_memory_clock_and_noise_are_those_of_the_device(backend: Backend, name: str) -> None:
    device, index = torch.device(name), "" if name == "mps" else f" {name}"
    assert devices.free_memory(device) == 800
    assert devices.name(device) == f"{device.type}: Model"
    devices.synchronize(device)
    devices.empty_cache(device)
    with seeded(device, 1):
        pass
    assert f"synchronize{index}" in backend.calls
    assert "empty_cache" in backend.calls
    assert f"get_rng_state{index}" in backend.calls
    assert f"set_rng_state{index}" in backend.calls
    assert any(call.startswith("manual_seed ") for call in backend.calls), "the generator of MPS is seeded"


def test_a_pool_takes_a_quarter_of_the_free_memory(backend: Backend) -> None:
    from aigc_zoo.data import pool
    from aigc_zoo.data.samples import array_samples
    from aigc_zoo.game import Spec

    assert [pool._free(torch.device(name)) for name in ("cpu", "cuda:1", "xpu:0", "mps")] == [None, 200, 200, 200]
    rows = array_samples("x", "train", Spec(shape=(3,)), torch.zeros(100, 3))
    assert not Pool(rows, META, budget=100).resident
    assert Pool(rows, META, budget=100).batch(0, 0, 4)["real"].device == META


def test_a_run_resumes_on_the_same_device_by_another_name(tmp_path: Path) -> None:
    settings = {"steps": 2, "batch_size": 8, "eval_every": 9, "eval_num": 64}
    aigc_zoo.train("vanilla", "ring", out=tmp_path, device="auto", **settings)
    result = aigc_zoo.train("vanilla", "ring", out=tmp_path, device="cpu", **settings).result
    assert result is not None
    assert result.notes == ("this run is finished; nothing was done (more --steps or --images continue it)",)
