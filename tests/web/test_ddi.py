"""The DDI server over real HTTP: what clients are told, and what counts of what they say."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace

from cloud.core.rollout_states import Report
from tests.web.fixture_ddi import MemoryDesk, application, auth, home, served, token

IMAGE = bytes(range(256)) * 400
DEVICE, OTHER = "gate-1", "gate-2"
AT = home(DEVICE)
GATEWAY_TOKEN = "one-for-all"
FILE = "edge_computer-1.2.0.swu"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MemoryDesk, str]]:
    made = MemoryDesk(tmp_path_factory.mktemp("artifacts"), [DEVICE, OTHER], GATEWAY_TOKEN)
    with served(lambda url: application(made, url + "/")) as url:
        yield made, url


@pytest.fixture
def desk(server: tuple[MemoryDesk, str]) -> MemoryDesk:
    made = server[0]
    MemoryDesk.__init__(made, made.folder, [DEVICE, OTHER], GATEWAY_TOKEN)
    made.give(DEVICE, 100_001, "1.2.0", IMAGE)
    made.give(OTHER, 100_002, "9.9.9", IMAGE[::-1])
    return made


@pytest.fixture
def client(server: tuple[MemoryDesk, str], desk: MemoryDesk) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server[1], headers=auth(DEVICE)) as made:
        yield made


def feedback(execution: str, finished: str, *details: str) -> dict[str, object]:
    status = {"execution": execution, "result": {"finished": finished}, "details": details}
    return {"id": 1, "time": "20260101T000000", "status": status}


# ---- polling ------------------------------------------------------------------------------------


def test_a_poll_tells_of_the_open_action(client: httpx.Client, desk: MemoryDesk) -> None:
    body = client.get(AT).json()
    assert body["config"] == {"polling": {"sleep": "00:00:30"}}
    links = body["_links"]
    assert list(links) == ["deploymentBase", "configData"]
    assert links["deploymentBase"]["href"].startswith(
        f"{client.base_url}{AT}/deploymentBase/100001?c="
    )
    assert links["configData"]["href"] == f"{client.base_url}{AT}/configData"
    assert desk.polls == [DEVICE]


def test_links_are_followed_to_the_artifact(client: httpx.Client, desk: MemoryDesk) -> None:
    link = client.get(AT).json()["_links"]["deploymentBase"]["href"]
    body = client.get(link, params={"actionHistory": 10}).json()
    artifact = body["deployment"]["chunks"][0]["artifacts"][0]
    assert body["id"] == "100001"
    assert (body["deployment"]["download"], body["deployment"]["update"]) == ("forced", "forced")
    assert desk.fetches == []
    image = client.get(artifact["_links"]["download-http"]["href"])
    assert image.content == IMAGE
    assert artifact["hashes"] == {
        name: hashlib.new(name, IMAGE).hexdigest() for name in ("sha1", "md5", "sha256")
    }
    assert desk.fetches == [(DEVICE, 100_001)]


def test_a_poll_with_nothing_to_do_has_no_links(client: httpx.Client, desk: MemoryDesk) -> None:
    desk.end(DEVICE)
    desk.unnamed.clear()
    assert client.get(AT).json()["_links"] == {}


def test_a_cancellation_hides_the_deployment(client: httpx.Client, desk: MemoryDesk) -> None:
    assert client.get(f"{AT}/cancelAction/100001").status_code == 404
    desk.offers[DEVICE] = replace(desk.offers[DEVICE], cancelling=True)
    links = client.get(AT).json()["_links"]
    assert "deploymentBase" not in links
    href = links["cancelAction"]["href"]
    assert href == f"{client.base_url}{AT}/cancelAction/100001", "clients append /feedback"
    assert client.get(href).json() == {"id": "100001", "cancelAction": {"stopId": "100001"}}
    assert client.get(f"{AT}/deploymentBase/100001").status_code == 404


def test_outside_the_window_nothing_is_begun_and_nothing_is_cut_off(
    client: httpx.Client, desk: MemoryDesk
) -> None:
    link = client.get(AT).json()["_links"]["deploymentBase"]["href"]
    desk.offers[DEVICE] = replace(desk.offers[DEVICE], window_open=False)
    assert list(client.get(AT).json()["_links"]) == ["configData"]
    assert client.get(link).status_code == 404
    assert client.get(f"{AT}/softwaremodules/100001/artifacts/{FILE}").content == IMAGE
    said = feedback("proceeding", "none")
    assert client.post(f"{AT}/deploymentBase/100001/feedback", json=said).status_code == 200
    assert desk.reports == [(DEVICE, 100_001, Report.TAKEN, "")]


def test_a_changed_release_changes_the_link(client: httpx.Client, desk: MemoryDesk) -> None:
    before = client.get(AT).json()["_links"]["deploymentBase"]["href"]
    assert client.get(AT).json()["_links"]["deploymentBase"]["href"] == before
    desk.give(DEVICE, 100_001, "1.2.0", IMAGE + b"!")
    assert client.get(AT).json()["_links"]["deploymentBase"]["href"] != before


def test_an_unchanged_poll_costs_no_body(client: httpx.Client, desk: MemoryDesk) -> None:
    first = client.get(AT)
    again = client.get(AT, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    desk.end(DEVICE)
    changed = client.get(AT, headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200


@pytest.mark.parametrize("tenant", ["DEFAULT", "default", "Default"])
def test_the_tenant_is_default_in_any_case_and_links_have_it_large(
    client: httpx.Client, tenant: str
) -> None:
    body = client.get(AT.replace("DEFAULT", tenant)).json()
    assert "/DEFAULT/controller/v1/" in body["_links"]["deploymentBase"]["href"]


def test_another_tenant_is_not_found(client: httpx.Client) -> None:
    assert client.get(AT.replace("DEFAULT", "acme")).status_code == 404


@pytest.mark.parametrize("path", ["installedBase", "installedBase/100001", "confirmationBase"])
def test_what_is_not_spoken_is_not_found(client: httpx.Client, path: str) -> None:
    assert client.get(f"{AT}/{path}").status_code == 404


# ---- feedback -----------------------------------------------------------------------------------


def test_feedback_goes_to_the_desk(client: httpx.Client, desk: MemoryDesk) -> None:
    url = f"{AT}/deploymentBase/100001/feedback"
    for said in (feedback("proceeding", "none", "Installing."), feedback("closed", "none", "Done")):
        answer = client.post(url, json=said)
        assert (answer.status_code, answer.content) == (200, b"")
    assert desk.reports == [
        (DEVICE, 100_001, Report.TAKEN, "Installing."),
        (DEVICE, 100_001, Report.SUCCESS, "Done"),
    ]


def test_feedback_on_an_ended_action_is_kept_and_gone(
    client: httpx.Client, desk: MemoryDesk
) -> None:
    desk.end(DEVICE)
    desk.give(DEVICE, 100_003, "1.3.0", IMAGE)
    said = feedback("closed", "success", "late")
    assert client.post(f"{AT}/deploymentBase/100001/feedback", json=said).status_code == 410
    assert desk.reports == [(DEVICE, 100_001, Report.SUCCESS, "late")]


@pytest.mark.parametrize("action", ["100002", "7", "0", "2147483648", "seven", "9" * 400])
def test_feedback_on_a_foreign_action_changes_nothing(
    client: httpx.Client, desk: MemoryDesk, action: str
) -> None:
    said = feedback("closed", "success")
    for kind in ("deploymentBase", "cancelAction"):
        answer = client.post(f"{AT}/{kind}/{action}/feedback", json=said)
        assert answer.status_code == 404
    assert desk.reports == []
    assert [device for device, _ in desk.denials] == [DEVICE, DEVICE]


def test_feedback_on_the_update_counts_while_it_is_called_back(
    client: httpx.Client, desk: MemoryDesk
) -> None:
    desk.offers[DEVICE] = replace(desk.offers[DEVICE], cancelling=True)
    said = feedback("closed", "success", "too late")
    assert client.post(f"{AT}/deploymentBase/100001/feedback", json=said).status_code == 200
    assert desk.reports == [(DEVICE, 100_001, Report.SUCCESS, "too late")]


def test_a_cancellation_is_answered_where_there_is_one(
    client: httpx.Client, desk: MemoryDesk
) -> None:
    url = f"{AT}/cancelAction/100001/feedback"
    assert client.post(url, json=feedback("closed", "success")).status_code == 404
    assert desk.reports == []
    desk.offers[DEVICE] = replace(desk.offers[DEVICE], cancelling=True)
    for said in (feedback("closed", "success"), feedback("rejected", "none")):
        assert client.post(url, json=said).status_code == 200
    reports = [report for _, _, report, _ in desk.reports]
    assert reports == [Report.CANCELED, Report.CANCEL_REFUSED]


def test_malformed_feedback_is_refused_in_words(client: httpx.Client, desk: MemoryDesk) -> None:
    url = f"{AT}/deploymentBase/100001/feedback"
    answer = client.post(url, content=b'{"status":')
    assert (answer.status_code, "JSON" in answer.json()["detail"]) == (400, True)
    answer = client.post(url, json=feedback("exploded", "none"))
    assert (answer.status_code, "'execution'" in answer.json()["detail"]) == (400, True)
    assert desk.reports == []


def test_long_bodies_are_refused_and_the_connection_stays(
    client: httpx.Client, desk: MemoryDesk
) -> None:
    url = f"{AT}/deploymentBase/100001/feedback"
    answer = client.post(url, content=b" " * 70_000)
    assert (answer.status_code, "connection" in answer.headers) == (413, False)
    assert client.post(url, json=feedback("proceeding", "none")).status_code == 200
    assert client.post(url, content=b" " * 2_000_000).headers["connection"] == "close"


# ---- attributes ---------------------------------------------------------------------------------


def test_attributes_are_kept_and_not_asked_for_again(
    client: httpx.Client, desk: MemoryDesk
) -> None:
    url = f"{AT}/configData"
    assert client.put(url, json={"data": {"hw_revision": "3", "a": "1"}}).status_code == 200
    assert "configData" not in client.get(AT).json()["_links"]
    assert client.put(url, json={"data": {"b": "2"}}).status_code == 200
    assert desk.attributes[DEVICE] == {"hw_revision": "3", "a": "1", "b": "2"}
    client.put(url, json={"mode": "remove", "data": {"a": ""}})
    assert desk.attributes[DEVICE] == {"hw_revision": "3", "b": "2"}
    client.put(url, json={"mode": "replace", "data": {"c": "3"}})
    assert desk.attributes[DEVICE] == {"c": "3"}
    assert client.put(url, json={"data": {"c": None}}).status_code == 400
    assert desk.attributes[DEVICE] == {"c": "3"}


# ---- artifacts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "status", "span"),
    [
        ("bytes=0-99", 206, (0, 100)),
        ("bytes=1000-", 206, (1000, len(IMAGE))),
        ("bytes=-10", 206, (len(IMAGE) - 10, len(IMAGE))),
        (f"bytes={len(IMAGE) - 1}-{len(IMAGE) + 50}", 206, (len(IMAGE) - 1, len(IMAGE))),
    ],
)
def test_artifacts_come_in_ranges(
    client: httpx.Client, asked: str, status: int, span: tuple[int, int]
) -> None:
    part = client.get(f"{AT}/softwaremodules/100001/artifacts/{FILE}", headers={"Range": asked})
    begin, end = span
    assert (part.status_code, part.content) == (status, IMAGE[begin:end])
    assert part.headers["content-range"] == f"bytes {begin}-{end - 1}/{len(IMAGE)}"


def test_a_range_beyond_the_end_cannot_be_had(client: httpx.Client) -> None:
    asked = {"Range": f"bytes={len(IMAGE)}-"}
    part = client.get(f"{AT}/softwaremodules/100001/artifacts/{FILE}", headers=asked)
    assert part.status_code == 416
    assert part.headers["content-range"] == f"bytes */{len(IMAGE)}"


def test_an_artifact_that_was_expected_otherwise_is_not_sent(
    client: httpx.Client, desk: MemoryDesk
) -> None:
    url, sha1 = f"{AT}/softwaremodules/100001/artifacts/{FILE}", hashlib.sha1(IMAGE).hexdigest()  # noqa: S324  # what DDI compares
    assert client.get(url, headers={"If-Match": '"' + "0" * 40 + '"'}).status_code == 412
    assert desk.fetches == []
    for expected in (f'"{sha1}"', sha1, f'"x", "{sha1}"', "*"):
        assert client.get(url, headers={"If-Match": expected}).status_code == 200
    assert client.get(url).headers["etag"] == f'"{sha1}"'


def test_looking_is_not_fetching(client: httpx.Client, desk: MemoryDesk) -> None:
    url = f"{AT}/softwaremodules/100001/artifacts/{FILE}"
    head = client.head(url)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(IMAGE)))
    md5 = hashlib.md5(IMAGE).hexdigest()  # noqa: S324  # what DDI offers
    assert client.get(url + ".MD5SUM").text == f"{md5}  {FILE}\n"
    assert desk.fetches == []


@pytest.mark.parametrize(
    "path",
    [
        f"100002/artifacts/{FILE}",
        "100002/artifacts/edge_computer-9.9.9.swu",
        "100001/artifacts/edge_computer-9.9.9.swu",
        "100001/artifacts/..%2f..%2fetc%2fpasswd",
        "100001/artifacts/%2e%2e",
        "seven/artifacts/x",
    ],
)
def test_only_the_artifact_of_the_open_action(
    client: httpx.Client, desk: MemoryDesk, path: str
) -> None:
    assert client.get(f"{AT}/softwaremodules/{path}").status_code == 404
    assert desk.fetches == []


def test_an_artifact_that_is_lost_may_be_asked_for_later(
    client: httpx.Client, desk: MemoryDesk
) -> None:
    Path(desk.folder, desk.offers[DEVICE].release.sha256).unlink()
    answer = client.get(f"{AT}/softwaremodules/100001/artifacts/{FILE}")
    assert (answer.status_code, desk.fetches) == (503, [])


# ---- who may ask --------------------------------------------------------------------------------


EVERYTHING = [
    ("GET", ""),
    ("GET", "/deploymentBase/100001"),
    ("POST", "/deploymentBase/100001/feedback"),
    ("GET", "/cancelAction/100001"),
    ("POST", "/cancelAction/100001/feedback"),
    ("PUT", "/configData"),
    ("GET", f"/softwaremodules/100001/artifacts/{FILE}"),
    ("GET", f"/softwaremodules/100001/artifacts/{FILE}.MD5SUM"),
    ("HEAD", f"/softwaremodules/100001/artifacts/{FILE}"),
]


@pytest.mark.parametrize(("method", "path"), EVERYTHING)
def test_without_its_own_token_a_machine_gets_nothing(
    client: httpx.Client, desk: MemoryDesk, method: str, path: str
) -> None:
    wrong = [
        "",
        token(DEVICE),
        f"TargetToken {token(OTHER)}",
        f"TargetToken {token(DEVICE)}x",
        f"TargetToken  {token(DEVICE)}",
        f"GatewayToken {token(DEVICE)}",
        f"TargetToken {GATEWAY_TOKEN}",
        f"Bearer {token(DEVICE)}",
        "TargetToken " + "x" * 5000,
        "TargetToken",
        "TargetToken \xe9",
    ]
    unknown = client.request(method, home("nobody") + path, json=feedback("closed", "success"))
    for authorization in wrong:
        headers = {b"Authorization": authorization.encode("latin-1")}
        answer = client.request(
            method, AT + path, headers=headers, json=feedback("closed", "success")
        )
        assert answer.status_code == 401
        assert answer.content == unknown.content, "an unknown machine looks like a wrong token"
    assert (desk.reports, desk.fetches, desk.attributes, desk.polls) == ([], [], {}, [])
    assert [device for device, _ in desk.denials] == ["nobody", *[DEVICE] * len(wrong)]


def test_a_token_opens_only_its_own_machine(client: httpx.Client, desk: MemoryDesk) -> None:
    assert client.get(home(OTHER)).status_code == 401
    desk.tokens[OTHER] = "another"
    assert client.get(home(OTHER), headers={"Authorization": "TargetToken another"}).is_success
    assert client.get(AT).is_success


@pytest.mark.parametrize("scheme", ["TargetToken", "targettoken"])
def test_schemes_have_no_case(client: httpx.Client, scheme: str) -> None:
    answer = client.get(AT, headers={"Authorization": f"{scheme} {token(DEVICE)}"})
    assert answer.status_code == 200


def test_the_gateway_token_opens_all_if_it_is_set(client: httpx.Client, desk: MemoryDesk) -> None:
    headers = {"Authorization": f"GatewayToken {GATEWAY_TOKEN}"}
    assert client.get(home(OTHER), headers=headers).is_success
    desk.gateway_token = ""
    assert client.get(home(OTHER), headers=headers).status_code == 401
    assert client.get(home(OTHER), headers={"Authorization": "GatewayToken"}).status_code == 401


@pytest.mark.parametrize("name", ["Gate-1", "%00", "gate-1%0a", "%e2%80%ae1-etag", "g" * 65])
def test_impossible_names_are_unknown_and_harmless_in_the_log(
    client: httpx.Client, desk: MemoryDesk, name: str
) -> None:
    assert client.get(home(name)).status_code == 401
    ((device, why),) = desk.denials
    assert device.isprintable()
    assert len(device) <= 64
    assert why == "no machine can have this name"
