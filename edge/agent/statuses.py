"""What the agent says about itself and its devices: only the latest counts."""

import asyncio

from msgspec.structs import replace

from contract import codec, topics
from contract.status import Status
from contract.topics import Channel
from edge.adapters.mqtt import Outgoing


class Statuses:
    """Current statuses and which of them the broker does not have yet."""

    def __init__(self, site: str, agent: str, wake: asyncio.Event) -> None:
        self.agent = agent
        self._site = site
        self._wake = wake
        self._current: dict[str, Status] = {}
        self._news: set[str] = set()

    def say(self, device: str, status: Status) -> None:
        """Replace a status; one that only differs in its time, or why it is offline, is no news."""
        old = self._current.get(device)
        if old is not None:
            same = replace(status, at_ns=old.at_ns)
            if same == old or not (status.online or old.online):
                return
        self._current[device] = status
        self._news.add(device)
        self._wake.set()

    def forget(self, device: str) -> None:
        """Let the next status be news whatever it says: the last will may have spoken meanwhile."""
        self._current.pop(device, None)

    def current(self, device: str) -> Status | None:
        """Return what was said last."""
        return self._current.get(device)

    def all_is_news(self) -> None:
        """Say everything again, to a broker that may have forgotten."""
        self._news = set(self._current)

    def take_news(self) -> list[Outgoing]:
        """Return the statuses that changed, as messages."""
        news, self._news = self._news, set()
        return [self.message(device, self._current[device]) for device in sorted(news)]

    def message(self, device: str, status: Status) -> Outgoing:
        """Return a status as a retained message."""
        topic = topics.build(self._site, device, Channel.STATUS)
        return Outgoing(topic, codec.encode(status), retain=True)

    def farewell(self, at_ns: int) -> list[Outgoing]:
        """Return what to say when the agent stops: nobody watches the devices any more."""
        return [
            self.message(
                device,
                replace(status, online=False, at_ns=at_ns, reason=f"agent {self.agent} stopped"),
            )
            for device, status in sorted(self._current.items())
        ]
