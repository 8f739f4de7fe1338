"""The REST API of rollouts: what it tells, what it takes, what it refuses and why."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cloud.core.rollout_states import Phase, Report, StopKind, UpdatePhase
from cloud.web import guard, problems, rollout_views, rollout_words, rollouts
from cloud.web.console.charts import Area, Mark
from cloud.web.console.comparison import comparison
from cloud.web.guard import Doors
from cloud.web.rollout_ports import RolloutAction
from contract.errors import Malformed, Refused
from tests.web import fixture_people
from tests.web.fixture_rollouts import HOSTILE_DEVICE, PUMP, MemoryRollouts, build

TOKEN = "a-test-token"
ORDER = {"machine_type": PUMP, "version": "1.2.0"}
Client = httpx.AsyncClient


@pytest.fixture
def memory() -> MemoryRollouts:
    return build()


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[Doors]:
    with fixture_people.doors(tmp_path) as made:
        yield made


def application(memory: MemoryRollouts, doors: Doors) -> FastAPI:
    app = FastAPI()
    app.add_middleware(guard.BodyLimit)
    problems.install(app)
    app.include_router(rollouts.routes(memory, doors))
    return app


@pytest.fixture
async def api(memory: MemoryRollouts, doors: Doors) -> AsyncIterator[Client]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(application(memory, doors)),
        base_url="http://gateway",
        headers={"Authorization": f"Bearer {TOKEN}"},
    ) as client:
        yield client


def problem(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


async def test_rollouts_are_listed_newest_first_in_pages(api: Client) -> None:
    found = (await api.get("/api/rollouts")).json()
    assert [r["number"] for r in found] == [5, 4, 3, 2, 1]
    running, finished = found[2], found[4]
    assert (running["phase"], running["open"], running["stage"]) == ("running", True, 3)
    assert running["machines"] == sum(running["counts"].values())
    assert finished["running"] == finished["ended"] == finished["machines"]
    older = (await api.get("/api/rollouts", params={"limit": 2, "before": 4})).json()
    assert [r["number"] for r in older] == [3, 2]


async def test_a_rollout_that_ended_is_read_once(memory: MemoryRollouts) -> None:
    views = rollout_views.RolloutViews(memory)
    before = views.rollouts()
    finished, running = memory.found[1], memory.found[3]
    memory.found[1] = (finished[0], {})
    memory.found[3] = (running[0], {})
    after = views.rollouts()
    assert after[4] == before[4]
    assert (before[2].machines > 0, after[2].machines) == (True, 0)


async def test_a_rollout_tells_its_stages_and_what_a_person_may_do(
    api: Client, memory: MemoryRollouts
) -> None:
    found = (await api.get("/api/rollouts/3")).json()
    assert [s["goal"] for s in found["funnel"]] == ["5 machines", "10 %", "30 %", "100 %"]
    assert sum(s["machines"] for s in found["funnel"]) == found["machines"]
    third = found["funnel"][2]["counts"]
    parts = [u for u in memory.found[3][1].values() if u.stage == 2]
    assert third["watching"] == sum(u.phase is UpdatePhase.WATCHING for u in parts)
    assert third["failed"] == 1
    began = [s["began_ns"] for s in found["funnel"]]
    assert began[0] < began[1] < began[2]
    assert began[3] is None
    assert found["actions"] == ["pause", "stop", "cancel"]
    assert found["next_text"].startswith("Stage 3 of 4, up to 30 %")
    assert found["order"]["selection"]["hardware"] == [1, 2]
    assert found["health"]["text"].startswith("Evidence of harm: 14 % of what stops")
    stopped = (await api.get("/api/rollouts/2")).json()
    assert (stopped["stop"]["kind"], stopped["stop"]["harmed"]) == ("health", 2)
    assert stopped["actions"] == []
    assert stopped["health"] is None


async def test_machines_of_a_rollout_come_in_pages_that_miss_none(
    api: Client, memory: MemoryRollouts
) -> None:
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = (
            await api.get("/api/rollouts/3/updates", params={"limit": 7, "after": after})
        ).json()
        seen += [u["device"] for u in page["updates"]]
        after = page["after"]
    assert seen == sorted(memory.found[3][1])
    assert page["total"] == len(seen)
    unclear = (await api.get("/api/rollouts/3/updates", params={"phase": "unclear"})).json()
    (liar,) = unclear["updates"]
    assert (liar["device"], liar["report"], liar["version"]) == (HOSTILE_DEVICE, "success", "1.0.0")


async def test_health_is_told_with_its_evidence(api: Client) -> None:
    found = (await api.get("/api/rollouts/3/health")).json()
    assert len(found["points"]) == 92
    assert found["points"][0]["updated"] is None
    assert len(found["cells"]) == 15
    worst = max(found["cells"], key=lambda cell: cell["share"])
    assert (worst["measure"], worst["look"]) == ("bearing_temperature_c", 0.2)
    assert worst["share"] == pytest.approx(1.1 / found["log_threshold"])
    assert min(cell["share"] for cell in found["cells"]) == 0
    assert "no machines to compare" in problem(await api.get("/api/rollouts/1/health"), 404)


async def test_a_preview_begins_nothing(api: Client, memory: MemoryRollouts) -> None:
    before = dict(memory.found)
    selection = {"sites": ["north"], "hardware": [1, 3]}
    answer = await api.post("/api/rollouts/preview", json=ORDER | {"selection": selection})
    found = answer.json()
    assert found["machines"] == sum(s["machines"] for s in found["stages"])
    assert found["stages"][0]["machines"] == len(found["stages"][0]["devices"]) == 5
    assert found["excluded_count"] == len(found["excluded"])
    assert set(found["excluded"].values()) == {"not for hardware revision 3"}
    assert memory.found == before


async def test_a_rollout_is_begun(api: Client, memory: MemoryRollouts) -> None:
    answer = await api.post("/api/rollouts", json={"by": "J. Doe", "order": ORDER})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["phase"], made["author"]) == ("running", "J. Doe (by api token)")
    assert made["counts"] == {"waiting": made["machines"]}
    assert memory.found[made["number"]][0].order.version == "1.2.0"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body"),
        (b"[]", "Expected `object`"),
        (b'{"by": "J", "order": {"machine_type": "p"}}', "missing required field `version`"),
        (
            (
                b'{"by": "J", "order": {"machine_type": "p", "version": "1", "policy": {"stages":'
                b' [{"count": 5, "soak": 3}]}}}'
            ),
            "$.order.policy.stages[0]",
        ),
        (b'{"by": 7, "order": {"machine_type": "p", "version": "1"}}', "$.by"),
        (b'{"by": "J", "order": {"machine_type": "p", "version": "1", "fast": 1}}', "`fast`"),
    ],
)
async def test_a_wrong_order_names_its_field(api: Client, body: bytes, said: str) -> None:
    assert said in problem(await api.post("/api/rollouts", content=body), 422)


async def test_refusals_say_why(api: Client) -> None:
    barred = {"by": "J. Doe", "order": ORDER | {"version": "1.1.0"}}
    assert "barred" in problem(await api.post("/api/rollouts", json=barred), 409)
    nobody = {"by": "J. Doe", "order": ORDER | {"selection": {"sites": ["moon"]}}}
    assert "no machine is left" in problem(await api.post("/api/rollouts", json=nobody), 409)
    own = await api.post("/api/rollouts/4/approve", json={"by": "J. Doe"})
    assert "a second person must approve it" in problem(own, 409)
    late = await api.post("/api/rollouts/1/pause", json={"by": "J. Doe"})
    assert "nothing to pause" in problem(late, 409)
    assert "There is no rollout 99" in problem(await api.get("/api/rollouts/99"), 404)
    gone = await api.post("/api/rollouts/99/stop", json={"by": "J. Doe"})
    assert "There is no rollout 99" in problem(gone, 404)
    problem(await api.get("/api/rollouts/0"), 422)
    problem(await api.get("/api/rollouts", params={"limit": 201}), 422)


@pytest.mark.parametrize(
    ("number", "actions", "phase"),
    [
        (3, ["pause"], "paused"),
        (3, ["pause", "resume"], "running"),
        (3, ["stop"], "stopping"),
        (3, ["pause", "cancel"], "cancelling"),
        (4, ["approve"], "running"),
        (5, ["approve"], "running"),
    ],
)
async def test_people_decide(
    api: Client, memory: MemoryRollouts, number: int, actions: list[str], phase: str
) -> None:
    for action in actions:
        path = f"/api/rollouts/{number}/{action}"
        answer = await api.post(path, json={"by": "R. Roe", "why": "because"})
        assert answer.status_code == 200, answer.text
    assert answer.json()["phase"] == phase == memory.found[number][0].phase
    rows = (await api.get("/api/audit", params={"rollout": number, "limit": 500})).json()
    told = [row["text"] for row in rows if row["by"] == "R. Roe (by api token)"]
    assert len(told) == len(actions)
    assert all("because" in text for text in told) == (set(actions) <= {"pause", "stop", "cancel"})


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("action", list(rollouts.SUMMARIES))
async def test_an_action_is_offered_exactly_where_the_rules_take_it(
    memory: MemoryRollouts, phase: Phase, action: RolloutAction
) -> None:
    found, updates = memory.found[5]
    memory.found[5] = (replace(found, phase=phase), updates)
    try:
        await memory.decide(5, action, "R. Roe", "because")
        taken = True
    except Refused:
        taken = False
    assert taken == (action in rollout_views.ACTIONS.get(phase, ()))


async def test_every_call_needs_a_token(memory: MemoryRollouts, doors: Doors) -> None:
    app = application(memory, doors)
    calls = [
        (method.upper(), path)
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    ]
    assert len(calls) == 16
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as stranger:
        for method, path in calls:
            where = path.format(number=3, device="pump-2")
            for headers in ({}, {"Authorization": "Bearer wrong"}):
                answer = await stranger.request(
                    method, where, json={"by": "X"}, params={"by": "X"}, headers=headers
                )
                problem(answer, 401)
    assert memory.found[3][0].phase is Phase.RUNNING


async def test_the_audit_log_comes_in_pages(api: Client, memory: MemoryRollouts) -> None:
    seen: list[int] = []
    while True:
        before = {"before": seen[-1]} if seen else {}
        rows = (await api.get("/api/audit", params={"limit": 5} | before)).json()
        if not rows:
            break
        seen += [row["id"] for row in rows]
    assert seen == list(range(len(memory.log), 0, -1))
    of_device = (await api.get("/api/audit", params={"device": "pump-2"})).json()
    assert {row["device"] for row in of_device} == {"pump-2"}


async def test_a_token_is_shown_once(api: Client, memory: MemoryRollouts) -> None:
    answer = await api.post("/api/devices/pump-4/token", json={"by": "J. Doe"})
    assert answer.status_code == 201
    token = answer.json()["token"]
    assert token == memory.tokens["pump-4"]
    record = (await api.get("/api/devices/pump-4")).json()
    assert record["has_token"]
    assert token not in str(record)
    assert token not in (await api.get("/api/audit")).text
    gone = await api.delete("/api/devices/pump-4/token", params={"by": "J. Doe"})
    assert gone.status_code == 204
    assert not (await api.get("/api/devices/pump-4")).json()["has_token"]
    nobody = await api.post("/api/devices/pump-999/token", json={"by": "J. Doe"})
    assert "no machine 'pump-999'" in problem(nobody, 404)


async def test_a_machine_leaves_quarantine_by_a_person(api: Client) -> None:
    assert (await api.get("/api/devices/pump-7")).json()["quarantined"]
    answer = await api.post("/api/devices/pump-7/release", json={"by": "J. Doe"})
    assert answer.json()["quarantined"] == ""
    again = await api.post("/api/devices/pump-7/release", json={"by": "J. Doe"})
    assert "not in quarantine" in problem(again, 409)


async def test_a_machine_tells_its_updates(api: Client) -> None:
    found = (await api.get("/api/devices/pump-2")).json()
    assert [(u["rollout"], u["device"]) for u in found["updates"]] == [(3, "pump-2")]


def test_there_are_words_for_everything(memory: MemoryRollouts) -> None:
    assert set(rollout_words.PHASE) == set(Phase)
    assert set(rollout_words.UPDATE) == set(rollout_views.URGENCY) == set(UpdatePhase)
    assert set(rollout_words.REPORT) == set(Report)
    assert set(rollout_words.STOP) == set(StopKind)
    found, updates = memory.found[3]
    for phase in Phase:
        assert rollout_views.next_text(replace(found, phase=phase), list(updates.values()))


def test_the_chart_shades_from_the_median_to_the_90th_percentile(memory: MemoryRollouts) -> None:
    view = rollout_views.RolloutViews(memory).health(3)
    assert view is not None
    points = view.points
    span = Area(points[0].at_ns, points[-1].at_ns)
    drawn = comparison(points, span, [Mark(points[5].at_ns, "Stage 1", "info")])
    series = {one["name"]: one for one in drawn["series"]}
    assert set(series) == {
        "Updated, median", "Not updated, median", "alarm level",
        "Updated, 9 of 10 below", "Not updated, 9 of 10 below",
    }  # fmt: skip
    for group, low, high in (
        ("Updated", [p.updated for p in points], [p.updated_high for p in points]),
        ("Not updated", [p.control for p in points], [p.control_high for p in points]),
    ):
        base, shade = series[f"{group}, median"], series[f"{group}, 9 of 10 below"]
        assert base["stack"] == shade["stack"]
        rows = zip(base["data"], shade["data"], low, high, strict=True)
        for (_, bottom), (_, wide, told), wanted_low, wanted_high in rows:
            if wanted_low is None or wanted_high is None:
                assert wide is told is None
            else:
                assert bottom == pytest.approx(wanted_low, abs=1e-4)
                assert bottom + wide == pytest.approx(wanted_high, abs=2e-4)
                assert told == pytest.approx(wanted_high, abs=1e-4)


def test_the_schema_of_an_order_stands_on_its_own(memory: MemoryRollouts, doors: Doors) -> None:
    paths = application(memory, doors).openapi()["paths"]
    body = paths["/api/rollouts"]["post"]["requestBody"]
    schema = body["content"]["application/json"]["schema"]
    assert "$ref" not in str(schema)
    stages = schema["properties"]["order"]["properties"]["policy"]
    assert "stages" in str(stages)


@given(st.text(max_size=30))
def test_stages_of_any_text_are_read_or_refused(text: str) -> None:
    try:
        found = rollout_words.stages(text, 60.0)
    except Malformed as error:
        assert str(error)
    else:
        assert found
        msgspec.convert(msgspec.to_builtins(found), type=type(found))
        for stage in found:
            assert (stage.count is None) != (stage.percent is None)


@given(st.lists(st.one_of(st.integers(1, 9999), st.floats(0.1, 100).map(lambda x: round(x, 2)))))
def test_stages_read_back_what_was_written(parts: list[float]) -> None:
    text = ", ".join(str(p) if isinstance(p, int) else f"{p}%" for p in parts[:20])
    if parts:
        found = rollout_words.stages(text, 60.0)
        assert [s.count if s.percent is None else s.percent for s in found] == parts[:20]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45), ("30min", 1800), ("1h", 3600), ("1.5 h", 5400), ("2d", 172800)],
)
def test_spans_are_read(text: str, seconds: float) -> None:
    assert rollout_words.duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "1 week", "-1h", "1h 3", "nan h"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match="no span of time"):
        rollout_words.duration_s(text)
