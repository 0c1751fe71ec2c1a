"""Training steps as CUDA graphs: `Engine` runs a step eagerly, or records it once and replays it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from aigc_zoo.engine.fast.optimizers import has_host_state
from aigc_zoo.errors import ConfigError

Inputs = Sequence[Mapping[str, Tensor]]
"""All tensors that vary between steps, as mappings from name to tensor."""

Step = Callable[[Inputs], Mapping[str, Tensor]]
"""A whole training step: takes its inputs, returns the terms to log, and changes everything else in place."""

Work = Callable[[], Mapping[str, Tensor]]
"""A step with its inputs bound."""


@dataclass(frozen=True)
class Choice:
    """The `name` of what was chosen and `why`; printed when a run starts and stored in its card."""

    name: str
    why: str


EAGER = Choice("eager", "asked for")

WARM_UP = 3
"""Eager steps before a step is recorded: optimizers create their state, libraries choose their kernels."""


class Recorder(Protocol):
    """Records work on a device once and replays it any number of times on the same memory."""

    def warm_up(self, work: Work) -> Mapping[str, Tensor]:
        """Do the work eagerly, on the stream on which it will be recorded."""

    def record(self, work: Work) -> tuple[Callable[[], None], Mapping[str, Tensor]]:
        """Return a function that replays the work, and the tensors that it writes its results to.

        Raises RuntimeError if the work cannot be recorded.
        """


class CudaGraphs:
    """A recorder of CUDA graphs, which share one memory pool.

    Sharing is safe: graphs are never replayed concurrently, and everything that outlives a step is outside the pool.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, work: Work) -> Mapping[str, Tensor]:
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            terms = work()
        torch.cuda.current_stream().wait_stream(self._stream)
        return terms

    def record(self, work: Work) -> tuple[Callable[[], None], Mapping[str, Tensor]]:
        graph = torch.cuda.CUDAGraph()
        # Another thread may fill pinned memory for later batches; its CUDA calls do not belong to the graph.
        with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
            terms = work()
        return graph.replay, terms


class Engine:
    """Runs training steps eagerly or as graphs, one graph for each combination of losses of `Every` and `Until`.

    A graph reads its inputs, noise included, from the same memory at every replay. The random seed is set outside the
    graph, so noise drawn inside networks is new at every step as well. A recipe that cannot be recorded runs eagerly if
    the engine is "auto" (`choice.why` gives the reason) and is a ConfigError if it is "graph". Both engines compute the
    same bits, so a change from one to the other during a run changes no result.
    """

    def __init__(
        self,
        requested: Choice,
        device: torch.device,
        optimizers: Iterable[torch.optim.Optimizer],
        nets: Sequence[nn.Module],
        *,
        world: int = 1,
        recorder: Recorder | None = None,
    ) -> None:
        """`requested.name` is "auto", "eager" or "graph"; `nets` are the modules that a step changes; `world` is the
        number of ranks; `recorder` defaults to CUDA graphs on a CUDA device."""
        self.requested, self._device, self._nets = requested, device, nets
        if recorder is None and device.type == "cuda" and requested.name != "eager":
            recorder = CudaGraphs(device)
        self.choice = self._choose(list(optimizers), world, recorder)
        self._recorder = recorder if self.choice.name == "graph" else None
        self._static_inputs: list[dict[str, Tensor]] = []
        self._warm_up_steps: dict[Hashable, int] = {}
        self._graphs: dict[Hashable, tuple[Callable[[], None], Mapping[str, Tensor]]] = {}

    def run_step(self, key: Hashable, inputs: Inputs, step: Step) -> Mapping[str, Tensor]:
        """Run one step on its inputs and return its terms, which the next replay of the same graph overwrites.

        `key` identifies the losses of the step: steps with equal keys share a graph.
        """
        if self._recorder is None:
            return step(inputs)
        try:
            self._copy_inputs(inputs)
            if key not in self._graphs and self._warm_up_steps.get(key, 0) >= WARM_UP:
                self._graphs[key] = self._record(self._recorder, step)
        except RuntimeError as error:
            self._fall_back(" ".join(str(error).split())[:160])
            return step(inputs)
        if key in self._graphs:
            replay, terms = self._graphs[key]
            replay()
            return terms
        self._warm_up_steps[key] = self._warm_up_steps.get(key, 0) + 1
        return self._recorder.warm_up(lambda: step(self._static_inputs))

    def _choose(self, optimizers: list[torch.optim.Optimizer], world: int, recorder: Recorder | None) -> Choice:
        if self.requested.name == "eager":
            return self.requested
        if recorder is None:
            if self.requested.name == "graph":
                where = "the CPU" if self._device.type == "cpu" else str(self._device)
                raise ConfigError(f"--engine graph needs a CUDA device, and this run is on {where}: say --engine eager")
            where = "a CPU" if self._device.type == "cpu" else self._device.type
            return Choice("eager", f"there are no CUDA graphs on {where}")
        unsupported = [type(optimizer).__name__ for optimizer in optimizers if has_host_state(optimizer)]
        if unsupported:
            return self._without_graph(f"{unsupported[0]} keeps state on the host")
        if self.requested.name == "graph":
            return self.requested
        if world > 1:
            return Choice("eager", "graphs with collectives between ranks are not verified")
        return Choice("graph", "a CUDA device, and a recipe whose steps can be recorded")

    def _without_graph(self, reason: str) -> Choice:
        """Return the eager engine with the reason; raise ConfigError if a graph was requested explicitly."""
        if self.requested.name == "graph":
            raise ConfigError(f"--engine graph: this recipe cannot be recorded: {reason}\nsay --engine eager, or auto")
        return Choice("eager", f"this recipe cannot be recorded: {reason}")

    def _fall_back(self, reason: str) -> None:
        self._recorder = None
        self._graphs.clear()
        self.choice = self._without_graph(reason)

    def _copy_inputs(self, inputs: Inputs) -> None:
        """Copy the inputs of a step to the memory that graphs read. Raises RuntimeError if a shape has changed."""
        if not self._static_inputs:
            self._static_inputs = [{name: torch.empty_like(value) for name, value in part.items()} for part in inputs]
        for static, part in zip(self._static_inputs, inputs, strict=True):
            for name, value in part.items():
                if static[name].shape != value.shape:
                    raise RuntimeError(f"the batch's entry {name!r} changes its shape from step to step")
                static[name].copy_(value, non_blocking=True)

    def _record(self, recorder: Recorder, step: Step) -> tuple[Callable[[], None], Mapping[str, Tensor]]:
        """Record a step. Raises RuntimeError if that is impossible, or if the step replaces a buffer."""
        modules = [module for net in self._nets for module in net.modules()]
        before = [(module, name, buffer) for module in modules for name, buffer in module.named_buffers(recurse=False)]
        try:
            recorded = recorder.record(lambda: step(self._static_inputs))
        finally:  # recording computes nothing, so a buffer created by it holds no values
            replaced = [name for module, name, buffer in before if getattr(module, name) is not buffer]
            for module, name, buffer in before:
                setattr(module, name, buffer)
        if replaced:
            raise RuntimeError(f"the buffer {replaced[0]!r} is replaced instead of written to (buffer.copy_(value))")
        return recorded
