"""The gateway: opens its adapters, runs its loops, and closes them in order."""

import asyncio
import logging
import secrets
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import uvicorn

from cloud.adapters import broker
from cloud.adapters.broker import Broker
from cloud.adapters.clock import PlantClock
from cloud.adapters.mqtt import Link, read_password
from cloud.adapters.series_stores import open_reader
from cloud.adapters.shards import reshard
from cloud.adapters.store import Store
from cloud.config import Config
from cloud.core import playbook
from cloud.core.asset import AssetRow
from cloud.service.customers import Customers
from cloud.service.desk import Desk
from cloud.service.firmware import Firmware
from cloud.service.hooks import Hooks
from cloud.service.intake import Intake
from cloud.service.learning import Learning
from cloud.service.lives import Lives
from cloud.service.measures import Measures, Sources
from cloud.service.outbox import DeviceCommand, Outbox, Told
from cloud.service.parts import Parts
from cloud.service.peers import Peers
from cloud.service.people import People
from cloud.service.picture import Picture
from cloud.service.value import Value
from cloud.service.windows import Windows
from cloud.service.workers import Said, Workers
from cloud.web.app import create_app
from cloud.web.faces import Faces
from cloud.worker import places
from cloud.worker.messages import DayEnded, HourEnded, Quarantined, Verdict
from contract import machines, timescale
from contract.commands import Answer
from contract.errors import Refused, Unreachable
from contract.status import Status
from contract.topics import Topic
from models.monitor import State

log = logging.getLogger(__name__)

TICK_S = 0.25
"""Wall time between looks at the clock for all open cases."""

NIGHT_POLL_S = 5.0
"""Wall time between looks at whether a plant day is over."""

BROKER_POLL_S = 1.0
READY_TIMEOUT_S = 60.0
"""Time is let pass for cases at the latest so long after the start."""
AGENTS_MAX = 10_000


async def run(config: Config) -> None:
    """Run the gateway until it is told to stop."""
    with _parts(config) as (parts, own_broker):
        gateway = Gateway(parts, own_broker)
        await gateway.run()


@contextmanager
def _parts(config: Config) -> Iterator[tuple[Parts, Broker | None]]:
    """Open everything that the loops share, and close it again."""
    config.data_dir.mkdir(parents=True, exist_ok=True)
    scale = timescale.parse(config.timescale)
    with ExitStack() as stack:
        clock = PlantClock(scale)
        store = Store(config.database_url or f"sqlite:///{config.data_dir / 'cases.db'}")
        stack.callback(store.close)
        workers = config.workers
        reshard(config.data_dir / places.WORKERS, workers, lambda d: places.owner(d, workers))
        series = open_reader(config.series, lambda d: places.all_series(config, d), clock)
        stack.callback(series.close)
        store.put_assets([AssetRow(**entry.model_dump()) for entry in config.assets])
        known = machines.library(config.machine_types)
        link, own_broker = _link(config, stack)
        parts = Parts(
            config=config,
            timescale=scale,
            clock=clock,
            store=store,
            series=series,
            link=link,
            assets={row.device: row for row in store.assets() if row.machine_type in known},
            machines=known,
        )
        yield parts, own_broker


def _link(config: Config, stack: ExitStack) -> tuple[Link, Broker | None]:
    own = None
    url, username = config.broker.url, config.broker.username
    password = read_password(config.broker.password_file)
    if not url:
        sites = sorted({entry.site for entry in config.assets})
        users = [broker.User(username), *(broker.User(site, site) for site in sites)]
        own = stack.enter_context(
            broker.start(config.data_dir / "broker", users, config.broker.port)
        )
        url, password = own.url, own.password(username)
        log.info("started %s at %s; agents' passwords are beside it", own.kind.value, own.url)
    name = _written_once(config.data_dir / "gateway.id", secrets.token_hex(4))
    ca_file = config.broker.ca_file
    return Link(url, username, password, f"farfix-gateway-{name}", ca_file), own


