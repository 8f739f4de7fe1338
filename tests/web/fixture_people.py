"""People for the web's tests: one of each role, and tokens of other systems."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from cloud.adapters.store import Store
from cloud.config import Config
from cloud.core.people import LADDER, Role
from cloud.service.people import People
from cloud.web.guard import Doors

PASSWORD = "seven blue pumps in a row"
GATEWAY_TOKEN = "a-test-token"


@contextmanager
def doors(folder: Path) -> Iterator[Doors]:
    """Doors over people of their own, in a folder, with the gateway's token of the tests."""
    store = Store(f"sqlite:///{folder / 'people.db'}")
    yield Doors(People(store, Config(data_dir=folder)), GATEWAY_TOKEN)
    store.close()


class Crowd:
    """One person per role, named like it; sessions and tokens are made when they are wanted."""

    def __init__(self, people: People) -> None:
        self.people = people
        self._sessions: dict[Role, str] = {}
        self._tokens: dict[Role, str] = {}

    def session(self, role: Role) -> str:
        """Return the session cookie of somebody with a role."""
        if role not in self._sessions:
            with ThreadPoolExecutor(1) as thread:  # Playwright keeps a loop of its own in ours
                made = thread.submit(lambda: asyncio.run(self._signed_in(role)))
                self._sessions[role] = made.result()
        return self._sessions[role]

    async def _signed_in(self, role: Role) -> str:
        assert role in LADDER, f"{role} is for tokens"
        if all(a.person.role is not Role.ADMIN for a in self.people.accounts()):
            await self.people.put_account("admin", Role.ADMIN, PASSWORD, "test")
        if all(a.person.name != role.value for a in self.people.accounts()):
            await self.people.put_account(role.value, role, PASSWORD, "test")
        return await self.people.open(role.value, "in a test")

    async def token(self, role: Role) -> str:
        """Return a token with a role; its name is ``ROLE-system``."""
        if role not in self._tokens:
            token = await self.people.issue_token(f"{role.value}-system", role, "test")
            self._tokens[role] = token
        return self._tokens[role]
