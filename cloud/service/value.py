"""The value ledger and its reports."""

from cloud.adapters.store import Store
from cloud.config import Config
from cloud.core.ledger import Entry


class Value:
    """Serves `cloud.web.value_ports.Value`."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store, self._config = store, config

    def take(self, entries: list[Entry]) -> None:
        """Keep lines; one whose key is known stays as it is."""
