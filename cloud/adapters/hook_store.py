"""Webhook endpoints and what was delivered to them.

Like `cloud.adapters.store`: rows, one transaction per method, durable when it returns; all raise
`Unreachable` when the database does not answer.
"""

import sqlalchemy as sa


class HookStore:
    """This part of one gateway's records."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
