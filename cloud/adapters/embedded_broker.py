"""The amqtt broker as a child process: ``python -m cloud.adapters.embedded_broker CONFIG.json``.

It ends when its standard input does, so it never outlives the program that started it.
"""

import asyncio
import json
import logging
import signal
import sys
import warnings
from pathlib import Path

from amqtt.broker import Broker


async def serve(config: dict[str, object]) -> None:
    """Run the broker until SIGTERM, SIGINT or the end of standard input."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    broker = Broker(config)
    await broker.start()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    parent = asyncio.ensure_future(reader.read())
    parent.add_done_callback(lambda _: over.set())
    await over.wait()
    parent.cancel()
    await broker.shutdown()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    # "No plugin support for 'acl' in future": its successor 'subscribe-acl' cannot be configured
    # in the release that we use.
    warnings.simplefilter("ignore", DeprecationWarning)
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text())))
