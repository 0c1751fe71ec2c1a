"""TensorBoard logging: terms, metrics, sample grids and the card of each run, in RUN/tensorboard.

The hooks exist only if the package tensorboard is installed, so that without it a run pays nothing.
`ZOO_DISABLE_PLUGINS=tensorboard` disables them.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from aigc_zoo.spec import hookimpl

ZOO_API = 1

if find_spec("tensorboard") is not None:

    @hookimpl
    def zoo_run_start(run: Path) -> None:
        from .writer import start

        start(run)

    @hookimpl
    def zoo_log(run: Path, step: int, scalars: Mapping[str, float]) -> None:
        from .writer import log

        log(run, step, scalars)

    @hookimpl
    def zoo_checkpoint_saved(run: Path, path: Path) -> None:
        from .writer import add_grids

        add_grids(run)

    @hookimpl
    def zoo_run_end(run: Path, error: BaseException | None) -> None:
        from .writer import end

        end(run)
