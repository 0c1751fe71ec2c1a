"""The device of a command or a run: `auto`, or the one that the user asked for."""

from __future__ import annotations

import os
from typing import NoReturn

import torch

from aigc_zoo import devices
from aigc_zoo.errors import ConfigError, UsageError
from aigc_zoo.options import RUN_SETTINGS
from aigc_zoo.options.values import checked_value


def choose_device(wanted: str) -> torch.device:
    """The device for `auto` (CUDA where there is any, else the CPU), `cpu`, `cuda`, `cuda:1`, `mps`, `xpu` or `xpu:1`.

    Under torchrun each local rank takes a CUDA device of its own. Raises UsageError for a name of no device,
    ConfigError for a device that torch does not find here.
    """
    text = str(checked_value(RUN_SETTINGS["device"], wanted, UsageError))
    if text == "auto":
        text = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = text.partition(":")
    if kind != "cpu" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        device = torch.device("cuda", _local_rank(text))
    else:
        number = int(index or os.environ.get("LOCAL_RANK", "0")) if kind in devices.INDEXED else None
        device = torch.device(kind) if number is None else torch.device(kind, number)
    if str(device) not in devices.present():
        _refuse(text)
    devices.set_current(device)
    return device


def _local_rank(wanted: str) -> int:
    """The CUDA device of this rank. Raises ConfigError for another device, and where there are too few."""
    ranks, rank = int(os.environ["WORLD_SIZE"]), int(os.environ.get("LOCAL_RANK", "0"))
    if wanted != "cuda":
        raise ConfigError(f"--device {wanted}: {ranks} ranks train on --device cuda, a GPU for each, or --device cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count and rank >= count:
        gpus = "one CUDA device" if count == 1 else f"{count} CUDA devices"
        raise ConfigError(
            f"--device cuda: each rank of a machine needs a GPU, and torch finds {gpus}\n"
            f"use torchrun --nproc-per-node {count}, or --device cpu"
        )
    return rank


def _refuse(wanted: str) -> NoReturn:
    found = devices.present()
    *others, last = found
    listed = f"{', '.join(others)} or {last}" if others else last
    raise ConfigError(f"--device {wanted}: torch finds no such device here; use --device {listed}")
