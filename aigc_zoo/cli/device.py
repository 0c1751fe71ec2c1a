"""The option that several commands have: on which device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def device_option(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--device`, with a help that begins with `what` happens there."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        type=click.Choice(["auto", "cpu", "cuda"]),
        help=f"{what}; auto takes a GPU if any.",
    )
