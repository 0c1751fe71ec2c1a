"""Forked child processes, which start fast because everything is imported already."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable

import torch

from aigc_zoo.errors import ZooError


def fork(work: Callable[[], object]) -> int:
    """Run `work` in a forked child and return its process id. It exits with 0, the code of a ZooError, or 99."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        signal.alarm(30)  # a child that hangs is killed, and its test fails
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
    """Wait for the child and return its exit code, or the negative number of the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
