"""Which commands this agent has seen, and its answers, until the broker has them.

Lives in the spool's file. A command is written down before it acts: if the agent dies in between,
it answers "interrupted" afterwards and never acts twice.
"""

import sqlite3

from contract import codec
from contract.commands import Answer, AnswerStatus, Command
from contract.errors import Unreachable

KEEP_AFTER_EXPIRY_S = 7 * 86400
"""An expired command cannot act; its answer is kept this long for whoever asks again."""


class Memory:
    """Commands by device and id; every method raises `Unreachable` when the disk refuses."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def _execute(
        self, statement: str, values: tuple[str | int | bytes, ...] = ()
    ) -> sqlite3.Cursor:
        try:
            return self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise Unreachable(f"the memory of commands cannot be used: {error}") from error

    def recall(self, device: str, command_id: str) -> Answer | None:
        """Return the answer that was given to a command."""
        row = self._execute(
            "SELECT answer FROM command WHERE device = ? AND id = ?", (device, command_id)
        ).fetchone()
        return codec.decode(row[0], Answer) if row and row[0] else None

    def start(self, device: str, command: Command) -> None:
        """Write down that a command is about to act."""
        self._execute(
            "INSERT INTO command (device, id, expires_ns) VALUES (?, ?, ?)",
            (device, command.id, command.expires_ns),
        )

    def finish(self, device: str, command: Command, answer: Answer) -> None:
        """Keep the answer, to be published."""
        self._execute(
            "INSERT INTO command (device, id, expires_ns, answer, owed) VALUES (?, ?, ?, ?, 1) "
            "ON CONFLICT (device, id) DO UPDATE SET answer = excluded.answer, owed = 1",
            (device, command.id, command.expires_ns, codec.encode(answer)),
        )

    def repeat(self, device: str, command_id: str) -> None:
        """Publish a known answer once more."""
        self._execute(
            "UPDATE command SET owed = owed + 1 WHERE device = ? AND id = ? AND answer IS NOT NULL",
            (device, command_id),
        )

    def owed(self, limit: int) -> list[tuple[str, str, bytes]]:
        """Return device, command id and encoded answer of what is still to be published."""
        rows = self._execute(
            "SELECT device, id, answer FROM command WHERE owed > 0 LIMIT ?", (limit,)
        )
        return [(device, command_id, data) for device, command_id, data in rows]

    def published(self, device: str, command_id: str) -> None:
        """Note that the broker has the answer once more.

        Counted, so that a repetition asked for while the answer was on its way is not lost.
        """
        self._execute(
            "UPDATE command SET owed = owed - 1 WHERE device = ? AND id = ? AND owed > 0",
            (device, command_id),
        )

    def after_restart(self, now_ns: int) -> int:
        """Answer what a crash interrupted, forget what is long past; return how many answers."""
        self._execute(
            "DELETE FROM command WHERE owed = 0 AND answer IS NOT NULL AND expires_ns < ?",
            (now_ns - KEEP_AFTER_EXPIRY_S * 10**9,),
        )
        rows = self._execute("SELECT device, id FROM command WHERE answer IS NULL").fetchall()
        for device, command_id in rows:
            answer = Answer(
                id=command_id,
                status=AnswerStatus.FAILED,
                at_ns=now_ns,
                reason="interrupted: the agent stopped while it acted; it may have acted or not",
            )
            self._execute(
                "UPDATE command SET answer = ?, owed = 1 WHERE device = ? AND id = ?",
                (codec.encode(answer), device, command_id),
            )
        return len(rows)
