"""A gateway that dies while it saves leaves cases whole, and keeps what it had reported."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from cloud.adapters.store import Store

SAVER = """
import sys
from cloud.adapters.rollout_store import Line
from cloud.adapters.store import CaseRow, OutboxRow, Store, TimelineRow
store = Store(sys.argv[1])
for version in range(1, 10**9):
    row = CaseRow(case_id="c1", device="pump-1", phase=f"p{version}", open=True, opened_ns=1,
                  updated_ns=version, version=version, data=str(version).encode() * 500)
    line = TimelineRow(case_id="c1", at_ns=version, kind="note", text=str(version))
    box = OutboxRow(key=f"c1/{version}", case_id="c1", kind="x", payload=b"", due_ns=version)
    said = Line(at_ns=version, by="J. Doe", what="case", text=str(version), device="pump-1")
    store.save(row, version - 1 or None, [line], [box], said)
    print(version, flush=True)
"""


@pytest.mark.parametrize("wait_lines", [1, 40, 120])
def test_a_killed_gateway_leaves_case_timeline_outbox_and_audit_log_in_step(
    database_url: str, settle: Callable[[], None], wait_lines: int
) -> None:
    command = [sys.executable, "-c", SAVER, database_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        heard = [child.stdout.readline() for _ in range(wait_lines)]
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read()
    settle()
    reported = int("".join([*heard, rest[: rest.rfind("\n") + 1]]).split()[-1])
    assert reported >= wait_lines
    store = Store(database_url)
    case = store.open_case("pump-1")
    assert case is not None
    assert case.version >= reported, "what was reported as saved is gone"
    assert (case.phase, case.data) == (f"p{case.version}", str(case.version).encode() * 500)
    versions = list(range(1, case.version + 1))
    assert [int(line.text) for line in store.timeline("c1")] == versions
    assert [row.key for row in store.outbox("c1")] == [f"c1/{v}" for v in versions]
    said = store.updates.audit(limit=case.version + 1, device="pump-1")
    assert [int(line.text) for line in reversed(said)] == versions
    assert store.updates.audit_chain().broken_at is None
    store.close()
