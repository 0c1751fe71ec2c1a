"""What makes a step fast: layout, precision, optimisers, and graphs, which a tape stands in for on the CPU."""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable
from typing import Any

import pytest
import torch
from forked import ended, fork
from sketch.conv import Critic, logistic, pair
from sketch.families import FAMILIES
from sketch.play import difference, play, snapshot, start
from sketch.tape import NoReads, Tapes
from sketch.toy import Weight, game, player, pull
from torch import Tensor, nn

from aigc_zoo.engine import fast
from aigc_zoo.engine.guard import DeviceGuard
from aigc_zoo.engine.state import tensors
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Batch, Every, Nets, Penalty, Terms, adam, clipped, linear, rmsprop

CPU = torch.device("cpu")


def slope(of: str) -> Callable[[], Any]:
    def term(critic: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
        x = batch[of]
        (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
        assert gradient.dtype == x.dtype
        return gradient.flatten(1).square().sum(1).mean()

    return lambda: term


LAZY = (Penalty(slope("real"), weight=0.5, every=2, name="r1"), Penalty(slope("fake"), weight=0.25, name="r2"))


def game_of_two(**settings: Any) -> Trainer:
    """Everything at once: several critic turns, lazy penalties, a falling rate, an average."""
    return pair(
        False,
        logistic,
        dtype=torch.float32,
        **{
            "optimizer": adam(1e-3, 0.5),
            "discriminator_turns": 2,
            "penalties": LAZY,
            "lr": linear(1e-3, 0.0),
            "ema": {"G": 0.9},
            **settings,
        },
    )


def guarded_on_device(a: Trainer) -> None:
    """With the guard that reads nothing, as on CUDA."""
    a.guard = DeviceGuard(tuple(a.recipe.players), a.nets, CPU)
    for optimizer in a._optimizers.values():
        a.guard.attach(optimizer)


def taped(a: Trainer, wanted: str = "graph") -> Tapes:
    """Lets a trainer play from tapes."""

    def state() -> list[Tensor]:
        found = [*tensors(a.nets), *tensors(a.ema), a.guard.first]
        for optimizer in a._optimizers.values():
            found += [t for entry in optimizer.state.values() for t in entry.values() if isinstance(t, Tensor)]
            found += [group["lr"] for group in optimizer.param_groups if isinstance(group["lr"], Tensor)]
        return found

    tapes = Tapes(state)
    guarded_on_device(a)
    for optimizer in a._optimizers.values():
        for group in optimizer.param_groups:
            if isinstance(optimizer, torch.optim.Adam):
                group["capturable"] = True  # which `tune` does on CUDA
    a.engine = fast.Engine(
        fast.Choice(wanted, "asked for"), CPU, a._optimizers.values(), (a.nets, a.ema), recorder=tapes
    )
    return tapes


# --- layout -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rank", "layout"), [(4, torch.channels_last), (5, torch.channels_last_3d)])
def test_channels_are_last_by_rank(rank: int, layout: torch.memory_format) -> None:
    assert fast.to_channels_last(torch.zeros(2, 3, *[4] * (rank - 2))).is_contiguous(memory_format=layout)


@pytest.mark.parametrize("rank", [0, 1, 2, 3, 6])
def test_other_ranks_stay_as_they_are(rank: int) -> None:
    value = torch.zeros([2] * rank)
    assert fast.to_channels_last(value) is value


def test_networks_batches_moments_and_averages_have_channels_last() -> None:
    a = game_of_two()
    play(a, 2)
    kernel = a.nets.D[0].weight
    values = [kernel, a.ema.G[4].weight, a.batch(0)["real"], kernel.grad]
    values += [v for v in a._optimizers["discriminator"].state[kernel].values() if v.ndim == 4]
    assert len(values) == 6
    for value in values:
        assert value is not None
        assert value.is_contiguous(memory_format=torch.channels_last)
        assert not value.is_contiguous()


def test_the_layout_changes_rounding_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    fast_one = game_of_two()
    monkeypatch.setattr(fast, "to_channels_last", lambda value: value)
    plain = game_of_two()
    plain._lay = lambda value: value
    fast.convert_memory_format(plain.nets, lambda value: value.contiguous())
    for ours, theirs in zip(play(fast_one, 3), play(plain, 3), strict=True):
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-5)


class Viewing(Critic):
    """As in many a tutorial: `view` instead of `flatten`."""

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        for layer in list(self)[:3]:
            x = layer(x)
        return self[4](x.view(len(x), -1))


def viewing(gradient: Tensor) -> Tensor:
    return gradient.view(len(gradient), -1).square().sum(1).mean()


def rare(critic: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
    (gradient,) = torch.autograd.grad(critic(batch["real"]).sum(), batch["real"], create_graph=True)
    return viewing(gradient)


@pytest.mark.parametrize("where", ["network", "lazy penalty"])
def test_view_means_the_plain_layout_from_the_first_step_on(where: str) -> None:
    def begin() -> Trainer:
        penalties = (Penalty(lambda: rare, every=4, name="rare"),) if where == "lazy penalty" else ()
        a = game_of_two(penalties=penalties)
        if where == "network":
            a.nets.D.__class__ = Viewing
        return a

    a = begin()
    assert a.nets.D[0].weight.is_contiguous(memory_format=torch.channels_last)
    a.train_step()
    assert len(a.notes) == 1
    assert "view" in a.notes[0]
    assert a.nets.D[0].weight.is_contiguous()
    assert a.batch(0)["real"].is_contiguous()
    play(a, 2)
    b = begin()  # from a checkpoint
    b.load(*snapshot(a))
    play(a, 3)
    play(b, 3)
    assert difference(snapshot(a)[0], snapshot(b)[0]) == 0.0


def test_a_look_at_the_layout_leaves_no_trace() -> None:
    a, b = (pair(True, logistic, dtype=torch.float32, optimizer=adam(1e-3)) for _ in range(2))
    b._tried = True
    play(a, 2)
    play(b, 2)
    assert a.notes == []
    assert difference(snapshot(a)[0], snapshot(b)[0]) == 0.0


# --- precision --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "capability", "expected"),
    [
        ({"avx512f", "avx512_bf16"}, "AVX512", "bf16"),
        ({"avx512f", "avx512_bf16", "amx_bf16"}, "AVX512_AMX", "bf16"),
        ({"avx512f", "avx512bw"}, "AVX512", "fp32"),
        ({"avx2", "fma"}, "AVX2", "fp32"),
        ({"avx512_bf16"}, "AVX2", "fp32"),  # turned off by ATEN_CPU_CAPABILITY
        (set(), "DEFAULT", "fp32"),
    ],
)
def test_auto_takes_bf16_where_it_is_native(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], capability: str, expected: str
) -> None:
    monkeypatch.setattr(fast.precision, "processor_flags", lambda: frozenset(flags))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    chosen = fast.choose_precision("auto", CPU)
    assert chosen.name == expected
    assert "native" in chosen.why
    assert fast.choose_precision("fp32", CPU) == fast.Choice("fp32", "asked for")
    asked = fast.choose_precision("bf16", CPU)
    assert asked.name == "bf16"
    assert ("emulates" in asked.why) == (expected == "fp32")


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_auto_asks_a_gpu_for_its_capability(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert fast.choose_precision("auto", torch.device("cuda", 0)).name == expected


class Spy(nn.Linear):
    """Notes the kinds of its input and its product."""

    def forward(self, x: Tensor) -> Tensor:
        made = super().forward(x)
        self.seen = x.dtype, made.dtype
        return made


def test_networks_work_in_bf16_and_everything_around_them_in_float32() -> None:
    kinds: dict[str, torch.dtype] = {}

    class Tables(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Any]:
            h = x @ x.T
            return {"h": h, "rest": [h.sum(), h.argmax()]}

    def loss(nets: Nets, batch: Batch) -> Terms:
        made = nets.D(batch["real"])
        kinds["logits"] = made.dtype
        kinds["outside"] = (made @ made.T).dtype
        kinds["state"] = nets.state(made)["h"].dtype
        return {"loss": made.square().mean()}

    nets = {"G": Weight(), "H": Weight(), "D": Spy(1, 1), "state": Tables()}
    a = game({"critic": player("D", loss=loss)}, networks=lambda spec: nets)
    a.dtype, _ = torch.float32, a.nets.float()
    a._autocast = fast.Autocast(CPU, a.nets.values())
    a.train_step()
    assert a.nets.D.seen == (torch.float32, torch.bfloat16)
    assert kinds == dict.fromkeys(("logits", "outside", "state"), torch.float32)
    assert a.nets.D.weight.grad is not None
    assert a.nets.D.weight.grad.dtype == torch.float32


def test_outputs_of_any_form_become_float32_and_other_kinds_stay() -> None:
    class Many(nn.Linear):
        def forward(self, x: Tensor) -> Any:
            made = super().forward(x)
            return {"a": (made, [made])}, made.argmax(), "text", made.half()

    net = Many(2, 2)
    with fast.Autocast(CPU, [net]):
        found, index, text, half = net(torch.ones(1, 2))
    assert found["a"][0].dtype == found["a"][1][0].dtype == torch.float32
    assert (index.dtype, text, half.dtype) == (torch.int64, "text", torch.float16)


def test_an_error_in_a_network_leaves_no_precision_behind() -> None:
    class Broken(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("broken")

    net = Broken(2, 2)
    with fast.Autocast(CPU, [net]), pytest.raises(RuntimeError, match="broken"):
        net(torch.ones(1, 2))
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.slow  # imports what traces
def test_a_network_that_has_compiled_itself_is_entered_from_outside() -> None:
    net, plain, bound = nn.Linear(64, 3), nn.Linear(64, 3), nn.utils.parametrizations.spectral_norm(nn.Linear(64, 3))
    plain.load_state_dict(net.state_dict())
    x, exact, kept = torch.randn(8, 64), net(torch.ones(1, 64)), bound.eval()(torch.ones(1, 64))
    for one in (net, bound):
        one.compile(backend="eager")
    with fast.Autocast(CPU, [net, plain, bound]):
        assert torch.equal(net(x), plain(x)), "bf16 inside"
        assert net(x).dtype == torch.float32
        assert torch.equal(bound(torch.ones(1, 64)), kept), "with a constraint it stays in float32"
    assert torch.equal(net(torch.ones(1, 64)), exact), "outside of a step nothing has changed"
    assert not torch.equal(net(x), net(x).bfloat16().float())


def in_bf16(a: Trainer) -> Trainer:
    a._autocast = fast.Autocast(CPU, a.nets.values())
    return a


def test_a_look_without_a_graph_takes_none_from_the_next() -> None:
    """Weights in bf16 are kept for a turn; those of a look under `no_grad` would have no graph."""
    x = torch.randn(4, 8)

    def loss(nets: Nets, batch: Batch) -> Terms:
        with torch.no_grad():
            before = nets.D(x).mean()
        return {"loss": nets.D(x).square().mean() + nets.D(x + 1).mean() - before}

    networks = lambda spec: {"G": Weight(), "H": Weight(), "D": nn.Linear(8, 1)}  # noqa: E731
    a = game({"critic": player("D", loss=loss)}, networks=networks)
    a.nets.float()
    in_bf16(a)
    before = [weight.detach().clone() for weight in a.nets.D.parameters()]
    play(a, 1)
    assert all(not torch.equal(one, other) for one, other in zip(before, a.nets.D.parameters(), strict=True))
    one = a.nets.D(x)
    play(a, 1)
    assert not torch.equal(one, a.nets.D(x)), "and nothing is kept beyond the turn"


@pytest.mark.parametrize("norm", [True, False])
def test_bf16_follows_float32(norm: bool) -> None:
    settings: dict[str, Any] = {} if not norm else {"penalties": ()}
    make = lambda: pair(norm, logistic, dtype=torch.float32, optimizer=adam(1e-3, 0.5), **settings)  # noqa: E731
    for ours, theirs in zip(play(in_bf16(make()), 3), play(make(), 3), strict=True):
        for name in ours:
            assert ours[name].dtype == torch.float32
            torch.testing.assert_close(ours[name], theirs[name], rtol=0.05, atol=0.05)
            assert not torch.equal(ours[name], theirs[name])


def test_second_derivatives_in_bf16_follow_float32() -> None:
    a, b = in_bf16(game_of_two()), game_of_two()
    for ours, theirs in zip(play(a, 4), play(b, 4), strict=True):
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], rtol=0.1, atol=0.05)


