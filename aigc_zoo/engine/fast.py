"""All that makes a step fast: memory layout, precision, fused optimisers, whole steps as graphs. Nothing else is.

The trainer hands over its networks, batches and optimisers once each and its step as a function. What a step computes
is settled elsewhere; here is settled how.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils import _pytree as trees

from aigc_zoo.errors import ConfigError

Step = Callable[[Sequence[Mapping[str, Tensor]]], Mapping[str, Tensor]]
"""A whole step: from what varies, in mappings of tensors, to the terms to be logged. All else it changes in place."""


@dataclass(frozen=True)
class Choice:
    """What was chosen, and why: said on the screen, stored in the run's card."""

    name: str
    why: str


EAGER = Choice("eager", "asked for")


def choose_kernels(device: torch.device) -> None:
    """Convolutions try their kernels once for each shape: it pays, as shapes stay. Kernels differ in rounding."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True


_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of malloc.h


def keep_memory(device: torch.device) -> None:
    """On a CPU, memory that a step frees stays with the process for the next one, which takes as much.

    The C library (glibc; others do nothing) would return it and be given zeroed pages anew: a thousand faults a step.
    Whoever has set MALLOC_ variables is left alone.
    """
    if device.type != "cpu" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_MMAP_MAX, 0)  # blocks of their own pages are returned as soon as they are free


# --- memory layout ----------------------------------------------------------------------------------------------------

_LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


def channels_last(value: Tensor) -> Tensor:
    """The value laid out with channels last where its rank has such a layout: convolutions work in it as it is."""
    layout = _LAYOUTS.get(value.ndim)
    # `contiguous` would leave one channel as it is, which lies both ways. A convolution then answers in the plain
    # layout, and every layer after it converts.
    return value if layout is None else value.to(memory_format=layout)


def lay_out(net: nn.Module, layout: Callable[[Tensor], Tensor] = channels_last) -> None:
    """Weights and buffers in a layout."""
    for value in (*net.parameters(), *net.buffers()):
        value.data = layout(value.data)


def stumbles(error: RuntimeError) -> bool:
    """Whether it is `view` that cannot take channels last: where `reshape` would copy, it refuses."""
    return "view size is not compatible" in str(error)


# --- precision --------------------------------------------------------------------------------------------------------

_BF16_FLAGS = ("amx_bf16", "avx512_bf16")


def choose_precision(wanted: str, device: torch.device) -> Choice:
    """bf16 or fp32: `auto` takes bf16 where the hardware multiplies it natively, since emulation is slower."""
    native = _native_bf16(device)
    if wanted != "auto":
        slow = ", though this hardware only emulates it" if wanted == "bf16" and not native else ""
        return Choice(wanted, f"asked for{slow}")
    if native:
        return Choice("bf16", f"{native} is native here")
    return Choice("fp32", f"{'this GPU' if device.type == 'cuda' else 'this processor'} has no native bf16")


def _native_bf16(device: torch.device) -> str:
    """What multiplies bf16 in hardware; "" for nothing."""
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return f"bf16 of compute capability {major}.{minor}" if major >= 8 else ""
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):  # it may have been turned off
        return ""
    flags = processor_flags()
    return next((flag for flag in _BF16_FLAGS if flag in flags), "")


def processor_flags() -> frozenset[str]:
    """What Linux says the processor can do; nothing on other systems."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return frozenset()
    return frozenset(next((line for line in text.splitlines() if line.startswith("flags")), "").split())


