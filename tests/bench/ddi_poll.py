"""What it costs to be asked: machines poll over DDI, beside an empty route of the same server.

    .venv/bin/python tests/bench/ddi_poll.py [--devices 1000] [--interval 30] [--rounds 2]

Each server is a process of its own: uvicorn with FastAPI, one with the DDI routes over a desk in
memory, one whose only route answers nothing. They take turns, so that a busy machine slows both
alike. Every machine polls once per interval at its own moment, over a new connection, as swupdate
does; each tenth has an open action and reads its deployment too. Latency counts from the moment at
which the poll was due. Then both are asked without pause, for the cost of one request.
"""

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import uvicorn
from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a file: the repository

from tests.bench.path_process import cpu_s, rss_mib
from tests.web.fixture_ddi import MemoryDesk, application, auth, home

KINDS = ("empty route", "DDI")
WITH_ACTION = 10
"""Every so many-th machine has an open action."""
HARD_S = 5.0
HARD_CONNECTIONS = 8
TIMEOUT_S = 10.0
TARGET_CPU, TARGET_P99_MS = 0.20, 100.0


class Load(NamedTuple):
    """What a server went through."""

    requests: int
    wall_s: float
    cpu_s: float
    latency_ms: list[float]


def serve(kind: str, devices: int) -> None:
    """Serve in this process; the first line on standard output is the port."""
    with tempfile.TemporaryDirectory() as folder:
        names = [f"machine-{n}" for n in range(devices)]
        desk = MemoryDesk(Path(folder), names)
        desk.unnamed.clear()
        for n in range(0, devices, WITH_ACTION):
            desk.give(names[n], 100_000 + n, "1.2.0", b"an image")
        config = uvicorn.Config(FastAPI(), port=0, log_level="critical")
        listener = config.bind_socket()
        port = listener.getsockname()[1]
        config.app = application(desk, f"http://127.0.0.1:{port}") if kind == "DDI" else _empty()
        print(port, flush=True)  # noqa: T201  # told to the process that measures
        uvicorn.Server(config).run([listener])


def _empty() -> FastAPI:
    async def nothing(_: Request) -> Response:
        return Response()

    app, router = FastAPI(), APIRouter()
    router.add_route("/{tenant}/controller/v1/{device}", nothing)
    router.add_route("/{tenant}/controller/v1/{device}/deploymentBase/{action}", nothing)
    app.include_router(router)
    return app


@contextmanager
def server(kind: str, devices: int) -> Iterator[tuple[int, int]]:
    """Run a server; yields its process and its port."""
    command = [sys.executable, __file__, "--serve", kind, "--devices", str(devices)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield child.pid, int(child.stdout.readline())
        finally:
            child.terminate()


def _request(path: str, device: str) -> bytes:
    token = auth(device)["Authorization"]
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode()


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, device: str
) -> None:
    writer.write(_request(path, device))
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"{path}: {head!r}")
    size = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
    await reader.readexactly(int(size))


