"""A desk in memory for machines that speak DDI, and a server over it."""

import hashlib
import hmac
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from cloud.core.rollout_states import Report
from cloud.web import ddi, problems
from cloud.web.rollout_ports import AttributeMode, DdiDesk, Digests, Offer, Standing
from contract.firmware import Format, Release

POLL_S = 30.0


def home(device: str) -> str:
    return f"/DEFAULT/controller/v1/{device}"


def auth(device: str) -> dict[str, str]:
    return {"Authorization": f"TargetToken {token(device)}"}


def token(device: str) -> str:
    return hashlib.sha256(device.encode()).hexdigest()[:32]


def offered(action: int, version: str, image: bytes, *, cancelling: bool = False) -> Offer:
    digests = (hashlib.new(name, image).hexdigest() for name in ("sha1", "md5", "sha256"))
    release = Release(
        machine_type="edge_computer",
        version=version,
        format=Format.SWU,
        size_bytes=len(image),
        sha256=hashlib.sha256(image).hexdigest(),
    )
    return Offer(action=action, cancelling=cancelling, release=release, digests=Digests(*digests))


class MemoryDesk(DdiDesk):
    """Keeps all that it hears; gives out what it is given."""

    def __init__(self, folder: Path, devices: list[str], gateway_token: str = "") -> None:
        self.folder = folder
        self.tokens = {device: token(device) for device in devices}
        self.gateway_token = gateway_token
        self.offers: dict[str, Offer] = {}
        self.ended: set[tuple[str, int]] = set()
        self.unnamed = set(devices)
        self.polls: list[str] = []
        self.denials: list[tuple[str, str]] = []
        self.reports: list[tuple[str, int, Report, str]] = []
        self.fetches: list[tuple[str, int]] = []
        self.attributes: dict[str, dict[str, str]] = {}

    def admitted(self, device: str, token: str) -> bool:
        same = hmac.compare_digest(self.tokens.get(device, "-"), token)
        return same and device in self.tokens

    def gateway_admitted(self, token: str) -> bool:
        return bool(self.gateway_token) and hmac.compare_digest(self.gateway_token, token)

    def denied(self, device: str, why: str) -> None:
        self.denials.append((device, why))

    def polled(self, device: str) -> None:
        self.polls.append(device)

    def offer(self, device: str) -> Offer | None:
        return self.offers.get(device)

    def standing(self, device: str, action: int) -> Standing:
        found = self.offers.get(device)
        if found is not None and found.action == action:
            return "cancelling" if found.cancelling else "open"
        return "ended" if (device, action) in self.ended else "foreign"

    async def reported(self, device: str, action: int, report: Report, details: str) -> None:
        self.reports.append((device, action, report, details))

    async def fetched(self, device: str, action: int) -> None:
        self.fetches.append((device, action))

    def artifact_path(self, release: Release) -> Path | None:
        path = self.folder / release.sha256
        return path if path.is_file() else None

    def wants_attributes(self, device: str) -> bool:
        return device in self.unnamed

    async def set_attributes(
        self, device: str, data: Mapping[str, str], mode: AttributeMode
    ) -> None:
        kept = {} if mode == "replace" else self.attributes.get(device, {})
        if mode == "remove":
            self.attributes[device] = {k: v for k, v in kept.items() if k not in data}
        else:
            self.attributes[device] = kept | dict(data)
        self.unnamed.discard(device)

    def give(
        self, device: str, action: int, version: str, image: bytes, *, cancelling: bool = False
    ) -> Offer:
        """Offer an image to a machine."""
        made = offered(action, version, image, cancelling=cancelling)
        (self.folder / made.release.sha256).write_bytes(image)
        self.offers[device] = made
        return made

    def end(self, device: str) -> None:
        """End the machine's open action."""
        self.ended.add((device, self.offers.pop(device).action))


def application(desk: DdiDesk, base_url: str) -> FastAPI:
    app = FastAPI()
    problems.install(app)
    app.include_router(ddi.routes(desk, base_url, POLL_S))
    return app


@contextmanager
def served(
    build: Callable[[str], ASGIApp], http: Literal["auto", "h11", "httptools"] = "auto"
) -> Iterator[str]:
    """Serve what is built for a base URL, in a thread; yields the URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(build(url), http=http, log_level="critical"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        until = time.monotonic() + 90
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        assert server.started
        yield url
    finally:
        server.should_exit = True
        thread.join(90)
        listener.close()
