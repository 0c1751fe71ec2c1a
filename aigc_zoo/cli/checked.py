"""Values on the command line that Python validates in the same words."""

from __future__ import annotations

from typing import Any

import click


class Checked(click.ParamType[Any]):
    """A value of `aigc_zoo.run.arguments`, by its flag."""

    name = "value"

    def __init__(self, flag: str) -> None:
        self._flag = flag

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from aigc_zoo.run.arguments import argument

        return argument(self._flag, value)