class Autocast:
    """bf16 inside of networks, float32 outside: weights, inputs, logits and whatever losses and penalties do to them.

    It wraps networks one by one instead of the loss, so that no family has to convert logits before it reduces them.
    Only networks with weights are wrapped: an augmentation or a penalty with a running mean computes as it is, and so
    do constraints of weights (a spectral norm has to be one). It acts inside `with` alone, hence not in copies of the
    networks, from which samples are made.

    A network that has compiled itself is entered from outside, as hooks with contexts of their own cannot be traced;
    one with constraints of weights besides, which need such hooks, stays in float32.
    """

    def __init__(self, device: torch.device, nets: Iterable[nn.Module]) -> None:
        self._on = False
        # A graph cannot record a cache, and what was kept without a graph has none when it is wanted with one.
        self._caches = device.type == "cpu"
        self._inside: list[torch.autocast] = []
        for net in nets:
            if not any(True for _ in net.parameters()):
                continue
            constraints = [module for module in net.modules() if isinstance(module, ParametrizationList)]
            compiled = net._compiled_call_impl
            if compiled is None:
                self._wrap(net, device, True)
                for module in constraints:
                    self._wrap(module, device, False)
            elif not constraints:
                self._wrap_compiled(net, compiled, device)

    def __enter__(self) -> None:
        self._on = True
        torch.autocast_increment_nesting()

    def __exit__(self, *_: object) -> None:
        self._on = False
        self._inside.clear()
        # Weights in bf16 are kept for the networks' other looks in this turn, and not beyond the update that ends it.
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()

    def _contexts(self, device: torch.device, enabled: bool) -> Callable[[], torch.autocast]:
        """Gives the context for a call, one that keeps weights in bf16 where that is of use."""
        plain, caching = (
            torch.autocast(device.type, torch.bfloat16, enabled=enabled, cache_enabled=keep) for keep in (False, True)
        )
        return lambda: caching if self._caches and torch.is_grad_enabled() else plain

    def _wrap(self, module: nn.Module, device: torch.device, enabled: bool) -> None:
        chosen = self._contexts(device, enabled)

        def enter(_: nn.Module, given: Any) -> None:
            if self._on:
                context = chosen()
                context.__enter__()  # type: ignore[no-untyped-call]  # torch gives it no types
                self._inside.append(context)

        def leave(_: nn.Module, given: Any, made: Any) -> Any:
            if not self._on or not self._inside:
                return None
            self._inside.pop().__exit__(None, None, None)
            return _all_full(made)

        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave, always_call=True)

    def _wrap_compiled(self, net: nn.Module, compiled: Callable[..., Any], device: torch.device) -> None:
        chosen = self._contexts(device, True)

        def call(*given: Any, **named: Any) -> Any:
            if not self._on:
                return compiled(*given, **named)
            with chosen():
                made = compiled(*given, **named)
            return _all_full(made)

        net._compiled_call_impl = call


def _all_full(made: Any) -> Any:
    return _full(made) if isinstance(made, Tensor) else trees.tree_map_only(Tensor, _full, made)


def _full(value: Tensor) -> Tensor:
    return value.float() if value.dtype == torch.bfloat16 else value


# --- optimisers -------------------------------------------------------------------------------------------------------

_FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)