class _Server(uvicorn.Server):
    """The web server without signal handling of its own: the gateway ends in its own order."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Gateway:
    """All loops of one gateway, and what the web needs of them."""

    def __init__(self, parts: Parts, own_broker: Broker | None = None) -> None:
        self._parts, self._own_broker = parts, own_broker
        self._agents: dict[str, str] = {}
        self._spools: dict[str, Status] = {}
        playbooks = playbook.shipped(parts.machines)
        self.lives = Lives(parts, playbooks.policy.on_site_lead_h)
        self.learning = Learning(parts, self.lives)
        self.peers = Peers(parts)
        self.workers = Workers(parts, self._hear, self._save)
        self.picture = Picture(self.workers, parts.assets, parts.machines)
        self.desk = Desk(parts, playbooks, self.learning, self.lives, self._windows())
        self.intake = Intake(parts, self._on_status, self._on_answer)
        self.firmware = Firmware(parts, self.desk, self.picture.boards)
        store, config = parts.store, parts.config
        self.people = People(store, config)
        self.hooks = Hooks(store, config)
        self.value = Value(store, config)
        self.customers = Customers(store, config, parts.clock.now_ns, api_token(config))
        self.measures = Measures(parts, self._sources())
        self.outbox = Outbox(
            parts,
            self.learning.take,
            self._firmware_remedy,
            self.firmware.remedies.propose,
            Told(self.hooks.tell, self.value.take, self.customers.tell),
        )

    def _windows(self) -> Windows:
        return Windows(
            live=self.picture.live,
            states=self.picture.states,
            boards=self.picture.boards,
            notices=self.peers.notices,
            unready=self.workers.unready,
            updating=self._updating,
            troubles=self._troubles,
        )

    def _sources(self) -> Sources:
        return Sources(
            live=self.picture.live,
            forecast=self.lives.forecast,
            boards=self.picture.boards,
            agents=lambda: list(self._spools.values()),
            deliveries=self._deliveries,
        )

    def _deliveries(self) -> tuple[int, int]:
        counts = self._parts.store.hooks.counts()
        waiting, dead = (
            sum(n for (_, state), n in counts.items() if state == wanted)
            for wanted in ("waiting", "dead")
        )
        return waiting, dead

    async def run(self) -> None:
        """Run every loop until told to stop; then save what can be saved."""
        config = self._parts.config
        firmware = self.firmware
        faces = Faces(
            self.desk, firmware.desk, firmware.ddi, self.people, self.hooks, self.value,
            self.customers,
        )  # fmt: skip
        await self.people.begin()
        app = create_app(faces, api_token(config), config)
        server = _Server(
            uvicorn.Config(
                app,
                host=config.http_host,
                port=config.http_port,
                log_level="warning",
                ssl_certfile=config.http_cert_file,
                ssl_keyfile=config.http_key_file,
            )
        )
        loops = [
            self._parts.link.run(self.intake.receive),
            self.intake.run(),
            self._tick(),
            self._nights(),
            self._broker(),
            self.outbox.run(),
            self.people.run(),
            self.hooks.run(),
            self.customers.run(),
            self.measures.run(),
            self.firmware.sending.run(),
        ]
        tasks = [asyncio.create_task(loop) for loop in loops]
        serving = asyncio.create_task(server.serve())
        working = asyncio.create_task(self.workers.run())
        stopped = asyncio.create_task(_told_to_stop())
        try:
            waiting = [stopped, serving, working, *tasks]
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            server.should_exit = True
            for task in tasks:
                task.cancel()
            await self.workers.stop()
            await asyncio.gather(*tasks, serving, working, return_exceptions=True)
            self._save()
            self.firmware.save()
        for task in done:
            task.result()  # a loop that ended by itself has failed: say why

    async def _tick(self) -> None:
        """Let time pass for cases, once what was seen before the start has been scored."""
        with suppress(TimeoutError):
            async with asyncio.timeout(READY_TIMEOUT_S):
                await self.workers.ready.wait()
        while True:
            self.desk.tick(self.workers.silent())
            self.firmware.tick()
            self.workers.attend(self.desk.attended())
            self.workers.settle()
            await asyncio.sleep(TICK_S)

    async def _nights(self) -> None:
        while True:
            await self.peers.night(self._parts.clock.now_ns())
            await asyncio.sleep(NIGHT_POLL_S)

    async def _broker(self) -> None:
        """Start a broker of our own again when it has died."""
        while True:
            if self._own_broker is not None and not self._own_broker.running():
                log.warning("the broker has died; starting it again")
                try:
                    await asyncio.to_thread(self._own_broker.revive)
                except (Refused, Unreachable) as error:
                    log.warning("%s; trying again", error)
            await asyncio.sleep(BROKER_POLL_S)

    def _hear(self, said: Said) -> None:
        """Act on what a worker has seen."""
        match said:
            case Verdict(device, assessment):
                if assessment.state is State.ALARM:
                    self.desk.alarm(device, assessment)
                self.desk.evidence(device, assessment)
            case HourEnded(device, ended):
                self.lives.hour(device, ended)
            case DayEnded(device, number, responses, conditions) if self.peers.comparable(device):
                self.peers.day(device, number, (np.array(responses), np.array(conditions)))
            case Quarantined(topic, payload, reason):
                self.intake.quarantine(topic, payload, reason)

    def _save(self) -> None:
        """Save cases first, then what else was learnt from what the workers said."""
        self.desk.flush()
        self.lives.save()
        self.peers.save()

    def _updating(self, device: str) -> str:
        return self.firmware.updating(device)  # which is made after the desk that asks

    def _on_answer(self, topic: Topic, answer: Answer) -> None:
        """Take an answer to whoever asked."""
        if not self.firmware.sending.answered(topic, answer):
            self.desk.answered(topic, answer)

    def _firmware_remedy(self, case_id: str, item: DeviceCommand) -> None:
        self.firmware.remedies.begin(case_id, item.device, item.fault, item.command)

    def _on_status(self, topic: Topic, status: Status) -> None:
        """Follow an agent's word about itself and about the devices behind it."""
        if topic.device == status.agent:
            behind = [device for device, agent in self._agents.items() if agent == status.agent]
            if len(self._spools) < AGENTS_MAX or status.agent in self._spools:
                self._spools[status.agent] = status
        else:
            self._agents[topic.device] = status.agent
            self.firmware.devices.saw_hardware(topic.device, status.hardware)
            behind = [topic.device]
        for device in behind:
            self.picture.link(device, self._parts.clock.now_ns(), online=status.online)

    def _troubles(self) -> list[str]:
        found = [
            *self.workers.troubles(), *self.firmware.troubles(), *self.hooks.troubles(),
            *self.customers.troubles(), *self.measures.troubles(),
        ]  # fmt: skip
        for agent, status in sorted(self._spools.items()):
            if status.spool_full:
                found.append(
                    f"{agent} loses telemetry, the oldest first: {status.spool_full} "
                    f"({status.spool_dropped} batches so far)."
                )
        return found


async def _told_to_stop() -> None:
    """Return when the process gets SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


def api_token(config: Config) -> str:
    """Return the token for calls that change something; made at the first start."""
    path = config.api_token_file or config.data_dir / "api-token"
    return _written_once(path, secrets.token_urlsafe(32))


def _written_once(path: Path, text: str) -> str:
    """Return what a private file holds; a file that is not there yet gets the text."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(text)
    return path.read_text().strip()
