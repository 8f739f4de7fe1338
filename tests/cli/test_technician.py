"""The demo's technician speaks to a real API: what was a ticket is a first-time fix at the end."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import uvicorn

from cloud.core.states import Phase
from cloud.web.app import create_api
from contract import codec
from contract.tickets import ClosingReport, Ticket
from farfix.api import Gateway
from farfix.demo import technician
from farfix.demo.technician import Technician
from tests.peers import free_port
from tests.web.conftest import TOKEN
from tests.web.fixture_centre import Centre, centre


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Centre]:
    with centre(tmp_path) as found:
        yield found


@pytest.fixture
def gateway(made: Centre) -> Iterator[Gateway]:
    """A client with the token of a dispatch system, which the gateway's own token issued."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(create_api(made.faces, TOKEN, made.config), port=port, log_level="warning")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the gateway does not start"
        time.sleep(0.01)
    admin = Gateway(f"http://127.0.0.1:{port}", TOKEN)
    system = Gateway(f"http://127.0.0.1:{port}", admin.issue_token("dispatch", "dispatch"))
    yield system
    system.close()
    admin.close()
    server.should_exit = True
    thread.join()


def ordered(made: Centre, device: str) -> dict[str, object]:
    key = asyncio.run(made.ticket(device))
    made.perform()
    row = made.parts.store.ticket(key)
    assert row is not None
    ticket = codec.decode(row.body, Ticket)
    return msgspec.convert(msgspec.to_builtins(ticket), dict[str, object])


def test_a_ticket_is_visited_step_by_step_repaired_and_reported(
    made: Centre, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(technician, "STEP_S", 60.0)  # a clock may be ten minutes ahead
    now_ns = [made.desk.now_ns()]
    repaired: list[str] = []

    def repair(device: str) -> str:
        repaired.append(device)
        return "bearing_wear"

    person = Technician(gateway, lambda: now_ns[0], repair)
    ticket = ordered(made, "pump-1")
    case_id, states, said = str(ticket["key"]), [], []
    for _ in range(7):
        said += person.go_on([ticket])
        assert person.go_on([ticket]) == [], "the next word is not due"
        visit = made.case(case_id).visit
        assert visit is not None
        states.append(visit.state.value)
        now_ns[0] += int(technician.STEP_S * 1e9)
    assert states[:5] == ["accepted", "scheduled", "on_the_way", "on_site", "done"]
    assert repaired == ["pump-1"]
    assert said == [f"pump-1: visited; found bearing_wear, ticket {case_id} is closed"]
    case = made.case(case_id)
    assert case.phase is Phase.CLOSED
    assert case.report is not None
    assert (case.report.finding, case.report.cause_code) == ("bearing_wear", "M-12")
    assert case.visit is not None
    assert case.visit.technician == "J. Doe"


def test_a_ticket_that_somebody_else_closed_is_left_alone(
    made: Centre, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(technician, "STEP_S", 0.0)
    ticket = ordered(made, "pump-1")
    asyncio.run(made.desk.report(str(ticket["key"]), ClosingReport(finding="other")))
    person = Technician(gateway, made.desk.now_ns, lambda _: "bearing_wear")
    said = [sentence for _ in range(7) for sentence in person.go_on([ticket])]
    assert len(said) == 1
    assert "409" in said[0]
    report = made.case(str(ticket["key"])).report
    assert report is not None
    assert report.finding == "other"