def tune(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """One kernel for all weights where torch has one, unless its maker chose; on CUDA no state on the host.

    A rate becomes a tensor where the optimiser takes one, so that a schedule can move it on the device.
    """
    for group in optimizer.param_groups:
        if isinstance(optimizer, _FUSED) and not group.get("foreach") and group.get("fused") is None:
            group["fused"] = True
        on_device = bool(group.get("fused"))
        if device.type == "cuda" and "capturable" in group:
            group["capturable"] = on_device = True
        if on_device and not isinstance(group["lr"], Tensor):
            kind = torch.float32 if device.type == "cuda" else torch.float64  # the fused CUDA kernel reads float32
            group["lr"] = torch.tensor(group["lr"], dtype=kind, device=device)


def _host_state(optimizer: torch.optim.Optimizer) -> bool:
    """Whether it may count or decide on the host, where a graph would repeat what it did when it was recorded."""
    return not isinstance(optimizer, torch.optim.SGD) and not all(g.get("capturable") for g in optimizer.param_groups)


def out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the allocator of the CPU, had no room."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


# --- whole steps as graphs --------------------------------------------------------------------------------------------

WARM_UP = 3
"""Eager steps before a step is recorded: optimisers make their state, libraries choose their kernels."""


class Recorder(Protocol):
    """Records work on a device once and repeats it, on the same memory, as often as it is asked to."""

    def warm(self, work: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        """Does the work, where it is going to be recorded."""

    def record(self, work: Callable[[], Mapping[str, Tensor]]) -> tuple[Callable[[], None], Mapping[str, Tensor]]:
        """What does the work again, and the tensors in which its results then lie. RuntimeError if it cannot."""


class CudaGraphs:
    """CUDA graphs that share one pool of memory: they are never replayed at once, and all that outlives a step lies
    outside of it."""

    def __init__(self, device: torch.device) -> None:
        self._stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def warm(self, work: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            found = work()
        torch.cuda.current_stream().wait_stream(self._stream)
        return found

    def record(self, work: Callable[[], Mapping[str, Tensor]]) -> tuple[Callable[[], None], Mapping[str, Tensor]]:
        graph = torch.cuda.CUDAGraph()
        # Another thread may fill pinned memory for the batches to come: its calls are none of the graph's.
        with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
            found = work()
        return graph.replay, found


class Engine:
    """Plays steps: eagerly, or as graphs, one for each combination of losses that `Every` and `Until` come down to.

    Under a graph the batch arrives in the same memory every time, noise included, so that replays differ in nothing but
    what they are given. Seeds are set outside: noise that networks draw themselves is new as well. A recipe that cannot
    be recorded is played eagerly under `auto` (`choice` says why), and is a ConfigError under `graph`. Both compute the
    same bits, so a change of mind in the middle of a run changes no result.
    """

    def __init__(
        self,
        wanted: Choice,
        device: torch.device,
        optimizers: Iterable[torch.optim.Optimizer],
        nets: Sequence[nn.Module],
        *,
        world: int = 1,
        recorder: Recorder | None = None,
    ) -> None:
        """`wanted`: auto, eager or graph. `nets`: what a step changes. `recorder`: CUDA's unless told."""
        self.wanted, self._nets = wanted, nets
        if recorder is None and device.type == "cuda" and wanted.name != "eager":
            recorder = CudaGraphs(device)
        self.choice = self._choose(device, list(optimizers), world, recorder)
        self._recorder = recorder if self.choice.name == "graph" else None
        self._static: list[dict[str, Tensor]] = []
        self._played: dict[Hashable, int] = {}
        self._graphs: dict[Hashable, tuple[Callable[[], None], Mapping[str, Tensor]]] = {}

    def play(self, key: Hashable, varying: Sequence[Mapping[str, Tensor]], step: Step) -> Mapping[str, Tensor]:
        """One step on what varies. `key` names the step's losses. Under a graph the next step overwrites the result."""
        if self._recorder is None:
            return step(varying)
        try:
            self._take(varying)
            if key not in self._graphs and self._played.get(key, 0) >= WARM_UP:
                self._graphs[key] = self._recorded(self._recorder, step)
        except RuntimeError as error:
            self._give_up(" ".join(str(error).split())[:160])
            return step(varying)
        if key in self._graphs:
            replay, found = self._graphs[key]
            replay()
            return found
        self._played[key] = self._played.get(key, 0) + 1
        return self._recorder.warm(lambda: step(self._static))

    def _choose(
        self, device: torch.device, optimizers: list[torch.optim.Optimizer], world: int, recorder: Recorder | None
    ) -> Choice:
        if self.wanted.name == "eager":
            return self.wanted
        if recorder is None:
            if self.wanted.name == "graph":
                raise ConfigError("--engine graph needs a CUDA device, and this run is on the CPU: say --engine eager")
            return Choice("eager", "there are no graphs on a CPU")
        stuck = [type(optimizer).__name__ for optimizer in optimizers if _host_state(optimizer)]
        if stuck:
            return self._no_graph(f"{stuck[0]} keeps state on the host")
        if self.wanted.name == "graph":
            return self.wanted
        if world > 1:
            return Choice("eager", "graphs with collectives between ranks are not verified")
        return Choice("graph", "a CUDA device, and a recipe whose steps can be recorded")

    def _no_graph(self, reason: str) -> Choice:
        if self.wanted.name == "graph":
            raise ConfigError(f"--engine graph: this recipe cannot be recorded: {reason}\nsay --engine eager, or auto")
        return Choice("eager", f"this recipe cannot be recorded: {reason}")

    def _give_up(self, reason: str) -> None:
        self._recorder = None
        self._graphs.clear()
        self.choice = self._no_graph(reason)

    def _take(self, varying: Sequence[Mapping[str, Tensor]]) -> None:
        """Copies what varies to where it is looked for."""
        if not self._static:
            self._static = [{name: torch.empty_like(value) for name, value in part.items()} for part in varying]
        for own, part in zip(self._static, varying, strict=True):
            for name, value in part.items():
                if own[name].shape != value.shape:
                    raise RuntimeError(f"the batch's entry {name!r} changes its shape from step to step")
                own[name].copy_(value, non_blocking=True)

    def _recorded(self, recorder: Recorder, step: Step) -> tuple[Callable[[], None], Mapping[str, Tensor]]:
        modules = [module for net in self._nets for module in net.modules()]
        before = [(module, name, buffer) for module in modules for name, buffer in module.named_buffers(recurse=False)]
        try:
            recorded = recorder.record(lambda: step(self._static))
        finally:  # what was recorded has not happened, so a buffer that came of it holds nothing yet
            moved = [name for module, name, buffer in before if getattr(module, name) is not buffer]
            for module, name, buffer in before:
                setattr(module, name, buffer)
        if moved:
            raise RuntimeError(f"the buffer {moved[0]!r} is replaced instead of written to (buffer.copy_(value))")
        return recorded
