"""The option --device, which several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def device_option(purpose: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--device`, whose help names the purpose, such as "sampling"."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        type=click.Choice(["auto", "cpu", "cuda"]),
        help=f"Device for {purpose}; auto uses a GPU if there is one.",
    )