def test_samples_are_made_in_float32_whatever_trains() -> None:
    a = in_bf16(game_of_two())
    play(a, 2)
    for averaged in (True, False):
        G = (a.ema if averaged else a.nets)["G"]
        made = a.sampler(ema=averaged).chunk(0)["fake"]
        b = game_of_two()
        b.load(*snapshot(a))
        assert torch.equal(made, b.sampler(ema=averaged).chunk(0)["fake"]), type(G)


# --- optimisers -------------------------------------------------------------------------------------------------------


def test_optimisers_are_fused_unless_their_maker_chose() -> None:
    weights = [nn.Parameter(torch.ones(3))]
    plain, chosen = torch.optim.Adam(weights, lr=0.1), torch.optim.Adam(weights, lr=0.1, foreach=True)
    other = torch.optim.RMSprop(weights, lr=0.1)
    for optimizer in (plain, chosen, other):
        fast.tune(optimizer, CPU)
    assert plain.param_groups[0]["fused"]
    assert isinstance(plain.param_groups[0]["lr"], Tensor)
    assert not chosen.param_groups[0]["fused"]
    assert other.param_groups[0]["lr"] == 0.1


def test_a_fused_step_is_that_of_the_plain_one() -> None:
    made = []
    for tuned in (True, False):
        weight = nn.Parameter(torch.linspace(-1, 1, 5, dtype=torch.float64))
        optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.1)
        if tuned:
            fast.tune(optimizer, CPU)
        for _ in range(4):
            weight.grad = weight.detach().cos()
            optimizer.step()
        made.append(weight.detach())
    torch.testing.assert_close(*made, rtol=1e-12, atol=0)


