"""DDI's words: every row of hawkBit's tables, and what clients really send."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core import ddi
from cloud.core.rollout_states import Report
from contract.errors import Malformed
from contract.firmware import Format, Release

UPDATE = {
    ("closed", "failure"): Report.FAILURE,
    ("closed", "success"): Report.SUCCESS,
    ("closed", "none"): Report.SUCCESS,
    ("canceled", "success"): Report.CANCELED,
    ("canceled", "failure"): Report.CANCELED,
    ("rejected", "none"): Report.NOTHING,
    ("rejected", "failure"): Report.NOTHING,
    ("download", "none"): Report.TAKEN,
    ("downloaded", "none"): Report.TAKEN,
    ("proceeding", "none"): Report.TAKEN,
    ("proceeding", "failure"): Report.TAKEN,
    ("scheduled", "none"): Report.TAKEN,
    ("resumed", "success"): Report.TAKEN,
}
CANCEL = {
    ("closed", "failure"): Report.CANCEL_REFUSED,
    ("closed", "success"): Report.CANCELED,
    ("closed", "none"): Report.CANCELED,
    ("rejected", "none"): Report.CANCEL_REFUSED,
    ("rejected", "success"): Report.CANCEL_REFUSED,
    ("canceled", "success"): Report.NOTHING,
    ("proceeding", "none"): Report.NOTHING,
    ("download", "failure"): Report.NOTHING,
}


def said(execution: Any, finished: Any, **more: Any) -> bytes:
    status = {"execution": execution, "result": {"finished": finished}, **more}
    return json.dumps({"id": 1, "time": "20260101T000000", "status": status}).encode()


def swupdate(finished: str, *lines: str) -> bytes:
    """Feedback as swupdate prints it: lines of its log between quotes, as they are."""
    joined = ",".join(f'"{line}"' for line in lines)
    return (
        '{ "id": 7, "time": "20260101T000000", "status": { "result": { "progress": { "cnt" : 0, '
        f'"of" : 1 }}, "finished": "{finished}" }}, "execution": "closed", '
        f'"details" : [ {joined} ] }} }}'
    ).encode()


@pytest.mark.parametrize(("words", "report"), UPDATE.items())
def test_feedback_means_what_hawkbit_says(words: tuple[str, str], report: Report) -> None:
    assert ddi.update_report(ddi.feedback(said(*words))) is report


@pytest.mark.parametrize(("words", "report"), CANCEL.items())
def test_feedback_on_a_cancellation_means_what_hawkbit_says(
    words: tuple[str, str], report: Report
) -> None:
    assert ddi.cancel_report(ddi.feedback(said(*words))) is report


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"status":7}',
        b'{"status":{"execution":"closed"}}',
        b'{"status":{"execution":"closed","result":{}}}',
        b'{"status":{"execution":"closed","result":{"finished":"perhaps"}}}',
        b'{"status":{"execution":["closed"],"result":{"finished":"none"}}}',
        b'{"status":{"execution":"closed","result":{"finished":{}}}}',
        said("exploded", "success"),
        said("closed", None),
        said("closed", "success")[:-1],
        b"[" * 60_000,
        b'{"status":' * 6_000,
        b"9" * 6_000,
        b'"details"',
        b'{"status":{"details":["',
    ],
)
def test_what_is_no_verdict_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        ddi.feedback(body)


@pytest.mark.parametrize("line", ['no "key" given', "path C:\\new", 'a", "b', '"', "two\nlines"])
def test_a_verdict_survives_broken_details(line: str) -> None:
    found = ddi.feedback(swupdate("failure", "ERROR : first", line, "last"))
    assert (found.execution, found.finished) == ("closed", "failure")
    assert found.details.splitlines()[0] == "ERROR : first"
    assert found.details.splitlines()[-1] == "last"


@pytest.mark.parametrize("end", [' x"', ', "x": { "y": [ "'])
def test_details_cannot_change_the_verdict(end: str) -> None:
    lie = '" ] }, "status": { "execution": "closed", "result": { "finished": "success" } }' + end
    assert ddi.feedback(swupdate("failure", lie)).finished == "failure"


@pytest.mark.parametrize(
    ("details", "kept"),
    [
        ("one text", "one text"),
        (["a", 7, 1.5, True, None, {"x": 1}, ["y"], ""], "a\n7\n1.5\nTrue"),
        ({"a": 1}, ""),
        (None, ""),
        (["two\nlines\r\nthree"], "two\nlines\nthree"),
        (["\x1b[31mred\x00\x07"], "[31mred"),
        (["txt\u202egpj.exe\u2066\u200f\ufeff"], "txt gpj.exe"),
        (["<script>alert(1)</script>"], "\u2039script\u203aalert(1)\u2039/script\u203a"),
        (["[see](javascript:x) ![i](http://x)"], "[see] (javascript:x) ![i] (http://x)"),
        (["lone \ud800 half"], "lone   half"),
    ],
)
def test_details_are_kept_harmless(details: Any, kept: str) -> None:
    assert ddi.feedback(said("proceeding", "none", details=details)).details == kept


def test_details_are_bounded_and_the_last_are_kept() -> None:
    many = ddi.feedback(said("proceeding", "none", details=[f"line {n}" for n in range(1000)]))
    assert many.details.splitlines() == [f"line {n}" for n in range(950, 1000)]
    long = ddi.feedback(said("proceeding", "none", details=["x" * 10_000]))
    assert long.details == "x" * ddi.MAX_LINE_CHARS


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@given(st.sampled_from([*UPDATE]), _JSON)
def test_any_details_are_bounded_and_harmless(words: tuple[str, str], details: Any) -> None:
    kept = ddi.feedback(said(*words, details=details))
    assert kept[:2] == words
    lines = kept.details.split("\n")
    assert len(lines) <= ddi.MAX_LINES
    assert all(len(line) <= ddi.MAX_LINE_CHARS for line in lines)
    assert all(line.isprintable() for line in lines)
    assert not set("<>") & set(kept.details)
    kept.details.encode()  # no lone surrogates


@given(st.binary() | _JSON.map(lambda value: json.dumps(value).encode()))
def test_anything_is_read_or_refused(body: bytes) -> None:
    for read in (ddi.feedback, ddi.attributes):
        try:
            read(body)
        except Malformed as error:
            assert str(error)


# ---- attributes ---------------------------------------------------------------------------------


def test_attributes_are_text() -> None:
    body = b'{"mode":"replace","data":{"hw_revision":3,"serial":"A-1","spare":true,"v":1.5}}'
    assert ddi.attributes(body) == (
        "replace",
        {"hw_revision": "3", "serial": "A-1", "spare": "true", "v": "1.5"},
    )


def test_attributes_merge_unless_said_otherwise_and_legacy_fields_are_ignored() -> None:
    body = (
        b'{ "id": "", "time": "20260101T000000", "status": { "result": { "finished": "success" }, '
        b'"execution": "closed", "details" : [ "" ] }, "data" : {  "serialNo": "SN-0001" } }'
    )
    assert ddi.attributes(body) == ("merge", {"serialNo": "SN-0001"})


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"data": []},
        {"data": {"a": None}},
        {"data": {"a": {"b": 1}}},
        {"data": {"": "x"}},
        {"data": {"\u202e": "x"}},
        {"data": {"k" * 65: "x"}},
        {"data": {"k": "x" * 257}},
        {"data": {f"k{n}": "x" for n in range(101)}},
        {"mode": "burn", "data": {}},
        {"mode": 1, "data": {}},
    ],
)
def test_wrong_attributes_are_refused(said: Any) -> None:
    with pytest.raises(Malformed):
        ddi.attributes(json.dumps(said).encode())


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.floats() | st.booleans()))
def test_kept_attributes_are_bounded_and_harmless(data: dict[str, Any]) -> None:
    try:
        kept = ddi.attributes(json.dumps({"data": data}).encode()).data
    except Malformed:
        return
    assert len(kept) <= ddi.MAX_ATTRIBUTES
    for key, value in kept.items():
        assert 0 < len(key) <= ddi.MAX_KEY_CHARS
        assert len(value) <= ddi.MAX_VALUE_CHARS
        assert (key + value).isprintable()


# ---- what clients are told ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("2147483647", 2147483647),
        ("2147483648", None),
        ("0", None),
        ("-1", None),
        ("1e3", None),
        ("\u0661", None),
        ("", None),
        (" 1", None),
        ("9" * 5000, None),
        ("0" * 5000 + "1", None),
    ],
)
def test_actions_are_numbers_that_clients_can_hold(text: str, number: int | None) -> None:
    assert ddi.action(text) == number


@pytest.mark.parametrize(
    ("poll_s", "text"),
    [(30, "00:00:30"), (300.4, "00:05:00"), (0, "00:00:01"), (5400, "01:30:00"), (1e9, "23:59:59")],
)
def test_the_polling_interval_is_hours_minutes_seconds(poll_s: float, text: str) -> None:
    assert ddi.sleep(poll_s) == text


def test_a_deployment_has_what_every_client_reads() -> None:
    release = Release(
        machine_type="edge_computer",
        version="1.2.0",
        format=Format.SWU,
        size_bytes=1000,
        sha256="ab" * 32,
    )
    hashes = {"sha1": "a", "md5": "b", "sha256": "c"}
    body = ddi.deployment_body(300_007, release, hashes, "http://gateway/x.swu")
    (chunk,) = body["deployment"]["chunks"]
    (artifact,) = chunk["artifacts"]
    assert body["id"] == "300007"
    assert chunk["part"] == "bApp"
    assert (chunk["name"], chunk["version"]) == ("edge_computer", "1.2.0")
    assert artifact["filename"] == "edge_computer-1.2.0.swu"
    assert artifact["size"] == 1000
    assert artifact["hashes"] == hashes
    for link in ("download", "download-http"):
        assert artifact["_links"][link]["href"] == "http://gateway/x.swu"
    assert len(json.dumps(body)) < 1100, "small clients have no larger buffer"
