"""Pulling the plug: children of this process that are killed at every byte and at every line.

A child that may write no more than so many bytes is killed by the kernel in the middle of the
write; one that is traced kills itself before a line. What it leaves on the disk is real.
"""

import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

Work = Callable[[], None]


def at_every_byte(work: Work) -> Iterator[int]:
    """Let a child do the work and kill it after 0, 1, 2 ... bytes of a file; end when it lives."""
    limit = 0
    while _killed(lambda: _bound(limit), work):  # noqa: B023 - called at once
        yield limit
        limit += 1


def at_every_line(work: Work, *codes: CodeType) -> Iterator[int]:
    """Let a child do the work and kill it before the n-th line of these functions."""
    number = 0
    while _killed(lambda: _trace(codes, number), work):  # noqa: B023 - called at once
        yield number
        number += 1


def _killed(prepare: Work, work: Work) -> bool:
    pid = os.fork()
    if pid == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            prepare()
            work()
        except BaseException:  # noqa: BLE001 - a child must not go on as a second pytest
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the work itself failed"
    return os.WIFSIGNALED(status)


def _bound(limit_bytes: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))


def _trace(codes: tuple[CodeType, ...], number: int) -> None:
    left = [number]

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code not in codes:
            return None
        if event == "line":
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
        return trace

    sys.settrace(trace)
