"""Argon2id, a few at a time: each hash takes 64 MiB and a twentieth of a second."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from contract.errors import Unreachable

AT_ONCE, WAITING_MAX = 2, 20


class Passwords:
    """Hashes and verifies passwords in threads."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._nobodys = self._hasher.hash(secrets.token_hex())

    async def hash(self, password: str) -> str:
        """Return what is kept of a password.

        Raises:
            Unreachable: too many wait.
        """
        async with self._turn():
            return await asyncio.to_thread(self._hasher.hash, password)

    async def fits(self, known: str, password: str) -> bool:
        """Tell whether a password is the one; where none is known it takes the same time.

        Raises:
            Unreachable: too many wait.
        """
        async with self._turn():
            try:
                await asyncio.to_thread(self._hasher.verify, known or self._nobodys, password)
            except (VerificationError, InvalidHashError):
                return False
        return bool(known)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._waiting >= WAITING_MAX:
            raise Unreachable("Too many people sign in at this moment: try again in a minute.")
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turns.release()


def first_password(path: Path) -> str:
    """Return the password in a file; where there is none yet, a new one is written to it."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(18) + "\n")
    return path.read_text().strip()
