"""Carries events to endpoints: who is due, how many at once, and what came of it.

Each turn writes down what has come back and reads what is due, in one transaction; so many
deliveries share one wait for the disk. An endpoint that does not answer holds up nobody else.
"""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec.structs import replace

from cloud.adapters import templates, webhook
from cloud.adapters.clock import PlantClock
from cloud.adapters.hook_store import AttemptRow, DeliveryRow, EndpointRow, HookStore, Note
from cloud.adapters.outgoing import Answer, Door, Request
from cloud.config import Config
from cloud.core import delivery as rules
from cloud.core.delivery import DeliveryState, Outcome
from cloud.core.telling import EventType, Telling
from cloud.web import metrics
from cloud.web.hook_ports import EndpointOrder
from contract import timescale
from contract.errors import Malformed, Refused, Unreachable

log = logging.getLogger(__name__)

AT_ONCE: Final = 8
"""Requests under way to one endpoint."""
IDLE_S = 30.0
"""Wall time until a look for what is due although nothing has happened."""
GATHER_S = 0.01
"""Wall time in which what comes back is gathered for one transaction."""
DATABASE_RETRY_S = 2.0
BY_SOMEBODY = "Disabled by "
"""How the reason begins where a person disabled an endpoint: nobody else need look at it."""


