"""The option --device, which several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from aigc_zoo.options import RUN_SETTINGS

if TYPE_CHECKING:
    import torch


def device_option(purpose: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--device`, whose help names the purpose, such as "sampling"; `device_of` validates its value."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar=f"[{'|'.join(RUN_SETTINGS['device'].words)}]",
        help=f"Device for {purpose}; auto takes CUDA where it is available, else the CPU.",
    )


def device_of(wanted: str) -> torch.device:
    """The device of a command; a note on stderr says if the project has not tested it."""
    from aigc_zoo import devices
    from aigc_zoo.run.device import choose_device

    device = choose_device(wanted)
    if note := devices.untested(device):
        click.echo(f"note: {note}", err=True)
    return device
