"""Webhook endpoints: who gets which events, and what people change about them.

Events are written down for each endpoint before they are sent (`cloud.service.postman`), so
nothing is lost by a crash; a crash between a request and its note makes the request again, under
the same id.
"""

import asyncio
import re
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import msgspec
from msgspec.structs import replace

from cloud.adapters import outgoing, templates, webhook
from cloud.adapters.clock import PlantClock
from cloud.adapters.hook_store import DeliveryRow, EndpointRow, Event
from cloud.adapters.mqtt import read_password
from cloud.adapters.rollout_store import Line
from cloud.adapters.store import Store
from cloud.config import Config
from cloud.core import telling, visits
from cloud.core.delivery import DeliveryState, message_id
from cloud.core.telling import EventType, Telling
from cloud.service import sample
from cloud.service.postman import BY_SOMEBODY, Postman
from cloud.web.hook_ports import Delivery, DeliveryAttempt, Endpoint, EndpointOrder
from contract import timescale
from contract.errors import Refused, Unreachable

CONFIG = "config"
"""Id and name of the endpoint that the gateway's file sets."""
REMOVED = f"{BY_SOMEBODY}the gateway's file, which names it no more."
ENDPOINTS_MAX = 100
NAME_MAX = 80
_NAME = re.compile(r"[^\x00-\x1f\x7f]+")


