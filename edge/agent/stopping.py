"""Ending tasks for good."""

import asyncio
from collections.abc import Collection

PATIENCE_S = 3.0


async def end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel tasks until all have ended.

    Once is not enough: `asyncio.wait_for` of Python 3.11, by which pymodbus and aiomqtt wait,
    swallows a cancellation that comes together with the result.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=PATIENCE_S)
