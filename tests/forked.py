"""Children of a warm process: what they do is seen from outside, as a user would see it."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable

import torch

from aigc_zoo.errors import ZooError


def fork(work: Callable[[], object]) -> int:
    """Runs `work` in a child of this warm process, which leaves with 0, a ZooError's code or 99; its process id."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        signal.alarm(30)  # a child that hangs ends, and its test fails
        torch.set_num_threads(1)
        work()
        code = 0
    except ZooError as error:
        code = error.exit_code
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(child: int) -> int:
    """How it ended: an exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
