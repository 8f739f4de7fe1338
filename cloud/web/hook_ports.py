"""Webhook endpoints, as the web sees them."""

from typing import Literal, Protocol

from msgspec import Struct

Signing = Literal["hmac", "ed25519"]
Format = Literal["farfix", "pagerduty", "servicenow", "jira", "odoo", "salesforce"]


class EndpointOrder(Struct, frozen=True, kw_only=True):
    """What somebody sets about an endpoint."""

    name: str
    url: str
    format: Format = "farfix"
    events: list[str] = []
    """`cloud.core.telling.EventType`; empty: all."""
    signing: Signing = "hmac"
    allow_private: bool = False
    """May lie inside the own network."""
    settings: dict[str, str] = {}
    """What the format asks for, such as a routing key; secrets among them are never shown."""


class Endpoint(Struct, frozen=True, kw_only=True):
    """One endpoint and how it stands."""

    id: str
    order: EndpointOrder
    from_config: bool
    """Set in the gateway's file, so not to be changed here."""
    disabled: str
    """Why nothing is sent; empty: it is."""
    waiting: int
    dead: int
    delivered_ns: int | None
    """When it last took something."""
    public_key: str = ""
    """``whpk_...`` where it signs by ed25519."""


class Delivery(Struct, frozen=True, kw_only=True):
    """One event on its way to one endpoint."""

    id: int
    endpoint: str
    message_id: str
    type: str
    subject: str
    state: Literal["waiting", "delivered", "dead", "dropped"]
    created_ns: int
    due_ns: int
    attempts: int
    status: int | None
    """Of the last answer."""
    error: str
    ended_ns: int | None


class DeliveryAttempt(Struct, frozen=True, kw_only=True):
    """One request that was made."""

    at_ns: int
    status: int | None
    error: str
    took_ms: float


class Hooks(Protocol):
    """Endpoints and deliveries."""

    def endpoints(self) -> list[Endpoint]:
        """Return all endpoints."""

    async def create(self, order: EndpointOrder, by: str) -> tuple[Endpoint, str]:
        """Add an endpoint and return its secret, which is shown once.

        Raises:
            Refused: the target is not allowed, or a setting of its format is missing.
        """

    async def change(self, endpoint: str, order: EndpointOrder, by: str) -> Endpoint:
        """Change an endpoint. Raises `Refused` like `create`, and for one from the file."""

    async def enable(self, endpoint: str, by: str, *, enabled: bool) -> Endpoint:
        """Send to it again, what it has missed first; or no more: what waits is given up."""

    async def delete(self, endpoint: str, by: str) -> None:
        """Remove an endpoint and what waits for it."""

    async def rotate(self, endpoint: str, by: str) -> str:
        """Make a new secret, shown once; the old one signs beside it for a day."""

    async def test(self, endpoint: str, by: str) -> Delivery:
        """Send a test event now, and return what came of it."""

    def deliveries(
        self, endpoint: str = "", state: str = "", subject: str = "", limit: int = 100
    ) -> list[Delivery]:
        """Return deliveries, newest first."""

    def attempts(self, delivery: int) -> list[DeliveryAttempt]:
        """Return the requests of one delivery, oldest first."""

    async def replay(self, delivery: int, by: str) -> Delivery:
        """Try a dead delivery again, under its old id.

        Raises:
            Refused: it is not dead, or its endpoint is disabled.
        """