# --- no reads in a step -----------------------------------------------------------------------------------------------


def without_reads(a: Trainer, steps: int = 4) -> None:
    """Plays with batches as usual and turns in which nothing may be read."""
    guarded_on_device(a)
    turns = a._turns

    def watched(*given: Any) -> Any:
        with NoReads():
            return turns(*given)

    a._turns = watched
    play(a, steps)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_reads_nothing_back(precision: str) -> None:
    a = game_of_two()
    without_reads(in_bf16(a) if precision == "bf16" else a)


@pytest.mark.parametrize("name", FAMILIES)
def test_no_kind_of_game_reads_anything_back(name: str) -> None:
    without_reads(start(FAMILIES[name]()), 2)


def test_a_loss_that_reads_is_noticed() -> None:
    """The control: the test above can fail."""

    def loss(nets: Nets, batch: Batch) -> Terms:
        return {"loss": nets.D.w * nets.D.w.item()}

    with pytest.raises(RuntimeError, match="reads a value"):
        without_reads(game({"critic": player("D", loss=loss)}))


# --- graphs -----------------------------------------------------------------------------------------------------------


def same(ours: Trainer, theirs: Trainer, steps: int) -> None:
    for _ in range(steps):
        one, other = ours.train_step(), theirs.train_step()
        assert one.keys() == other.keys()
        for name in one:
            assert torch.equal(one[name], other[name]), name
    assert difference(snapshot(ours)[0], snapshot(theirs)[0]) == 0.0


