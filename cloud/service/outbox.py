"""Performs what cases have decided, at least once: every effect may be repeated without harm."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

import msgspec
from msgspec import Struct

from cloud.adapters.store import OutboxRow
from cloud.core.customers import Word
from cloud.core.ledger import Entry
from cloud.core.telling import Telling
from cloud.service.parts import Parts
from cloud.web import metrics
from contract import codec, topics
from contract.commands import Command
from contract.errors import Malformed, Refused, Unreachable
from contract.faults import Fault
from contract.machines import CommandKind
from contract.tickets import Label, Ticket
from contract.topics import Channel

log = logging.getLogger(__name__)

BATCH = 50
FULL_S = 0.1
"""Wall time until the next look after a full batch."""
LOOK_S = 1.0
"""The same where nobody has decided anything: for what is to be tried again."""
DAY_NS = 86_400 * 10**9
PRUNE_NS = 3600 * 10**9
PUBLISH_RETRY_S = 2.0
"""Wall time until a message that the broker did not take is tried again."""


class Announcement(Struct, frozen=True):
    """What listeners are told about a device; ``None`` when it has no open fault any more."""

    device: str
    fault: Fault | None


class DeviceCommand(Struct, frozen=True):
    """A command and the device that it is for."""

    device: str
    command: Command
    fault: str = ""
    """What it is to cure."""


class Told(Struct, frozen=True):
    """Who takes what follows from a case's steps; all take the same again without harm."""

    tell: Callable[[Telling], None]
    """Hands an event to all endpoints that want it."""
    worth: Callable[[list[Entry]], None]
    """Keeps lines of the value ledger."""
    customer: Callable[[Word], None]
    """Tells the machine's customer."""


class Outbox:
    """One loop over the effects that are due."""

    def __init__(
        self,
        parts: Parts,
        on_label: Callable[[Label], None],
        on_firmware: Callable[[str, DeviceCommand], None],
        on_proposal: Callable[[str, str], None],
        told: Told,
    ) -> None:
        """Say who takes labels, firmware remedies of cases, proposals, and what follows."""
        self._told = told
        self._parts, self._on_label = parts, on_label
        self._on_firmware, self._on_proposal = on_firmware, on_proposal
        self._busy: set[str] = set()
        self._pruned_ns = 0
        self._perform = {
            "command": self._command,
            "ticket": self._ticket,
            "label": self._label,
            "announce": self._announce,
            "propose": self._propose,
            "ledger": self._ledger,
            "customer": self._customer,
        }

    async def run(self) -> None:
        """Perform what is due until cancelled. A slow receiver delays no other effect."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._prune(self._parts.clock.now_ns())
                self._parts.decided.clear()
                limit = BATCH + len(self._busy)
                due = self._parts.store.due(self._parts.clock.now_ns(), limit)
                metrics.outbox_waiting.set(len(due))
                self._tell([row for row in due if row.kind == "tell"])
                for row in due:
                    if row.kind != "tell" and row.key not in self._busy:
                        self._busy.add(row.key)
                        tasks.create_task(self._one(row))
                if len(due) == limit:
                    await asyncio.sleep(FULL_S)
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._parts.decided.wait()

    def _prune(self, now_ns: int) -> None:
        """Delete once an hour of plant time what was performed long ago."""
        if now_ns >= self._pruned_ns + PRUNE_NS:
            self._pruned_ns = now_ns
            kept_ns = self._parts.config.keep_closed_days * DAY_NS
            count = self._parts.store.prune(now_ns - kept_ns)
            if count:
                log.info("deleted %d effects of cases that are over", count)

    def _tell(self, rows: list[OutboxRow]) -> None:
        """Hand events over in their order: one that has to wait lets no later one pass."""
        for row in rows:
            try:
                self._told.tell(msgspec.json.decode(row.payload, type=Telling))
                self._parts.store.done(row.key, self._parts.clock.now_ns())
            except Unreachable as error:
                log.warning("%s and what follows it wait: %s", row.key, error)
                return

    async def _one(self, row: OutboxRow) -> None:
        store = self._parts.store
        try:
            await self._perform[row.kind](row)
        except Unreachable as error:
            log.warning("%s: %s; again in %.0f s", row.key, error, PUBLISH_RETRY_S)
            wait_ns = int(PUBLISH_RETRY_S * self._parts.timescale.speed * 1e9)
            store.retry(row.key, str(error), self._parts.clock.now_ns() + wait_ns)
        except (Refused, Malformed) as error:
            log.warning("%s cannot be done: %s", row.key, error)
            store.dead(row.key, str(error))
        else:
            store.done(row.key, self._parts.clock.now_ns())
        finally:
            self._busy.discard(row.key)

    async def _command(self, row: OutboxRow) -> None:
        item = msgspec.json.decode(row.payload, type=DeviceCommand)
        command, asset = item.command, self._parts.assets[item.device]
        if self._parts.clock.now_ns() >= command.expires_ns:
            raise Refused("it expired before the broker took it")
        machine = self._parts.machines[asset.machine_type]
        spec = machine.command(command.name)
        if spec is not None and spec.kind is CommandKind.UPDATE_FIRMWARE:
            self._on_firmware(row.case_id, item)
            return
        topic = topics.build(asset.site, asset.device, Channel.COMMAND)
        await self._parts.link.publish(topic, codec.encode(command))
        metrics.sent_commands.inc()

    async def _ticket(self, row: OutboxRow) -> None:
        ticket = msgspec.json.decode(row.payload, type=Ticket)
        self._parts.store.put_ticket(ticket.key, row.payload, ticket.opened_ns)

    async def _label(self, row: OutboxRow) -> None:
        self._on_label(msgspec.json.decode(row.payload, type=Label))

    async def _announce(self, row: OutboxRow) -> None:
        item = msgspec.json.decode(row.payload, type=Announcement)
        asset = self._parts.assets[item.device]
        topic = topics.build(asset.site, asset.device, Channel.FAULT)
        payload = codec.encode(item.fault) if item.fault else b""
        await self._parts.link.publish(topic, payload, retain=True)

    async def _propose(self, row: OutboxRow) -> None:
        self._on_proposal(row.case_id, msgspec.json.decode(row.payload, type=str))

    async def _ledger(self, row: OutboxRow) -> None:
        self._told.worth(msgspec.json.decode(row.payload, type=list[Entry]))

    async def _customer(self, row: OutboxRow) -> None:
        self._told.customer(msgspec.json.decode(row.payload, type=Word))