async def _poll(port: int, number: int, due: float) -> float:
    """Poll as one machine; returns the latency in ms since it was due."""
    device = f"machine-{number}"
    async with asyncio.timeout(TIMEOUT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await _ask(reader, writer, home(device), device)
        latency_ms = 1000 * (time.perf_counter() - due)
        if number % WITH_ACTION == 0:
            path = f"{home(device)}/deploymentBase/{100_000 + number}"
            await _ask(reader, writer, path, device)
        writer.close()
        await writer.wait_closed()
    return latency_ms


async def fleet(pid: int, port: int, devices: int, interval_s: float) -> Load:
    """Let every machine poll once within the interval, at a moment of its own."""
    dice = random.Random(devices)
    moments = sorted((dice.uniform(0, interval_s), number) for number in range(devices))
    begin, cpu = time.perf_counter(), cpu_s(pid)
    polls = []
    for moment, number in moments:
        await asyncio.sleep(max(0.0, begin + moment - time.perf_counter()))
        polls.append(asyncio.create_task(_poll(port, number, begin + moment)))
    await asyncio.sleep(max(0.0, begin + interval_s - time.perf_counter()))
    latency_ms = await asyncio.gather(*polls)
    wall_s = time.perf_counter() - begin
    requests = devices + len(range(0, devices, WITH_ACTION))
    return Load(requests, wall_s, cpu_s(pid) - cpu, latency_ms)


async def hard(pid: int, port: int, devices: int) -> Load:
    """Poll without pause over a few kept connections."""
    count, begin, cpu = 0, time.perf_counter(), cpu_s(pid)

    async def connection(first: int) -> None:
        nonlocal count
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        number = first
        while time.perf_counter() - begin < HARD_S:
            device = f"machine-{number % devices}"
            await _ask(reader, writer, home(device), device)
            number, count = number + HARD_CONNECTIONS, count + 1
        writer.close()

    await asyncio.gather(*(connection(n) for n in range(HARD_CONNECTIONS)))
    return Load(count, time.perf_counter() - begin, cpu_s(pid) - cpu, [])


def report(kind: str, loads: list[Load], hards: list[Load], rss: float) -> str:
    """Return a row of the table."""
    share = sum(load.cpu_s for load in loads) / sum(load.wall_s for load in loads)
    p50, p99, most = np.percentile([ms for load in loads for ms in load.latency_ms], [50, 99, 100])
    cost_us = 1e6 * sum(load.cpu_s for load in hards) / sum(load.requests for load in hards)
    return (
        f"| {kind} | {sum(load.requests for load in loads)} | {100 * share:.1f} % | {p50:.1f} "
        f"| {p99:.1f} | {most:.1f} | {cost_us:.0f} | {rss:.0f} |"
    )


def missed(loads: dict[str, list[Load]]) -> str:
    """Say which target is missed. Where the empty route misses one too, the machine is too busy."""
    cpu = sum(x.cpu_s for x in loads[KINDS[1]]) / sum(x.wall_s for x in loads[KINDS[1]])
    empty_ms, own_ms = (
        np.percentile([ms for load in loads[kind] for ms in load.latency_ms], 99) for kind in KINDS
    )
    if cpu > TARGET_CPU:
        return f"target missed: {cpu:.1%} of a core, {TARGET_CPU:.0%} were aimed at"
    if own_ms > TARGET_P99_MS:
        why = "target missed" if empty_ms <= TARGET_P99_MS else "not judged, the machine is busy"
        return f"{why}: p99 {own_ms:.0f} ms ({empty_ms:.0f} empty), {TARGET_P99_MS:.0f} aimed at"
    return ""


def measure(devices: int, interval_s: float, rounds: int) -> str:
    """Run all of it, print the table, and say what target is missed."""
    loads: dict[str, list[Load]] = {kind: [] for kind in KINDS}
    hards: dict[str, list[Load]] = {kind: [] for kind in KINDS}
    with server(KINDS[0], devices) as empty, server(KINDS[1], devices) as spoken:
        running = dict(zip(KINDS, (empty, spoken), strict=True))
        for pid, port in running.values():  # what only the first requests cost
            asyncio.run(fleet(pid, port, devices, 2.0))
        for _ in range(rounds):
            for kind, (pid, port) in running.items():
                loads[kind].append(asyncio.run(fleet(pid, port, devices, interval_s)))
        for _ in range(rounds):
            for kind, (pid, port) in running.items():
                hards[kind].append(asyncio.run(hard(pid, port, devices)))
        rss = {kind: rss_mib(pid) for kind, (pid, _) in running.items()}
    print(  # noqa: T201  # what the program is for
        f"{devices} machines, each every {interval_s:.0f} s, {rounds} rounds\n\n"
        "| server | requests | of one core | p50 ms | p99 ms | max ms | CPU per request, us | MiB |"
        "\n|---|---:|---:|---:|---:|---:|---:|---:|\n"
        + "\n".join(report(kind, loads[kind], hards[kind], rss[kind]) for kind in KINDS)
    )
    return missed(loads)


def main() -> None:
    """Measure, or serve for the process that measures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--interval", type=float, default=30.0, help="seconds between two polls")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--serve", choices=KINDS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve, args.devices)
    elif verdict := measure(args.devices, args.interval, args.rounds):
        sys.exit(verdict)


if __name__ == "__main__":
    main()