class Hooks:
    """Serves `cloud.web.hook_ports.Hooks`."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store, self._config = store, config
        self._clock = PlantClock(timescale.parse(config.timescale))
        self._take_config()
        self._rows = {row.id: row for row in store.hooks.endpoints()}
        self._postman = Postman(store.hooks, config, self._clock, self._rows)

    def _take_config(self) -> None:
        """Bring the endpoint of the gateway's file up to date; a changed secret overlaps."""
        kept = {row.id: row for row in self._store.hooks.endpoints()}.get(CONFIG)
        given = self._config.webhook
        if not given.url:
            if kept is not None and not kept.disabled:
                self._switch(kept, replace(kept, disabled=REMOVED))
            return
        order = EndpointOrder(
            name=CONFIG,
            url=given.url,
            events=[t.value for t in templates.TICKETS],
            allow_private=given.allow_private,
        )
        row = EndpointRow(
            id=CONFIG,
            name=CONFIG,
            order=msgspec.json.encode(order),
            secret=read_password(given.secret_file),
            from_config=True,
        )
        webhook.signed_request(row.secret, CONFIG, 0, b"")  # a bad one is said now, not at night
        if kept is not None:
            row = replace(
                row,
                old_secret=kept.old_secret,
                old_until_ns=kept.old_until_ns,
                disabled=kept.disabled if kept.order == row.order else "",
                failing_since_ns=kept.failing_since_ns,
                delivered_ns=kept.delivered_ns,
            )
            if kept.secret != row.secret:
                row = replace(row, old_secret=kept.secret, old_until_ns=_overlap_ns())
            if row.disabled == REMOVED:
                row = replace(row, disabled="")
        if row != kept:
            self._switch(kept, row)

    def _switch(self, before: EndpointRow | None, row: EndpointRow) -> None:
        """Keep an endpoint that is disabled, or that is enabled again and hears what it missed."""
        again = before is not None and before.disabled and not row.disabled
        missed = self._missed(row) if again else []
        self._store.hooks.switch(row, self._clock.now_ns(), missed)

    def _missed(self, row: EndpointRow) -> list[Event]:
        """Return the events of tickets that are open, and of those that it may take for open."""
        order = _order(row)
        hears_ends = any(_wants(order, kind) for kind in telling.ENDS)
        known = self._store.hooks.unended(row.id) if hears_ends else set()
        cases = {case.case_id for case in self._store.open_cases()}
        told = telling.about_tickets(
            self._store.told(cases | {visits.case_of(key) for key in known})
        )
        over = {event.subject for event in told if event.type in telling.ENDS} - known
        wanted = (event for event in told if _wants(order, event.type))
        return [self._event(event) for event in wanted if event.subject not in over]

    def tell(self, event: Telling) -> None:
        """Put an event on its way to all that want it; the same again changes nothing.

        An endpoint that is disabled is told nothing, now or later.

        Raises:
            Unreachable: the database does not answer; nothing was written.
        """
        rows = [row for row in self._rows.values() if not row.disabled]
        to = [row.id for row in rows if _wants(_order(row), event.type)]
        self._write(event, to)

    def _write(self, event: Telling, to: Sequence[str]) -> None:
        self._store.hooks.tell(self._event(event), to)
        self._postman.wake()

    def _event(self, event: Telling) -> Event:
        return Event(
            message_id=message_id(event.id),
            type=event.type.value,
            subject=event.subject,
            event=msgspec.json.encode(event),
            created_ns=self._clock.now_ns(),
        )

    async def run(self) -> None:
        """Deliver what is due until cancelled."""
        await self._postman.run()

    def troubles(self) -> list[str]:
        """Say which endpoints need somebody."""
        return self._postman.troubles()

    # What people do (`cloud.web.hook_ports.Hooks`).

    def endpoints(self) -> list[Endpoint]:
        """Return all endpoints."""
        counts = Counter(self._store.hooks.counts())
        rows = sorted(self._rows.values(), key=lambda row: row.name)
        return [_shown(row, counts) for row in rows]

    def _endpoint(self, endpoint: str) -> Endpoint:
        return _shown(self._row(endpoint), Counter(self._store.hooks.counts()))

    def _row(self, endpoint: str) -> EndpointRow:
        row = self._rows.get(endpoint)
        if row is None:
            raise Refused(f"there is no webhook endpoint {endpoint[:80]!r}")
        return row

    def _own(self, endpoint: str) -> EndpointRow:
        row = self._row(endpoint)
        if row.from_config:
            raise Refused("this endpoint is set in the gateway's file ([webhook]): change it there")
        return row

    async def create(self, order: EndpointOrder, by: str) -> tuple[Endpoint, str]:
        """Add an endpoint and return its secret, which is shown once.

        One that signs by ed25519 has nothing to hide from its receiver: its public key is returned.

        Raises:
            Refused: the target is not allowed, or a setting of its format is missing.
        """
        if len(self._rows) >= ENDPOINTS_MAX:
            raise Refused(f"there are {ENDPOINTS_MAX} endpoints already: delete one first")
        await self._check(order, "")
        key = _new_key(order)
        row = EndpointRow(
            id=secrets.token_hex(6),
            name=order.name,
            order=msgspec.json.encode(order),
            secret=key,
        )
        self._put(row, by, "webhook created", f"{order.format} {outgoing.shown(order.url)}")
        return self._endpoint(row.id), _told(key)

    async def change(self, endpoint: str, order: EndpointOrder, by: str) -> Endpoint:
        """Change an endpoint. Raises `Refused` like `create`, and for one from the file."""
        row = self._own(endpoint)
        old = _order(row)
        if (order.format, order.signing) != (old.format, old.signing):
            raise Refused("format and signing of an endpoint stay: make a new endpoint")
        if order.url == _masked(old.url):
            order = replace(order, url=old.url)
        kept = {k: v for k, v in old.settings.items() if templates.is_secret(old.format, k)}
        if outgoing.shown(order.url) != outgoing.shown(old.url):
            kept = {}  # secrets of the old target never go to a new one unseen
        settings = {
            k: kept.get(k, "") if v == templates.HIDDEN else v for k, v in order.settings.items()
        }
        order = replace(order, settings={k: v for k, v in settings.items() if v})
        await self._check(order, endpoint)
        changed = replace(self._own(endpoint), name=order.name, order=msgspec.json.encode(order))
        self._put(changed, by, "webhook changed", outgoing.shown(order.url))
        self._postman.wake()
        return self._endpoint(endpoint)

    async def _check(self, order: EndpointOrder, endpoint: str) -> None:
        if not 0 < len(order.name) <= NAME_MAX or not _NAME.fullmatch(order.name):
            raise Refused(f"an endpoint's name has 1 to {NAME_MAX} printable characters")
        if any(r.name == order.name and r.id != endpoint for r in self._rows.values()):
            raise Refused(f"there is an endpoint {order.name!r} already")
        unknown = set(order.events) - {kind.value for kind in EventType}
        if unknown:
            raise Refused(
                f"there is no event {min(unknown)[:80]!r}; there are: {', '.join(EventType)}"
            )
        templates.check(order.format, order.settings)
        try:
            await outgoing.vetted(order.url, allow_private=order.allow_private)
        except Unreachable as error:
            raise Refused(f"{error}; check the address") from error

    async def enable(self, endpoint: str, by: str, *, enabled: bool) -> Endpoint:
        """Send to it again, what it has missed first; or no more: what waits is given up."""
        row = self._row(endpoint)
        why = "" if enabled else f"{BY_SOMEBODY}{by}."
        before, row = row, replace(row, disabled=why, failing_since_ns=None)
        self._switch(before, row)
        self._rows[endpoint] = row
        self._record(by, "webhook enabled" if enabled else "webhook disabled", row.name)
        self._postman.wake()
        return self._endpoint(endpoint)

    async def delete(self, endpoint: str, by: str) -> None:
        """Remove an endpoint and what waits for it."""
        row = self._row(endpoint)
        if row.disabled != REMOVED:
            self._own(endpoint)
        self._rows.pop(endpoint)
        self._store.hooks.delete_endpoint(endpoint)
        self._record(by, "webhook deleted", row.name)
        self._postman.wake()

    async def rotate(self, endpoint: str, by: str) -> str:
        """Make a new secret, shown once; the old one signs beside it for a day."""
        row = self._own(endpoint)
        if _order(row).format != "farfix":
            raise Refused("this format has no secret of ours; change its settings instead")
        key = _new_key(_order(row))
        row = replace(row, secret=key, old_secret=row.secret, old_until_ns=_overlap_ns())
        self._put(row, by, "webhook secret rotated", "")
        return _told(key)

    async def test(self, endpoint: str, by: str) -> Delivery:
        """Send a test event now, and return what came of it."""
        row = self._row(endpoint)
        now_ns = self._clock.now_ns()
        event = sample.telling(secrets.token_hex(8), now_ns, self._config.base_url)
        if row.disabled:
            raise Refused(f"the endpoint is disabled: {row.disabled} Enable it first.")
        self._write(event, [endpoint])
        self._record(by, "webhook tested", row.name)
        with suppress(TimeoutError):
            async with asyncio.timeout(outgoing.TIMEOUT_S + 5):
                while not self._sent(endpoint, event.subject):
                    await self._postman.noted()
        return _delivery(self._store.hooks.deliveries(endpoint, subject=event.subject, limit=1)[0])

    def _sent(self, endpoint: str, subject: str) -> bool:
        found = self._store.hooks.deliveries(endpoint, subject=subject, limit=1)
        return not found or bool(found[0].error) or found[0].ended_ns is not None

    def deliveries(
        self, endpoint: str = "", state: str = "", subject: str = "", limit: int = 100
    ) -> list[Delivery]:
        """Return deliveries, newest first."""
        return [_delivery(r) for r in self._store.hooks.deliveries(endpoint, state, subject, limit)]

    def attempts(self, delivery: int) -> list[DeliveryAttempt]:
        """Return the requests of one delivery, oldest first."""
        rows = self._store.hooks.attempts(delivery)
        return [
            DeliveryAttempt(at_ns=r.at_ns, status=r.status, error=r.error, took_ms=r.took_ms)
            for r in rows
        ]

    async def replay(self, delivery: int, by: str) -> Delivery:
        """Try a dead delivery again, under its old id.

        Raises:
            Refused: it is not dead, or its endpoint is disabled.
        """
        known = self._store.hooks.delivery(delivery)
        if known is not None and self._row(known.endpoint).disabled:
            raise Refused("its endpoint is disabled: enable it first")
        row = self._store.hooks.replay(delivery, self._clock.now_ns())
        if row is None:
            raise Refused(f"delivery {delivery} was not given up, so there is nothing to replay")
        self._record(by, "webhook replayed", f"{row.type} {row.subject} to {row.endpoint}")
        self._postman.wake()
        return _delivery(row)

    def _put(self, row: EndpointRow, by: str, what: str, text: str) -> None:
        self._store.hooks.put_endpoint(row)
        self._rows[row.id] = row
        self._record(by, what, f"{row.name} {text}".strip())

    def _record(self, by: str, what: str, text: str) -> None:
        line = Line(at_ns=self._clock.now_ns(), by=by, what=what, text=text)
        self._store.updates.save(None, lines=[line])


