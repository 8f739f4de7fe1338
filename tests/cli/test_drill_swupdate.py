"""The drill's own parts: its plan, its judge, its bundles, and the proxy that does harm."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from cloud.core.rollout_states import UpdatePhase
from contract.errors import Malformed
from farfix.drill import swu_bundle, swu_plan, swu_proxy
from farfix.drill.swu_judge import Outcome, Payload, judge
from farfix.drill.swu_plan import ENDS, Fault
from farfix.drill.swu_proxy import Strike, Wire
from tests import peers

OLD, NEW = "1.0.0", "1.2.0"
GOOD = Outcome(
    number=1,
    fault=Fault.NONE,
    payload_bytes=1000,
    fired=1,
    phase=UpdatePhase.UPDATED,
    detail="",
    version=NEW,
    case_open=False,
    payload=Payload.NEW,
    on_device=NEW,
    claimed=NEW,
    spare_damaged=False,
    downloaded=1000,
    ranges=0,
    seconds=1.0,
)


@given(st.integers(0, 2**32), st.integers(1, 100))
def test_a_plan_is_the_same_for_the_same_seed_and_deals_every_fault_alike(
    seed: int, count: int
) -> None:
    runs = swu_plan.runs(count, 12, seed)
    assert runs == swu_plan.runs(count, 12, seed)
    assert [run.number for run in runs] == list(range(1, count + 1))
    assert len({run.device for run in runs}) == count
    often = Counter(run.fault for run in runs)
    assert max(often.values()) - min(often.get(fault, 0) for fault in Fault) <= 1
    for run in runs:
        assert run.shares == sorted(run.shares)
        assert all(0 <= share < 1 for share in run.shares)


def test_sizes_span_what_is_asked_for() -> None:
    sizes = swu_plan.sizes(12, 20_000, 8_000_000, 1)
    assert len(sizes) == 12
    assert (sizes[0], sizes[-1]) == (20_000, 8_000_000)
    assert (
        sizes
        == swu_plan.sizes(12, 20_000, 8_000_000, 1)
        != swu_plan.sizes(12, 20_000, 8_000_000, 2)
    )


def test_only_the_verdict_that_is_true_is_right() -> None:
    """Every verdict beside every truth; what must hold is written down here a second time."""
    right = 0
    for phase, payload, claims_new, case in itertools.product(
        UpdatePhase, Payload, (True, False), (True, False)
    ):
        on_device = {Payload.OLD: OLD, Payload.NEW: NEW, Payload.MIXED: ""}[payload]
        fault = next((f for f, ends in ENDS.items() if phase in ends), Fault.NONE)
        outcome = replace(
            GOOD, fault=fault, phase=phase, payload=payload, on_device=on_device,
            version=on_device, claimed=NEW if claims_new else OLD, case_open=case,
        )  # fmt: skip
        true = {
            UpdatePhase.UPDATED: payload is Payload.NEW and claims_new and not case,
            UpdatePhase.UNCLEAR: payload is not Payload.MIXED
            and claims_new != (payload is Payload.NEW)
            and case,
        }
        old = payload is Payload.OLD and not claims_new and not case
        ends_old = phase in ("failed", "canceled", "skipped", "reverted")
        expected = true.get(phase, ends_old and old)
        assert (not judge(outcome).problems) == expected, outcome
        right += expected
    assert right == 1 + 2 + 4


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"version": OLD}, "reads version"),
        ({"fired": 0}, "did not happen"),
        ({"fault": Fault.WRONG_SIGNER}, "should end failed"),
        ({"payload": Payload.MIXED, "on_device": ""}, "mixed"),
        ({"phase": UpdatePhase.WATCHING}, "the gateway says watching"),
    ],
)
def test_the_judge_says_what_is_wrong(wrong: dict[str, object], says: str) -> None:
    assert not judge(GOOD).problems
    assert any(says in problem for problem in judge(replace(GOOD, **wrong)).problems)


def test_a_payload_names_its_version(tmp_path: Path) -> None:
    file = tmp_path / "payload"
    with pytest.raises(Malformed, match="does not exist"):
        swu_bundle.version_in(file)
    file.write_bytes(swu_bundle.payload(NEW, 5000, 1))
    assert file.stat().st_size == 5000
    assert swu_bundle.version_in(file) == NEW
    file.write_bytes(b"something else\n")
    with pytest.raises(Malformed, match="does not begin"):
        swu_bundle.version_in(file)


def test_a_bundle_begins_with_its_signed_description(tmp_path: Path) -> None:
    peers.swupdate()
    signer = swu_bundle.make_signer(tmp_path, "maker")
    assert signer.key.stat().st_mode & 0o077 == 0
    content = swu_bundle.payload(NEW, 30_000, 1)
    bundle = swu_bundle.build(tmp_path / "bundle", NEW, content, signer)
    packed = bundle.file.read_bytes()
    places = [packed.index(name) for name in (b"sw-description\0", b"sw-description.sig\0")]
    assert places == sorted(places)
    assert places[1] < packed.index(content[:100])
    assert bundle.payload_sha256.encode() in packed[: packed.index(b"sw-description.sig\0")]


# The proxy, before a small server that answers as a DDI server does.

IMAGE = bytes(range(256)) * 1000
BASE = "/DEFAULT/controller/v1/one"


def _server(folder: Path) -> Starlette:
    file = folder / "image.swu"
    file.write_bytes(IMAGE)

    async def poll(request: Request) -> Response:
        if request.headers.get("authorization") != "TargetToken right":
            return Response(status_code=401)
        return JSONResponse({"config": {}})

    async def offer(_: Request) -> Response:
        artifact = {"hashes": {"sha1": "a" * 40}, "size": len(IMAGE)}
        chunk = {"version": NEW, "artifacts": [artifact]}
        return JSONResponse({"id": "7", "deployment": {"chunks": [chunk]}})

    async def take(request: Request) -> Response:
        await request.body()
        return Response()

    async def image(_: Request) -> Response:
        return FileResponse(file)

    return Starlette(
        routes=[
            Route(BASE, poll),
            Route(f"{BASE}/deploymentBase/7", offer),
            Route(f"{BASE}/deploymentBase/7/feedback", take, methods=["POST"]),
            Route(f"{BASE}/softwaremodules/7/artifacts/image.swu", image),
        ]
    )


@asynccontextmanager
async def _proxied(folder: Path) -> AsyncIterator[tuple[Wire, httpx.AsyncClient]]:
    behind, port = peers.free_port(), peers.free_port()
    server = uvicorn.Server(uvicorn.Config(_server(folder), port=behind, log_level="critical"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - it has no event to wait for
        await asyncio.sleep(0.01)
    async with (
        swu_proxy.proxy(f"http://127.0.0.1:{behind}", port) as proxy,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"authorization": "TargetToken right"},
            timeout=60,
            trust_env=False,
        ) as client,
    ):
        wire = proxy.wires["one"] = Wire()
        yield wire, client
    server.should_exit = True
    await serving


async def test_the_proxy_passes_on_what_it_is_not_told_to_harm(tmp_path: Path) -> None:
    async with _proxied(tmp_path) as (wire, client):
        assert (await client.get(BASE)).json() == {"config": {}}
        denied = await client.get(BASE, headers={"authorization": "TargetToken wrong"})
        assert (denied.status_code, wire.counts["denied"]) == (401, 1)
        offer = (await client.get(f"{BASE}/deploymentBase/7?c=1")).json()
        assert offer["deployment"]["chunks"][0]["artifacts"][0]["hashes"]["sha1"] == "a" * 40
        path = f"{BASE}/softwaremodules/7/artifacts/image.swu"
        whole = await client.get(path)
        assert whole.content == IMAGE
        rest = await client.get(path, headers={"range": "bytes=1000-"})
        assert (rest.status_code, rest.content) == (206, IMAGE[1000:])
        assert wire.counts["ranges"] == 1
        assert wire.offers == {7: NEW}


async def test_the_proxy_refuses_forges_and_listens(tmp_path: Path) -> None:
    async with _proxied(tmp_path) as (wire, client):
        wire.refusals = 2
        answers = [(await client.get(BASE)).status_code for _ in range(3)]
        assert answers == [503, 503, 200]
        wire.wrong_hash = True
        offer = (await client.get(f"{BASE}/deploymentBase/7")).json()
        assert offer["deployment"]["chunks"][0]["artifacts"][0]["hashes"]["sha1"] == "0" * 40
        feedback = f"{BASE}/deploymentBase/7/feedback"
        said = (
            '{"id":7, "status": {"result": {"finished": "%s"}, "execution": "%s", '
            '"details" : [ "a log line with "quotes" that is no JSON" ]}}'
        )
        await client.post(feedback, content=said % ("none", "proceeding"))
        assert wire.word == {}
        await client.post(feedback, content=said % ("failure", "closed"))
        assert (wire.word, wire.claimed) == ({7: "failure"}, "")
        await client.post(feedback, content=said % ("success", "closed"))
        assert (wire.word, wire.claimed) == ({7: "success"}, NEW)


async def _fetch(client: httpx.AsyncClient, path: str, got: bytearray) -> None:
    async with client.stream("GET", path) as answer:
        async for part in answer.aiter_raw():
            got += part


@pytest.mark.parametrize("at_byte", [0, 1, 16 * 1024, 100_000, len(IMAGE) - 1])
async def test_the_proxy_cuts_a_download_at_the_byte(tmp_path: Path, at_byte: int) -> None:
    async with _proxied(tmp_path) as (wire, client):
        wire.strikes = [Strike(at_byte, cut=True)]
        got = bytearray()
        path = f"{BASE}/softwaremodules/7/artifacts/image.swu"
        with pytest.raises(httpx.RemoteProtocolError):
            await _fetch(client, path, got)
        assert got == IMAGE[:at_byte]
        assert wire.struck.is_set()
        assert (wire.counts["cut"], wire.strikes) == (1, [])
        assert (await client.get(path)).content == IMAGE
