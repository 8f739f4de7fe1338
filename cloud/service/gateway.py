"""The gateway: opens its adapters, runs its loops, and closes them in order."""

import asyncio
import logging
import secrets
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import uvicorn

from cloud.adapters import broker
from cloud.adapters.clock import PlantClock
from cloud.adapters.journal import Journal
from cloud.adapters.mqtt import Link, read_password
from cloud.adapters.series_stores import open_series
from cloud.adapters.store import AssetRow, Store
from cloud.config import Config
from cloud.core import playbook
from cloud.service.desk import Desk
from cloud.service.feed import Feed
from cloud.service.intake import Intake
from cloud.service.learning import Learning
from cloud.service.lives import Lives
from cloud.service.outbox import Outbox
from cloud.service.parts import Parts
from cloud.service.peers import Peers
from cloud.service.watch import Watch
from cloud.web.app import create_app
from contract import machines, timescale
from contract.status import Status
from contract.topics import Topic

log = logging.getLogger(__name__)

TICK_S = 0.25
"""Wall time between looks at the clock for all open cases."""

NIGHT_POLL_S = 5.0
"""Wall time between looks at whether a plant day is over."""


async def run(config: Config) -> None:
    """Run the gateway until it is told to stop."""
    with _parts(config) as parts:
        gateway = Gateway(parts)
        await gateway.run()


@contextmanager
def _parts(config: Config) -> Iterator[Parts]:
    """Open everything that the loops share, and close it again."""
    config.data_dir.mkdir(parents=True, exist_ok=True)
    scale = timescale.parse(config.timescale)
    with ExitStack() as stack:
        clock = PlantClock(scale)
        store = Store(config.database_url or f"sqlite:///{config.data_dir / 'cases.db'}")
        stack.callback(store.close)
        journal = Journal(config.data_dir / "journal.db")
        stack.callback(journal.close)
        series = open_series(config.series, config.data_dir, clock)
        stack.callback(series.close)
        for entry in config.assets:
            store.put_asset(AssetRow(**entry.model_dump()))
        known = machines.library()
        yield Parts(
            config=config,
            timescale=scale,
            clock=clock,
            store=store,
            journal=journal,
            series=series,
            link=_link(config, stack),
            assets={row.device: row for row in store.assets() if row.machine_type in known},
            machines=known,
        )


def _link(config: Config, stack: ExitStack) -> Link:
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
    return Link(url, username, password, client_id="farfix-gateway")


class _Server(uvicorn.Server):
    """The web server without signal handling of its own: the gateway ends in its own order."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Gateway:
    """All loops of one gateway, and what the web needs of them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._agents: dict[str, str] = {}
        playbooks = playbook.shipped(parts.machines)
        self.lives = Lives(parts, playbooks.policy.on_site_lead_h)
        self.learning = Learning(parts, self.lives)
        self.desk = Desk(parts, playbooks, self.learning, self.lives)
        self.peers = Peers(parts)
        self.watch = Watch(parts, self.desk, self.lives, self.peers)
        self.intake = Intake(parts, self._on_status, self.desk.answered)
        self.feed = Feed(parts, self.watch, self.intake.quarantine)
        self.outbox = Outbox(parts, self.desk.answered, self.learning.take)
        self.desk.watch = self.watch

    async def run(self) -> None:
        """Run every loop until the web server is told to stop; then save what can be saved."""
        config = self._parts.config
        app = create_app(self.desk, api_token(config), config.release_key)
        server = _Server(
            uvicorn.Config(app, host=config.http_host, port=config.http_port, log_level="warning")
        )
        while self.watch.drain():  # noqa: ASYNC110 - what was seen before the stop counts before
            await asyncio.sleep(0)  # time is judged
        loops = [
            self._parts.link.run(self.intake.receive),
            self.intake.run(),
            self._watch(),
            self._tick(),
            self._nights(),
            self.feed.run(),
            self.outbox.run(),
        ]
        tasks = [asyncio.create_task(loop) for loop in loops]
        serving = asyncio.create_task(server.serve())
        stopped = asyncio.create_task(_told_to_stop())
        try:
            waiting = [stopped, serving, *tasks]
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            server.should_exit = True
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, serving, return_exceptions=True)
            self._checkpoint()
        for task in done:
            task.result()  # a loop that ended by itself has failed: say why

    async def _watch(self) -> None:
        while True:
            while self.watch.drain():  # noqa: ASYNC110 - lets the other loops have their turn
                await asyncio.sleep(0)
            if self.watch.checkpoint_due():
                self._checkpoint()
            self.intake.arrived.clear()
            try:
                async with asyncio.timeout(1.0):
                    await self.intake.arrived.wait()
            except TimeoutError:
                continue  # look at the clock now and then even when nothing comes in

    async def _tick(self) -> None:
        while True:
            listening = self._parts.link.connected
            self.desk.tick(self.watch.silent_devices(listening=listening))
            await asyncio.sleep(TICK_S)

    async def _nights(self) -> None:
        while True:
            await self.peers.night(self._parts.clock.now_ns())
            await asyncio.sleep(NIGHT_POLL_S)

    def _checkpoint(self) -> None:
        """Save cases first, then what they were judged by, then forget what needs no replay.

        Lives and peers know what they have seen; saved before the machines' positions they miss
        nothing.
        """
        self.desk.flush()
        self.lives.save()
        self.peers.save()
        kept = min(self.watch.checkpoint(), self.feed.checkpoint())
        self._parts.journal.prune(kept)

    def _on_status(self, topic: Topic, status: Status) -> None:
        """Follow an agent's word about itself and about the devices behind it."""
        if topic.device == status.agent:
            behind = [device for device, agent in self._agents.items() if agent == status.agent]
        else:
            self._agents[topic.device] = status.agent
            behind = [topic.device]
        for device in behind:
            self.watch.link(device, online=status.online)
        if status.spool_dropped:
            log.warning("%s had to drop %d batches", status.agent, status.spool_dropped)


async def _told_to_stop() -> None:
    """Return when the process gets SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


def api_token(config: Config) -> str:
    """Return the token for calls that change something; made at the first start."""
    path = config.api_token_file or config.data_dir / "api-token"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32))
    return path.read_text().strip()
