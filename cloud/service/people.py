"""People, sessions and tokens, over the store."""

from cloud.adapters.store import Store
from cloud.config import Config


class People:
    """Serves `cloud.web.people_ports.People`."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store, self._config = store, config