class Postman:
    """Sends what waits in the store until it is taken or given up."""

    def __init__(
        self, store: HookStore, config: Config, clock: PlantClock, endpoints: dict[str, EndpointRow]
    ) -> None:
        """Take the endpoints by id; whoever changes them calls `wake`."""
        self._store, self._clock, self._endpoints = store, clock, endpoints
        self._source = config.base_url
        self._speed = timescale.parse(config.timescale).speed
        self._busy: dict[int, str] = {}
        self._notes: list[Note] = []
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        self._noted = asyncio.Event()
        self._troubles: list[str] = []
        self._stale = True

    def wake(self) -> None:
        """Say that something has changed."""
        self._stale = True
        self._wake.set()

    async def noted(self) -> None:
        """Wait until what has come back is written down."""
        await self._noted.wait()

    async def run(self) -> None:
        """Deliver what is due until cancelled."""
        door = Door()
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    self._wake.clear()
                    try:
                        wait_s = self._turn(lambda row: tasks.create_task(self._one(door, row)))
                    except Unreachable as error:
                        log.warning("webhooks wait: %s", error)
                        wait_s = DATABASE_RETRY_S
                        await asyncio.sleep(wait_s)
                        continue
                    await self._pause(wait_s)
        finally:
            await door.close()

    async def _pause(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._wake.wait()
        except TimeoutError:
            return
        await asyncio.sleep(GATHER_S)

    def _turn(self, start: Callable[[DeliveryRow], object]) -> float:
        """Write down, read and begin; return wall seconds until the next is due."""
        now_ns = self._clock.now_ns()
        under_way = Counter(self._busy.values())
        open_to = [row.id for row in self._endpoints.values() if not row.disabled]
        free = {i: AT_ONCE + under_way[i] for i in open_to if under_way[i] < AT_ONCE}
        notes, changed = list(self._notes), set(self._changed)
        rows = [self._endpoints[i] for i in changed if i in self._endpoints]
        due = self._store.turn(notes, rows, free, now_ns)
        del self._notes[: len(notes)]
        self._changed -= changed
        for note in notes:
            self._busy.pop(note.delivery.id, None)
        if notes:
            self._stale = True
            self._noted.set()
            self._noted = asyncio.Event()
            self._wake.set()  # what was held behind these may go now
        for row in due:
            if row.id not in self._busy and under_way[row.endpoint] < AT_ONCE:
                under_way[row.endpoint] += 1
                self._busy[row.id] = row.endpoint
                start(row)
        following = self._store.next_due_ns(open_to, now_ns)
        if following is None:
            return IDLE_S
        return min((following - now_ns) / 1e9 / self._speed + 0.001, IDLE_S)

    async def _one(self, door: Door, row: DeliveryRow) -> None:
        """Make one attempt and say what came of it."""
        endpoint = self._endpoints.get(row.endpoint)
        if endpoint is None:
            self._busy.pop(row.id, None)
            return  # deleted meanwhile, and its deliveries with it
        order = msgspec.json.decode(endpoint.order, type=EndpointOrder)
        begun_s = time.monotonic()
        try:
            answer = await self._send(door, endpoint, order, row)
        except Unreachable as error:
            outcome = Outcome(status=None, error=str(error))
        except (Refused, Malformed) as error:
            outcome = Outcome(status=None, error=str(error), lasting=True)
        else:
            asked_s = answer.retry_after_s
            outcome = Outcome(
                status=answer.status,
                error=answer.said(order.url),
                lasting=answer.lasting,
                retry_after_s=None if asked_s is None else asked_s * self._speed,
            )
        took_ms = (time.monotonic() - begun_s) * 1e3
        self._note(row, replace(outcome, error=_clean(outcome.error, order, endpoint)), took_ms)

    async def _send(
        self, door: Door, endpoint: EndpointRow, order: EndpointOrder, row: DeliveryRow
    ) -> Answer:
        event = msgspec.json.decode(row.event, type=Telling)

        async def send(request: Request) -> Answer:
            return await door.send(request, allow_private=order.allow_private)

        if order.format != "farfix":
            return await templates.tell(order.format, order.url, order.settings, event, send)
        now_s = int(time.time())  # noqa: TID251 - receivers compare signatures with the wall clock
        keys = [endpoint.secret]
        if endpoint.old_secret and now_s * 10**9 < endpoint.old_until_ns:
            keys.append(endpoint.old_secret)
        body = webhook.cloud_event(event, row.message_id, self._source)
        signed = webhook.signed_request(keys, row.message_id, now_s, body)
        return await send(Request(url=order.url, headers=signed.headers, body=signed.body))

    def _note(self, row: DeliveryRow, outcome: Outcome, took_ms: float) -> None:
        now_ns = self._clock.now_ns()
        jitter = random.random()  # noqa: S311 - spreads retries, guards nothing
        going = rules.after(row.attempts, outcome, now_ns, jitter)
        ended = going.state is not DeliveryState.WAITING
        error = outcome.error
        now = replace(
            row,
            state=going.state,
            attempts=going.attempts,
            due_ns=going.due_ns,
            status=outcome.status,
            error=error,
            ended_ns=now_ns if ended else None,
        )
        attempt = AttemptRow(at_ns=now_ns, status=outcome.status, error=error, took_ms=took_ms)
        self._notes.append(Note(delivery=now, attempt=attempt))
        self._health(row.endpoint, outcome, now_ns)
        metrics.webhook_attempts.labels("failed" if error else "taken").inc()
        if going.state is DeliveryState.DELIVERED and row.type == EventType.TICKET_OPENED:
            metrics.delivered_tickets.inc()
        if error:
            log.warning("%s to %s: %s", row.type, row.endpoint, error)
        self._wake.set()

    def _health(self, endpoint: str, outcome: Outcome, now_ns: int) -> None:
        row = self._endpoints.get(endpoint)
        if row is None:
            return
        since_ns = None
        if outcome.error:
            since_ns = row.failing_since_ns or now_ns
        taken_ns = row.delivered_ns if outcome.error else now_ns
        why = row.disabled or rules.disabled(outcome, since_ns, now_ns)
        if why and not row.disabled:
            log.warning("webhook endpoint %s is disabled: %s", row.name, why)
        self._endpoints[endpoint] = replace(
            row, disabled=why, failing_since_ns=since_ns, delivered_ns=taken_ns
        )
        self._changed.add(endpoint)

    def troubles(self) -> list[str]:
        """Say which endpoints need somebody."""
        if self._stale:
            self._stale = False
            counts = Counter(self._store.counts())
            self._troubles = [
                text for row in self._endpoints.values() for text in _troubles(row, counts)
            ]
            waiting = sum(n for (_, state), n in counts.items() if state == DeliveryState.WAITING)
            metrics.webhook_waiting.set(waiting)
        return self._troubles


def _troubles(row: EndpointRow, counts: Counter[tuple[str, str]]) -> list[str]:
    if row.disabled.startswith(BY_SOMEBODY):
        return []
    found = []
    if row.disabled:
        found.append(f"Webhook {row.name} gets nothing: {row.disabled}")
    given_up = counts[row.id, DeliveryState.DEAD] + counts[row.id, DeliveryState.DROPPED]
    if given_up:
        found.append(f"Webhook {row.name} has not got {given_up} events; see Webhooks.")
    return found


def _clean(error: str, order: EndpointOrder, endpoint: EndpointRow) -> str:
    """Return what an endpoint said without our secrets, in case it repeats them."""
    kept = [v for k, v in order.settings.items() if templates.is_secret(order.format, k)]
    for secret in (*kept, endpoint.secret, endpoint.old_secret):
        if secret:
            error = error.replace(secret, templates.HIDDEN)
    return error.replace("\0", "\ufffd")
