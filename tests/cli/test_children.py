"""Child processes: none outlives its block, and one that fails says why."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from contract.errors import Unreachable
from farfix.children import Children, rss_mb


def write_module(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> str:
    name = f"child_{abs(hash(text)) % 10**9}"
    (folder / f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return name


def alive(pid: int) -> bool:
    return rss_mb(pid) > 0


def test_children_end_with_their_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = write_module(
        tmp_path,
        monkeypatch,
        "import os, time; print(os.getpid(), flush=True); time.sleep(60)",
    )
    with Children(tmp_path / "logs") as children:
        children.start("one", module)
        log = children.log("one")
        children.await_ready("the child", lambda: log.read_text().endswith("\n"), 60)
        children.check()
        pid = int(log.read_text())
        assert alive(pid)
        assert children.peak_rss_mb["one"] > 1
    assert not alive(pid)


def test_a_child_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = write_module(tmp_path, monkeypatch, "raise SystemExit('no such bus')")
    with Children(tmp_path / "logs") as children:
        children.start("one", module)
        with pytest.raises(Unreachable, match="no such bus"):
            children.await_ready("the child", lambda: False, 60)


def test_a_deaf_child_is_ended_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farfix.children.STOP_TIMEOUT_S", 0.3)
    module = write_module(
        tmp_path,
        monkeypatch,
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('deaf', flush=True); time.sleep(60)",
    )
    with Children(tmp_path / "logs") as children:
        children.start("one", module)
        log = children.log("one")
        children.await_ready("the child", lambda: "deaf" in log.read_text(), 60)
        assert children.stop("one") == -9


@pytest.mark.skipif(sys.platform != "linux", reason="asked of the kernel, which only Linux offers")
def test_children_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from farfix.children import Children\n"
        "c = Children(Path(sys.argv[1])); c.start('one', 'http.server', '0')\n"
        "print(c._running['one'].pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -9, done.stderr
    while alive(int(done.stdout)):  # until the test's own limit
        time.sleep(0.05)
