"""The devices that torch finds, and the operations that torch spells differently for each type of device."""

from __future__ import annotations

import torch
from torch import Tensor

INDEXED = ("cuda", "xpu")
"""Types of which there can be several, as in cuda:1."""

TESTED = ("cpu", "cuda:0")
"""Devices on which the project's tests were run."""


def present() -> list[str]:
    """The devices that torch finds on this machine, as in ["cpu", "cuda:0", "cuda:1"] or ["cpu", "mps"]."""
    found = ["cpu"]
    for kind, backend in (("cuda", torch.cuda), ("xpu", torch.xpu)):
        found += [f"{kind}:{number}" for number in range(backend.device_count())] if backend.is_available() else []
    return found + (["mps"] if torch.backends.mps.is_available() else [])


def untested(device: torch.device) -> str:
    """A sentence on a device on which the project's tests were not run; empty for the others."""
    if device.type == "cpu" or str(device) in (*TESTED, "cuda"):
        return ""
    return f"device {device} is not tested by this project: compare a short run with one of --device cpu"


def set_current(device: torch.device) -> None:
    """Make a device the one that operations without a device use, where there can be several."""
    if device.type in INDEXED:
        torch.get_device_module(device).set_device(device)


def name(device: torch.device) -> str:
    """The device's type and, of a GPU, its model."""
    if device.type in INDEXED:
        return f"{device.type}: {torch.get_device_module(device).get_device_name(device)}"
    return f"mps: {torch.backends.mps.get_name()}" if device.type == "mps" else device.type


def synchronize(device: torch.device) -> None:
    """Wait for the operations on a GPU."""
    if device.type in INDEXED:
        torch.get_device_module(device).synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def empty_cache(device: torch.device) -> None:
    """Return memory of freed tensors to a GPU."""
    if device.type in (*INDEXED, "mps"):
        torch.get_device_module(device).empty_cache()


def free_memory(device: torch.device) -> int | None:
    """Free bytes of a GPU; None for the CPU."""
    if device.type in INDEXED:
        return int(torch.get_device_module(device).mem_get_info(device)[0])
    if device.type == "mps":
        return max(0, torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return None


def random_state(device: torch.device) -> Tensor | None:
    """The state of a GPU's generator; None for other devices, which use that of the CPU."""
    if device.type in INDEXED:
        state: Tensor = torch.get_device_module(device).get_rng_state(device)
        return state
    return torch.mps.get_rng_state() if device.type == "mps" else None


def set_random_state(device: torch.device, state: Tensor) -> None:
    """Restore a state of `random_state`."""
    if device.type in INDEXED:
        torch.get_device_module(device).set_rng_state(state, device)
    else:
        torch.mps.set_rng_state(state)


def seed_all(seed: int) -> None:
    """Seed the generators of all GPUs that this process uses."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)
    if torch.xpu.is_initialized():  # type: ignore[no-untyped-call]
        torch.xpu.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)