def test_a_graph_equals_eager_bit_for_bit() -> None:
    """12 steps of three warm-up steps each for two choices of losses: the rest comes from tapes."""
    a, b = game_of_two(), game_of_two()
    tapes = taped(a)
    same(a, b, 12)
    assert tapes.tapes == 2  # one with the lazy penalty, one without
    assert a.engine.choice.name == "graph"


def test_a_graph_of_networks_with_their_own_noise_and_statistics_equals_eager() -> None:
    made = []
    for _ in range(2):
        a = pair(True, logistic, dtype=torch.float32, optimizer=adam(1e-3, 0.5))
        a.nets.D.insert(3, nn.Dropout(0.5))
        made.append(a)
    taped(made[0])
    same(*made, steps=8)


def test_a_resumed_graph_equals_eager() -> None:
    a, b = game_of_two(), game_of_two()
    taped(a)
    play(a, 9)
    play(b, 9)
    again = game_of_two()
    again.load(*snapshot(a))
    taped(again)
    same(again, b, 9)


@pytest.mark.parametrize(
    "optimizer",
    [lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9), rmsprop(1e-3), clipped(rmsprop(1e-3), 0.02)],
)
def test_other_optimisers_equal_eager_or_fall_back(optimizer: Any) -> None:
    settings: dict[str, Any] = {"optimizer": optimizer, "lr": None, "penalties": ()}
    a, b = game_of_two(**settings), game_of_two(**settings)
    taped(a, "auto")
    same(a, b, 8)


def test_a_tape_freezes_what_comes_from_the_host() -> None:
    """The control: a graph would, too, and if tapes did not, the tests above would say nothing."""

    def begin() -> Trainer:
        numbers = iter(range(1, 100))
        return game({"critic": player("D", loss=lambda nets, batch: {"loss": nets.D.w * next(numbers)})})

    a, b = begin(), begin()
    taped(a)
    for step in range(6):
        ours, theirs = a.train_step(), b.train_step()
        same_gradient = torch.equal(a.nets.D.w.grad, b.nets.D.w.grad)
        assert same_gradient == (step <= fast.WARM_UP), step
        assert ours.keys() == theirs.keys()


class Counting(torch.optim.Optimizer):
    """Counts on the host, as many do."""

    def __init__(self, weights: Any) -> None:
        super().__init__(weights, {"lr": 0.1})
        self.steps = 0

    def step(self, closure: Any = None) -> None:
        self.steps += 1
        with torch.no_grad():
            for group in self.param_groups:
                for weight in group["params"]:
                    if weight.grad is not None:
                        weight -= weight.grad / self.steps


def reading(nets: Nets, batch: Batch) -> Terms:
    return {"loss": nets.D.w * (1.0 if nets.D.w.item() > -1e9 else 2.0)}


class Forgetful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros((), dtype=torch.float64))


def replacing(nets: Nets, batch: Batch) -> Terms:
    nets.state.mean = 0.5 * nets.state.mean + batch["z"].mean()
    return {"loss": nets.D.w * nets.state.mean}


NETS = {"G": Weight, "H": Weight, "D": Weight, "state": Forgetful}
STUCK = {
    "an optimiser that counts on the host": (pull("D"), Counting, "Counting keeps state on the host"),
    "a loss that reads": (reading, None, "reads a value back"),
    "a buffer that is replaced": (replacing, None, "'mean' is replaced"),
}


@pytest.mark.parametrize("what", STUCK)
def test_what_cannot_be_recorded_falls_back_and_says_so(what: str) -> None:
    loss, optimizer, said = STUCK[what]
    settings = {"loss": loss} | ({"optimizer": optimizer} if optimizer else {})

    def begin() -> Trainer:
        networks = lambda spec: {name: make() for name, make in NETS.items()}  # noqa: E731
        return game({"critic": player("D", **settings)}, networks=networks)

    a, b = begin(), begin()
    taped(a, "auto")
    same(a, b, 6)
    assert a.engine.choice.name == "eager"
    assert said in a.engine.choice.why

    def insist() -> None:
        c = begin()
        taped(c, "graph")
        play(c, 6)

    with pytest.raises(ConfigError, match=said) as caught:
        insist()
    assert len(str(caught.value).splitlines()) <= 3
    assert "--engine eager" in str(caught.value)


def test_batches_that_change_their_shape_fall_back() -> None:
    a = game({"critic": player("D", loss=Every(1, pull("D"), None))})
    taped(a, "auto")
    play(a, 5)
    a.source = lambda n: {"real": torch.zeros(8, 2)}
    play(a, 1)
    assert "changes its shape" in a.engine.choice.why


def test_graphs_need_cuda() -> None:
    with pytest.raises(ConfigError, match="needs a CUDA device"):
        fast.Engine(fast.Choice("graph", "asked for"), CPU, [], list)
    assert fast.Engine(fast.Choice("auto", ""), CPU, [], list).choice.name == "eager"


def test_ranks_stay_eager_unless_asked() -> None:
    for wanted, chosen in (("auto", "eager"), ("graph", "graph")):
        engine = fast.Engine(fast.Choice(wanted, "asked for"), CPU, [], list, world=2, recorder=Tapes(list))
        assert engine.choice.name == chosen


# --- memory -----------------------------------------------------------------------------------------------------------


def faults(times: int = 20) -> int:
    """How often the system hands out pages while a large block is taken, written to and freed time and again."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.empty(48 << 20, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_memory_of_a_step_stays_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MALLOC_")]:
        monkeypatch.delenv(name)

    def work() -> None:
        libc = ctypes.CDLL(None)
        libc.mallopt(-4, 65536)  # as a process begins, which this one may not have
        libc.mallopt(-1, 128 << 10)
        assert faults(20) >= 20
        fast.keep_memory(CPU)
        faults(20)  # until every gap that is large enough has been used once
        assert faults(20) < 20

    assert ended(fork(work)) == 0


def test_who_has_set_the_allocator_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("the allocator was asked for")

    monkeypatch.setattr("ctypes.CDLL", refused)
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    fast.keep_memory(CPU)
    monkeypatch.delenv("MALLOC_ARENA_MAX")
    fast.keep_memory(torch.device("cuda"))
