"""bf16 autocast: hardware detection, and which tensors it applies to."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sketch.conv import conv_trainer, logistic
from sketch.toy import Weight, player, toy
from sketch.training import snapshot, train
from sketch.two_player import CPU, in_bf16, two_player_trainer
from torch import Tensor, nn

from aigc_zoo.engine import fast
from aigc_zoo.game import Batch, Nets, Terms, adam


@pytest.mark.parametrize(
    ("flags", "capability", "expected"),
    [
        ({"avx512f", "avx512_bf16"}, "AVX512", "bf16"),
        ({"avx512f", "avx512_bf16", "amx_bf16"}, "AVX512_AMX", "bf16"),
        ({"avx512f", "avx512bw"}, "AVX512", "fp32"),
        ({"avx2", "fma"}, "AVX2", "fp32"),
        ({"avx512_bf16"}, "AVX2", "fp32"),  # disabled by ATEN_CPU_CAPABILITY
        (set(), "DEFAULT", "fp32"),
    ],
)
def test_auto_selects_bf16_on_cpus_with_native_support(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], capability: str, expected: str
) -> None:
    monkeypatch.setattr(fast.precision, "processor_flags", lambda: frozenset(flags))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    choice = fast.choose_precision("auto", CPU)
    assert choice.name == expected
    assert "native" in choice.why
    assert fast.choose_precision("fp32", CPU) == fast.Choice("fp32", "asked for")
    requested = fast.choose_precision("bf16", CPU)
    assert requested.name == "bf16"
    assert ("emulates" in requested.why) == (expected == "fp32")


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_auto_selects_bf16_by_compute_capability(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert fast.choose_precision("auto", torch.device("cuda", 0)).name == expected


class RecordingLinear(nn.Linear):
    """A linear layer that records the dtypes of its input and its output."""

    def forward(self, x: Tensor) -> Tensor:
        output = super().forward(x)
        self.dtypes = x.dtype, output.dtype
        return output


def test_networks_compute_in_bf16_and_everything_else_in_float32() -> None:
    dtypes: dict[str, torch.dtype] = {}

    class NestedOutput(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Any]:
            h = x @ x.T
            return {"h": h, "rest": [h.sum(), h.argmax()]}

    def loss(nets: Nets, batch: Batch) -> Terms:
        logits = nets.D(batch["real"])
        dtypes["logits"] = logits.dtype
        dtypes["outside"] = (logits @ logits.T).dtype
        dtypes["state"] = nets.state(logits)["h"].dtype
        return {"loss": logits.square().mean()}

    nets = {"G": Weight(), "H": Weight(), "D": RecordingLinear(1, 1), "state": NestedOutput()}
    a = toy({"discriminator": player("D", loss=loss)}, networks=lambda spec: nets)
    a.dtype, _ = torch.float32, a.nets.float()
    a._autocast = fast.Autocast(CPU, a.nets.values())
    a.train_step()
    assert a.nets.D.dtypes == (torch.float32, torch.bfloat16)
    assert dtypes == dict.fromkeys(("logits", "outside", "state"), torch.float32)
    assert a.nets.D.weight.grad is not None
    assert a.nets.D.weight.grad.dtype == torch.float32


def test_nested_bf16_outputs_become_float32_and_other_dtypes_stay() -> None:
    class Many(nn.Linear):
        def forward(self, x: Tensor) -> Any:
            output = super().forward(x)
            return {"a": (output, [output])}, output.argmax(), "text", output.half()

    net = Many(2, 2)
    with fast.Autocast(CPU, [net]):
        found, index, text, half = net(torch.ones(1, 2))
    assert found["a"][0].dtype == found["a"][1][0].dtype == torch.float32
    assert (index.dtype, text, half.dtype) == (torch.int64, "text", torch.float16)


def test_an_error_in_a_network_ends_autocast() -> None:
    class Broken(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("broken")

    net = Broken(2, 2)
    with fast.Autocast(CPU, [net]), pytest.raises(RuntimeError, match="broken"):
        net(torch.ones(1, 2))
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.slow  # imports the tracer
def test_the_call_of_a_compiled_network_is_wrapped() -> None:
    net, plain, constrained = (
        nn.Linear(64, 3),
        nn.Linear(64, 3),
        nn.utils.parametrizations.spectral_norm(nn.Linear(64, 3)),
    )
    plain.load_state_dict(net.state_dict())
    x, exact, expected = torch.randn(8, 64), net(torch.ones(1, 64)), constrained.eval()(torch.ones(1, 64))
    for one in (net, constrained):
        one.compile(backend="eager")
    with fast.Autocast(CPU, [net, plain, constrained]):
        assert torch.equal(net(x), plain(x)), "bf16 inside"
        assert net(x).dtype == torch.float32
        assert torch.equal(constrained(torch.ones(1, 64)), expected), "float32 with a parametrization"
    assert torch.equal(net(torch.ones(1, 64)), exact), "autocast is active inside a step only"
    assert not torch.equal(net(x), net(x).bfloat16().float())


def test_a_forward_pass_without_graph_does_not_affect_the_next() -> None:
    """bf16 weights are cached for a turn; those cached by a forward pass under `no_grad` would have no graph."""
    x = torch.randn(4, 8)

    def loss(nets: Nets, batch: Batch) -> Terms:
        with torch.no_grad():
            before = nets.D(x).mean()
        return {"loss": nets.D(x).square().mean() + nets.D(x + 1).mean() - before}

    networks = lambda spec: {"G": Weight(), "H": Weight(), "D": nn.Linear(8, 1)}  # noqa: E731
    a = toy({"discriminator": player("D", loss=loss)}, networks=networks)
    a.nets.float()
    in_bf16(a)
    before = [weight.detach().clone() for weight in a.nets.D.parameters()]
    train(a, 1)
    assert all(not torch.equal(one, other) for one, other in zip(before, a.nets.D.parameters(), strict=True))
    one = a.nets.D(x)
    train(a, 1)
    assert not torch.equal(one, a.nets.D(x)), "no weight is cached beyond the turn"


@pytest.mark.parametrize("norm", [True, False])
def test_bf16_follows_float32(norm: bool) -> None:
    settings: dict[str, Any] = {} if not norm else {"penalties": ()}
    make = lambda: conv_trainer(norm, logistic, dtype=torch.float32, optimizer=adam(1e-3, 0.5), **settings)  # noqa: E731
    for ours, theirs in zip(train(in_bf16(make()), 3), train(make(), 3), strict=True):
        for name in ours:
            assert ours[name].dtype == torch.float32
            torch.testing.assert_close(ours[name], theirs[name], rtol=0.05, atol=0.05)
            assert not torch.equal(ours[name], theirs[name])


def test_second_derivatives_in_bf16_follow_float32() -> None:
    a, b = in_bf16(two_player_trainer()), two_player_trainer()
    for ours, theirs in zip(train(a, 4), train(b, 4), strict=True):
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], rtol=0.1, atol=0.05)


def test_samples_are_generated_in_float32() -> None:
    a = in_bf16(two_player_trainer())
    train(a, 2)
    for ema in (True, False):
        samples = a.sampler(ema=ema).chunk(0)["fake"]
        b = two_player_trainer()
        b.load(*snapshot(a))
        assert torch.equal(samples, b.sampler(ema=ema).chunk(0)["fake"]), ema
