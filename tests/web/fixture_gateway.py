"""A console in a process of its own, for what must not share one with the tests."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from tests.peers import free_port

ROOT = Path(__file__).parents[2]


class Gateway(NamedTuple):
    """Where it is, and the session of the engineer who is signed in."""

    address: str
    session: str
    pid: int
    stdin: IO[str]


@contextmanager
def serving(world: str) -> Iterator[Gateway]:
    """Start a console over a world of `tests.web.serve_world`, and stop it at the end."""
    command = [sys.executable, "-m", "tests.web.serve_world", world, str(free_port())]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the gateway did not start"
        yield Gateway(**json.loads(line), pid=process.pid, stdin=process.stdin)
        process.stdin.close()
        process.wait(timeout=90)
