"""Mixed precision: bf16 autocast inside networks, float32 everywhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils import _pytree as pytree

from aigc_zoo.engine.fast.graphs import Choice

_BF16_FLAGS = ("amx_bf16", "avx512_bf16")


def choose_precision(requested: str, device: torch.device, why: str = "asked for") -> Choice:
    """Choose "bf16" or "fp32". "auto" is bf16 only on hardware with native bf16, since emulation is slower.

    `why` is the reason for a request that is not "auto".
    """
    if device.type == "mps":  # torch does not tell which of these GPUs have native bf16
        return Choice("fp32", "bf16 is not tested on mps") if requested == "auto" else Choice(requested, why)
    native = _native_bf16(device)
    if requested != "auto":
        slow = ", though this hardware only emulates it" if requested == "bf16" and not native else ""
        return Choice(requested, f"{why}{slow}")
    if native:
        return Choice("bf16", f"native on this hardware: {native}")
    return Choice("fp32", f"{'this processor' if device.type == 'cpu' else 'this GPU'} has no native bf16")


def _native_bf16(device: torch.device) -> str:
    """The hardware feature that multiplies bf16 natively, or ""."""
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return f"compute capability {major}.{minor}" if major >= 8 else ""
    if device.type == "xpu":
        return "bfloat16 conversions" if torch.xpu.get_device_properties(device).has_bfloat16_conversions else ""
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):  # ATEN_CPU_CAPABILITY may have disabled it
        return ""
    flags = processor_flags()
    return next((flag for flag in _BF16_FLAGS if flag in flags), "")


def processor_flags() -> frozenset[str]:
    """The CPU flags that Linux lists in /proc/cpuinfo; empty on other systems."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return frozenset()
    return frozenset(next((line for line in text.splitlines() if line.startswith("flags")), "").split())


class Autocast:
    """bf16 autocast inside networks; parameters, inputs, logits, losses and penalties stay in float32.

    Networks are wrapped one by one with forward hooks instead of the whole loss, so that no family has to convert
    logits before it reduces them. Only networks with parameters are wrapped: an augmentation or a penalty with a
    running mean computes in float32, and so do parametrizations of weights (a spectral norm has to be exactly one).
    Autocast is active inside `with` only, and therefore not in the copies of networks that samples are drawn from.

    The call of a compiled network is wrapped from outside, as hooks that enter contexts cannot be traced. A compiled
    network that also has parametrizations, which need such hooks, stays in float32.
    """

    def __init__(self, device: torch.device, nets: Iterable[nn.Module]) -> None:
        self._enabled = False
        # A CUDA graph cannot record the cache of casted weights, and weights cached under `no_grad` have no graph.
        self._use_cache = device.type == "cpu"
        self._entered: list[torch.autocast] = []
        for net in nets:
            if not any(True for _ in net.parameters()):
                continue
            parametrizations = [module for module in net.modules() if isinstance(module, ParametrizationList)]
            compiled_call = net._compiled_call_impl
            if compiled_call is None:
                self._add_hooks(net, device, enabled=True)
                for module in parametrizations:
                    self._add_hooks(module, device, enabled=False)
            elif not parametrizations:
                self._wrap_compiled(net, compiled_call, device)

    def __enter__(self) -> None:
        self._enabled = True
        torch.autocast_increment_nesting()

    def __exit__(self, *_: object) -> None:
        self._enabled = False
        self._entered.clear()
        # Casted weights are cached for further forward passes of the same turn, not beyond the update that ends it.
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()

    def _context_factory(self, device: torch.device, enabled: bool) -> Callable[[], torch.autocast]:
        """Return a function that gives the context for a call, with weight caching if that call can use it."""
        plain, caching = (
            torch.autocast(device.type, torch.bfloat16, enabled=enabled, cache_enabled=cache) for cache in (False, True)
        )
        return lambda: caching if self._use_cache and torch.is_grad_enabled() else plain

    def _add_hooks(self, module: nn.Module, device: torch.device, *, enabled: bool) -> None:
        context = self._context_factory(device, enabled)

        def enter(_: nn.Module, args: Any) -> None:
            if self._enabled:
                autocast = context()
                autocast.__enter__()  # type: ignore[no-untyped-call]  # torch gives it no types
                self._entered.append(autocast)

        def leave(_: nn.Module, args: Any, output: Any) -> Any:
            if not self._enabled or not self._entered:
                return None
            self._entered.pop().__exit__(None, None, None)
            return _to_float32(output)

        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave, always_call=True)

    def _wrap_compiled(self, net: nn.Module, compiled_call: Callable[..., Any], device: torch.device) -> None:
        context = self._context_factory(device, True)

        def call(*args: Any, **kwargs: Any) -> Any:
            if not self._enabled:
                return compiled_call(*args, **kwargs)
            with context():
                output = compiled_call(*args, **kwargs)
            return _to_float32(output)

        net._compiled_call_impl = call


def _to_float32(output: Any) -> Any:
    """Convert the bf16 tensors of a network's output, which may be nested, to float32."""
    return _upcast(output) if isinstance(output, Tensor) else pytree.tree_map_only(Tensor, _upcast, output)


def _upcast(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor
