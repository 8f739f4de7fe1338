"""`farfix drill swupdate`: unmodified clients update themselves from a real gateway, under faults.

The gateway, its broker and its signed repository are the real ones; swupdate is Debian's. Ours are
the computers around swupdate (`swu_computer`), the proxy between both (`swu_proxy`), and the judge
(`swu_judge`), who reads the slots.
"""

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import aiomqtt
from msgspec import Struct

from cloud.adapters import broker
from cloud.adapters.broker import Broker
from cloud.adapters.clock import PlantClock
from contract import codec, topics
from contract.errors import FarfixError, Refused
from contract.topics import Channel
from farfix.api import Gateway
from farfix.children import Children, end_like_ctrl_c
from farfix.drill import swu_plan, swu_proxy, swu_stage
from farfix.drill.swu_api import Api
from farfix.drill.swu_computer import Computer
from farfix.drill.swu_judge import Judged, judge
from farfix.drill.swu_plan import Run
from farfix.drill.swu_report import Report, Screen, report
from farfix.drill.swu_run import Stand, perform
from farfix.drill.swu_stage import Stage
from farfix.screen import check_report, write_report

PARALLEL = 6
"""Computers at a time; what two cores bear beside the gateway."""
TELEMETRY_S = 0.5
READY_S = 180.0
PROGRAMS = {"swupdate": "swupdate", "openssl": "openssl", "cpio": "cpio", "setpriv": "util-linux"}
"""What must be installed, and the Debian package that has it."""


class Told(Struct, frozen=True):
    """Who is asked, and who is told, between runs."""

    children: Children
    screen: Screen


def main(runs: int, seed: int, report_file: Path | None) -> int:
    """Run the drill; return the exit code."""
    check_report(report_file)
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            raise Refused(f"this drill needs {program} (Debian: apt install {package})")
    end_like_ctrl_c()
    folder = Path("var") / f"drill-swupdate-{seed}"
    try:
        with Screen(runs) as screen:
            planned = swu_plan.runs(runs, swu_stage.RELEASES, seed)
            result = run(folder.absolute(), planned, seed, screen)
        screen.result(result)
    except KeyboardInterrupt:
        print("Interrupted; everything is stopped.", file=sys.stderr)
        return 1
    except FarfixError as error:
        print(f"farfix drill swupdate: {error}", file=sys.stderr)
        return 1
    file = report_file or folder / "report.json"
    write_report(file, result)
    print(f"Report: {file}")
    return 1 if result.problems else 0


def run(folder: Path, runs: list[Run], seed: int, screen: Screen) -> Report:
    """Play all runs and return what came of them; the seed decides what is in the payloads.

    Raises:
        Unreachable: a program did not start, or ended.
    """
    began_s = time.monotonic()
    stage = swu_stage.prepare(folder, seed)
    with ExitStack() as stack:
        its_broker = stack.enter_context(broker.start(folder / "broker", swu_stage.USERS))
        children = stack.enter_context(Children(folder / "logs"))
        swu_stage.write_config(stage, its_broker, runs)
        children.start("cloud", "cloud", "--config", str(stage.config))
        gateway = Gateway(stage.base_url, stage.api_token)
        children.await_ready("the gateway", gateway.healthy, READY_S)
        gateway.publish(stage.kit.room)
        gateway.close()
        screen.say(f"The gateway serves {len(stage.bundles)} releases; logs: {folder / 'logs'}")
        computers = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="farfix-drill-")))
        judged, problems = asyncio.run(
            _play(stage, its_broker, computers, runs, Told(children, screen))
        )
    minutes = (time.monotonic() - began_s) / 60
    return report(seed, minutes, _version(), judged, problems)


async def _play(
    stage: Stage, its_broker: Broker, folder: Path, runs: list[Run], told: Told
) -> tuple[list[Judged], list[str]]:
    judged: list[Judged] = []
    problems: list[str] = []
    waiting = iter(runs)
    async with _stand(stage, its_broker, folder) as stand:

        async def one_after_another() -> None:
            for planned in waiting:
                told.children.check()
                if stand.sending.done():
                    stand.sending.result()  # it ends only when something is wrong with it
                try:
                    verdict = judge(await perform(planned, stand))
                except FarfixError as error:
                    problems.append(f"run {planned.number} ({planned.fault}): {error}")
                    told.screen.say(problems[-1], "bold red")
                    _keep_log(planned, folder, stage)
                    continue
                judged.append(verdict)
                told.screen.done(verdict)
                if verdict.problems:
                    _keep_log(planned, folder, stage)
                shutil.rmtree(folder / planned.device)

        await asyncio.gather(*(one_after_another() for _ in range(PARALLEL)))
    return judged, problems


@asynccontextmanager
async def _stand(stage: Stage, its_broker: Broker, folder: Path) -> AsyncIterator[Stand]:
    """Open what all runs share, and send telemetry meanwhile."""
    certificate = swu_stage.open_to_computers(stage, folder)
    api = Api(stage.base_url, stage.api_token)
    async with (
        swu_proxy.proxy(stage.base_url, stage.proxy_port) as proxy,
        aiomqtt.Client(
            "127.0.0.1",
            its_broker.port,
            username=swu_stage.PLANT,
            password=its_broker.password(swu_stage.PLANT),
        ) as client,
    ):
        computers: dict[str, Computer] = {}
        sending = asyncio.create_task(_send(client, computers))
        try:
            yield Stand(stage, api, proxy, folder, certificate, computers, sending)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await api.close()


async def _send(client: aiomqtt.Client, computers: dict[str, Computer]) -> None:
    """Publish what every computer that is on measures, until cancelled."""
    clock = PlantClock()
    while True:
        for device in list(computers):
            computer = computers.get(device)  # its run may end while another's is sent
            batch = computer.telemetry(clock.now_ns()) if computer is not None else None
            if batch is not None:
                topic = topics.build(swu_stage.SITE, device, Channel.TELEMETRY)
                await client.publish(topic, codec.encode(batch), qos=1)
        await asyncio.sleep(TELEMETRY_S)


def _keep_log(planned: Run, folder: Path, stage: Stage) -> None:
    """Keep what swupdate said in a run that went wrong."""
    log = folder / planned.device / "log"
    if log.exists():
        shutil.copyfile(log, stage.folder / "logs" / f"{planned.device}.log")


def _version() -> str:
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version}", "swupdate"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout or "swupdate"
