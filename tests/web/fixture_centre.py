"""A service centre for tests: the real desk, learning and people behind the real API."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import cast

import httpx
import msgspec
from msgspec import Struct

from cloud.adapters.mqtt import Link
from cloud.adapters.series_sqlite import SqliteSeries
from cloud.adapters.store import Store
from cloud.config import Config
from cloud.core import playbook
from cloud.core.asset import AssetRow
from cloud.core.people import Role
from cloud.core.states import Case
from cloud.service.desk import Desk
from cloud.service.learning import Learning
from cloud.service.lives import Lives
from cloud.service.parts import Parts
from cloud.web import case_views
from cloud.web.app import create_api
from cloud.web.faces import Faces
from contract import machines
from contract.faults import Deviation, Direction
from contract.tickets import Label, Ticket
from contract.timescale import Timescale
from models.monitor import Assessment, State
from tests.service.test_desk import NOTHING_SEEN, Clock
from tests.web import fixture_rollouts
from tests.web.conftest import TOKEN, faces_over
from tests.web.fixture_world import WorldDesk

KEY_FILE = "grafana-key"
KEY = "the-key-that-grafana-signs-with"
STRANGE = [
    Deviation("strainer_dp_mbar", Direction.BELOW, 9.0, 20.0, 60.0),
    Deviation("motor_temperature_c", Direction.ABOVE, 8.0, 70.0, 50.0),
]
"""A picture that no entry of the pump's fault table has."""


class Centre(Struct, frozen=True):
    """The gateway's inside, as far as a test looks at it."""

    parts: Parts
    clock: Clock
    desk: Desk
    learning: Learning
    faces: Faces
    config: Config

    def case(self, case_id: str) -> Case:
        row = self.parts.store.case(case_id)
        assert row is not None, f"no case {case_id}"
        return case_views.decode(row)

    def alarm(self, device: str, seen: list[Deviation] = STRANGE) -> Case:
        """Let a machine fall ill; return its case."""
        now_ns = self.desk.now_ns()
        self.desk.alarm(device, Assessment(now_ns, State.ALARM, 2.0, seen, [], 1.0))
        row = self.parts.store.open_case(device)
        assert row is not None
        return case_views.decode(row)

    async def ticket(self, device: str, seen: list[Deviation] = STRANGE) -> str:
        """Let a machine fall ill and order a visit; return the ticket's key."""
        case = self.alarm(device, seen)
        await self.desk.decide(case.case_id, "escalate", "J. Doe", "look at it")
        visit = self.case(case.case_id).visit
        assert visit is not None
        return visit.key

    def perform(self) -> None:
        """Perform what the outbox holds for learning and for the list of tickets."""
        store, now_ns = self.parts.store, self.desk.now_ns()
        for row in store.due(now_ns, 1000):
            if row.kind == "label":
                self.learning.take(msgspec.json.decode(row.payload, type=Label))
            elif row.kind == "ticket":
                ticket = msgspec.json.decode(row.payload, type=Ticket)
                store.put_ticket(ticket.key, row.payload, ticket.opened_ns)
            if row.kind in ("label", "ticket"):
                store.done(row.key, now_ns)

    def audit(self) -> list[str]:
        return [f"{line.by} {line.what} {line.text}" for line in self.parts.store.updates.audit()]


@contextmanager
def centre(folder: Path) -> Iterator[Centre]:
    """Open a gateway of three pumps and a chiller."""
    (folder / KEY_FILE).write_text(KEY)
    config = Config(data_dir=folder, alerts_secret_file=folder / KEY_FILE)
    clock = Clock(time.time_ns())  # noqa: TID251 - where plant time begins
    store = Store(f"sqlite:///{folder / 'cases.db'}")
    kinds = {f"pump-{i}": "centrifugal_pump" for i in range(1, 4)} | {"chiller-1": "chiller"}
    for device, kind in kinds.items():
        store.put_assets([AssetRow(device=device, site="north", machine_type=kind)])
    parts = Parts(
        config=config,
        timescale=Timescale(),
        clock=clock,
        store=store,
        series=SqliteSeries(folder / "telemetry.db", 30, clock.now_ns),
        link=Link("mqtt://127.0.0.1:1", "", "", "test"),
        assets={row.device: row for row in store.assets()},
        machines=machines.library(),
    )
    books = playbook.shipped(parts.machines)
    lives = Lives(parts, books.policy.on_site_lead_h)
    learning = Learning(parts, lives)
    desk = Desk(parts, books, learning, lives, NOTHING_SEEN)
    faces = faces_over(cast("WorldDesk", desk), fixture_rollouts.build(), folder)
    yield Centre(parts, clock, desk, learning, faces, config)
    parts.series.close()
    store.close()


@asynccontextmanager
async def client(made: Centre, role: Role | None) -> AsyncIterator[httpx.AsyncClient]:
    """Speak to its API as a system with a role; None: as somebody unknown."""
    headers = {}
    if role is not None:
        name = f"{role.value}-system"
        known = {token.name for token in await asyncio.to_thread(made.faces.people.tokens)}
        if name in known:
            await made.faces.people.revoke_token(name, "test")
        token = await made.faces.people.issue_token(name, role, "test")
        headers["Authorization"] = f"Bearer {token}"
    transport = httpx.ASGITransport(create_api(made.faces, TOKEN, made.config))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://gateway", headers=headers
    ) as found:
        yield found
