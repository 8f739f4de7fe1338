"""Tells customers how their machines are."""

import asyncio

from cloud.adapters.store import Store
from cloud.config import Config
from cloud.core.customers import Word


class Customers:
    """Serves `cloud.web.customer_ports.Customers`."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store, self._config = store, config

    def tell(self, word: Word) -> None:
        """Put a message on its way to a machine's customer; the same again changes nothing."""

    async def run(self) -> None:
        """Send what is due until cancelled."""
        await asyncio.Event().wait()
