"""The value ledger by API: months, a report, files, and who may read them."""

import csv
import io
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import httpx
import pytest

from cloud.config import Config
from cloud.core.ledger import Entry, EntryKind
from cloud.core.people import Role
from cloud.service.value import Value
from cloud.web.app import create_api
from cloud.web.faces import Faces
from tests.web.fixture_world import HOSTILE

NOVEMBER = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()) * 10**9


def line(case_id: str, kind: EntryKind = EntryKind.VISIT_AVOIDED, **changes: object) -> Entry:
    given: dict[str, object] = {
        "key": f"{case_id}/0/{kind.value}",
        "at_ns": NOVEMBER,
        "count": 1.0,
        "amount": 480.0,
        "assumptions": {"visit": 480.0},
        "text": f"It worked. {HOSTILE}",
        "reverses": "",
    }
    return Entry(
        case_id=case_id, device="pump-1", site="north", machine_type="centrifugal_pump", tier="A",
        kind=kind, currency="EUR", **{**given, **changes},  # type: ignore[arg-type]  # as named
    )  # fmt: skip


def taken(faces: Faces, *lines: Entry) -> None:
    assert isinstance(faces.value, Value)
    faces.value.take(list(lines))


async def test_a_month_is_reported_with_its_lines_and_assumptions(
    api: httpx.AsyncClient, faces: Faces
) -> None:
    taken(faces, line("c1"), line("c2", at_ns=NOVEMBER + 1))
    assert (await api.get("/api/value")).json() == [
        {
            "month": "2026-11",
            "counts": {"visit_avoided": 2.0},
            "amounts": {"visit_avoided": 960.0},
        }
    ]
    found = (await api.get("/api/value/2026-11?limit=1")).json()
    assert (found["lines"], [e["case_id"] for e in found["entries"]]) == (2, ["c1"])
    assert found["counts"] == {"visit_avoided": 2.0}
    assert found["prices"] == {
        "currency": "EUR", "visit": None, "downtime_per_hour": None, "downtime_h_per_visit": None,
    }  # fmt: skip
    of_case = (await api.get("/api/value/cases/c2")).json()
    assert [(e["key"], e["assumptions"]) for e in of_case] == [
        ("c2/0/visit_avoided", {"visit": 480.0})
    ]
    assert (await api.get("/api/value/cases/none")).json() == []


async def test_a_month_comes_as_csv_and_pdf(api: httpx.AsyncClient, faces: Faces) -> None:
    taken(faces, line("c1"))
    answer = await api.get("/api/value/2026-11/csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert 'filename="farfix-value-2026-11.csv"' in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [row["text"] for row in rows] == [f"It worked. {HOSTILE}"]
    answer = await api.get("/api/value/2026-11/pdf")
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.content.startswith(b"%PDF-")


@pytest.mark.parametrize("path", ["2026", "2026-13", "next", "2026-11x", "0001-01"])
@pytest.mark.parametrize("kind", ["", "/csv", "/pdf"])
async def test_what_is_no_month_is_refused(api: httpx.AsyncClient, path: str, kind: str) -> None:
    answer = await api.get(f"/api/value/{path}{kind}")
    assert answer.status_code == 422
    assert "month" in answer.json()["detail"]


async def test_viewers_may_read_and_nobody_else_may(
    api_as: Callable[[Role], Awaitable[httpx.AsyncClient]], faces: Faces, config: Config
) -> None:
    viewer, dispatch = await api_as(Role.VIEWER), await api_as(Role.DISPATCH)
    app = create_api(faces, "token", config)
    nobody = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")
    for path in ("", "/2026-11", "/2026-11/csv", "/2026-11/pdf", "/cases/c1"):
        assert (await viewer.get(f"/api/value{path}")).status_code == 200
        assert (await dispatch.get(f"/api/value{path}")).status_code == 403
        assert (await nobody.get(f"/api/value{path}")).status_code == 401
    await nobody.aclose()