def _order(row: EndpointRow) -> EndpointOrder:
    return msgspec.json.decode(row.order, type=EndpointOrder)


def _wants(order: EndpointOrder, kind: EventType) -> bool:
    if order.format != "farfix" and kind not in templates.TICKETS:
        return False
    return not order.events or kind.value in order.events


def _new_key(order: EndpointOrder) -> str:
    if order.format != "farfix":
        return ""
    return webhook.new_secret() if order.signing == "hmac" else webhook.new_private_key()


def _told(key: str) -> str:
    """Return what the receiver has to know of a key."""
    return webhook.public_key(key) if key.startswith(webhook.PRIVATE) else key


def _overlap_ns() -> int:
    now_ns = time.time_ns()  # noqa: TID251 - receivers keep the wall clock
    return now_ns + webhook.OVERLAP_S * 10**9


def _shown(row: EndpointRow, counts: Counter[tuple[str, str]]) -> Endpoint:
    order = _order(row)
    public = row.secret.startswith(webhook.PRIVATE)
    return Endpoint(
        id=row.id,
        order=replace(
            order, url=_masked(order.url), settings=templates.shown(order.format, order.settings)
        ),
        from_config=row.from_config,
        disabled=row.disabled,
        waiting=counts[row.id, DeliveryState.WAITING],
        dead=counts[row.id, DeliveryState.DEAD] + counts[row.id, DeliveryState.DROPPED],
        delivered_ns=row.delivered_ns,
        public_key=webhook.public_key(row.secret) if public else "",
    )


def _masked(url: str) -> str:
    """Return a URL without its query, where receivers like to put keys."""
    return f"{outgoing.shown(url)}?{templates.HIDDEN}" if "?" in url else url


def _delivery(row: DeliveryRow) -> Delivery:
    return Delivery(
        id=row.id,
        endpoint=row.endpoint,
        message_id=row.message_id,
        type=row.type,
        subject=row.subject,
        state=row.state.value,
        created_ns=row.created_ns,
        due_ns=row.due_ns,
        attempts=row.attempts,
        status=row.status,
        error=row.error,
        ended_ns=row.ended_ns,
    )
