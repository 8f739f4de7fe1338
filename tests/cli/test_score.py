"""`farfix score` as a person and a harness meet it: line by line, file to file, exit codes."""

import csv
import os
import select
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from farfix import compiled
from farfix import score as verb
from farfix.__main__ import main
from models.online import Stream

Floats = NDArray[np.float64]
WARMUP = 120
ANSWER_S = 60


def signals(rows: int = 300) -> Floats:
    x = np.random.default_rng(1).normal(size=(rows, 3))
    x[:, 1] += 2.0 * x[:, 0]
    x[200:, 1] += 6.0
    x[150:155, 2] = np.nan
    return x


def lines(x: Floats, header: str = "time,a,b,c") -> list[str]:
    rows = [",".join([repr(float(i)), *map(repr, row)]) for i, row in enumerate(x.tolist())]
    return [header, *rows]


def expected(x: Floats, warmup: int = WARMUP) -> list[tuple[float, bool]]:
    stream = Stream([f"s{j}" for j in range(x.shape[1])], warmup)
    return [stream.step(float(i), row) for i, row in enumerate(x)]


def run(
    monkeypatch: pytest.MonkeyPatch, *arguments: object, warmup: str | None = str(WARMUP)
) -> int:
    """Run the verb in this process; return its exit code."""
    monkeypatch.delenv("DETECTOR_WARMUP", raising=False)
    if warmup is not None:
        monkeypatch.setenv("DETECTOR_WARMUP", warmup)
    monkeypatch.setattr(sys, "argv", ["farfix", "score", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def batch(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> list[list[str]]:
    (folder / "in.csv").write_text(text)
    assert run(monkeypatch, "--batch", folder / "in.csv", folder / "out.csv") == 0
    with (folder / "out.csv").open(newline="") as stream:
        return list(csv.reader(stream))


class Asked:
    """A running `farfix score`, asked one line after the other."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process, self.stdin, self.stdout = process, process.stdin, process.stdout

    def tell(self, line: str) -> None:
        self.stdin.write(line.encode() + b"\n")
        self.stdin.flush()

    def ask(self, line: str) -> tuple[float, bool]:
        self.tell(line)
        assert select.select([self.stdout], [], [], ANSWER_S)[0], f"no answer to {line!r}"
        score, alarm = self.stdout.readline().decode().strip().split(",")
        assert not select.select([self.stdout], [], [], 0)[0], "answered before it was asked"
        return float(score), alarm == "1"


@contextmanager
def asking(*arguments: str, warmup: int | None = WARMUP) -> Iterator[Asked]:
    env = dict(os.environ) | ({} if warmup is None else {"DETECTOR_WARMUP": str(warmup)})
    with subprocess.Popen(
        [sys.executable, "-m", "farfix", "score", *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
    ) as process:  # fmt: skip
        try:
            yield Asked(process)
        finally:
            process.kill()


def test_every_row_is_answered_before_the_next_is_given() -> None:
    x = signals()
    with asking() as score:
        score.tell("time,a,b,c")
        answers = [score.ask(line) for line in lines(x)[1:]]
        score.stdin.close()
        assert score.process.wait(ANSWER_S) == 0
    assert answers == expected(x)
    assert answers[-1][1]


def test_files_get_the_same_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = signals()
    monkeypatch.setattr(verb, "CHUNK_ROWS", 37)
    table = batch(monkeypatch, tmp_path, "\n".join(lines(x)) + "\n")
    assert table[0] == ["time", "score", "alarm"]
    assert [row[0] for row in table[1:]] == [repr(float(i)) for i in range(len(x))]
    assert [(float(s), a == "1") for _, s, a in table[1:]] == expected(x)


def test_a_lone_signal_is_answered_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = signals()[:, :1]
    x[250] = 30.0
    table = batch(monkeypatch, tmp_path, "\n".join(lines(x, "time,value")))
    assert [(float(s), a == "1") for _, s, a in table[1:]] == expected(x)
    assert table[251][2] == "1"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("nan", ""),
        lambda text: text.replace("nan", " NA "),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("time,a,b,c", '"time", "a" ,b,c'),
        lambda text: text.replace("\n", "\n\n"),
    ],
    ids=["empty", "NA", "CRLF", "BOM", "quotes", "empty lines"],
)
def test_csv_has_many_dialects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: "type[str]"
) -> None:
    x = signals(160)
    text = change("\n".join(lines(x)))
    table = batch(monkeypatch, tmp_path, text)
    assert [(float(s), a == "1") for _, s, a in table[1:]] == expected(x)


@pytest.mark.parametrize("zone", ["", "Z", "+00:00"])
def test_times_may_be_iso_timestamps_and_in_any_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    x = signals(160)
    rows = [
        f"{a!r},2026-01-01 00:{i // 60:02}:{i % 60:02}{zone},{b!r},{c!r}"
        for i, (a, b, c) in enumerate(x.tolist())
    ]
    table = batch(monkeypatch, tmp_path, "\n".join(["a,time,b,c", *rows]))
    assert table[1][0] == f"2026-01-01 00:00:00{zone}"
    assert [(float(s), a == "1") for _, s, a in table[1:]] == expected(x)


BAD = ["", "1,2", "x,1,2,3", "inf,1,2,3", ",1,2,3", "9999,1,2,3,4", '"', "a,b,c,d", "\x00,,,", "é"]


def test_a_malformed_row_gets_the_last_answer_and_is_told() -> None:
    x = signals(160)
    rows = lines(x)[1:]
    with asking() as score:
        score.tell("time,a,b,c")
        answers = []
        for i, line in enumerate(rows):
            answers.append(score.ask(line))
            if i >= 150:
                assert score.ask(BAD[i - 150]) == answers[-1]
        _, error = score.process.communicate()
    assert answers == expected(x)
    told = error.decode()
    assert "line 153: 1 values under 4 column names" in told
    assert "10 faults in all; the first 5 are shown above" in told
    assert "Traceback" not in told


def test_a_word_among_the_numbers_is_a_missing_value_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    x = signals(160)
    text = "\n".join(lines(x)).replace("nan", "ERR")
    table = batch(monkeypatch, tmp_path, text)
    assert [(float(s), a == "1") for _, s, a in table[1:]] == expected(x)
    assert "line 152: c: 'ERR' is no number" in capsys.readouterr().err


def test_malformed_rows_of_a_file_keep_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = lines(signals(160))
    rows = [*good[:141], "7,short", *good[141:], "soon,1,2,3"]
    table = batch(monkeypatch, tmp_path, "\n".join(rows))
    assert len(table) == len(rows)
    assert table[141][1:] == table[140][1:]
    assert [table[141][0], table[-1][0]] == ["7", "soon"]
    assert table[-1][1:] == table[-2][1:]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the first line must name the columns"),
        ("a,b\n1,2\n", "one of them `time`"),
        ("time;a;b\n1;2;3\n", "separated by commas"),
        ("time,time,a\n1,2,3\n", "one of them `time`"),
        ("time\n1\n", "at least one signal column"),
        ("time,a,a\n1,2,3\n", "a name of its own"),
        ("time,a,\n1,2,3\n", "a name of its own"),
    ],
)
def test_a_header_that_makes_no_sense_ends_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    says: str,
) -> None:
    (tmp_path / "in.csv").write_text(text)
    assert run(monkeypatch, "--batch", tmp_path / "in.csv", tmp_path / "out.csv") == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()


def test_lock_step_refuses_a_bad_header_as_well() -> None:
    with asking() as score:
        out, error = score.process.communicate(b"when,a\n1,2\n", timeout=ANSWER_S)
        assert score.process.returncode == 2
    assert not out
    assert b"one of them `time`" in error
    assert b"Traceback" not in error


def test_files_that_cannot_be_used_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "in.csv"
    assert run(monkeypatch, "--batch", file, tmp_path / "out.csv") == 2
    assert "in.csv cannot be read: No such file" in capsys.readouterr().err
    file.write_text("\n".join(lines(signals(20))))
    assert run(monkeypatch, "--batch", file, tmp_path / "no" / "out.csv") == 2
    assert "out.csv cannot be written: No such file" in capsys.readouterr().err
    before = file.read_text()
    assert run(monkeypatch, "--batch", file, file) == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert file.read_text() == before


def test_the_option_goes_before_the_environment_and_a_default_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    x = signals(160)
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("\n".join(lines(x)))
    assert run(monkeypatch, "--warmup", 60, "--batch", source, target) == 0
    scores = [float(line.split(",")[1]) for line in target.read_text().splitlines()[1:]]
    assert scores == [s for s, _ in expected(x, 60)]
    assert not capsys.readouterr().err
    assert run(monkeypatch, "--batch", source, target, warmup=None) == 0
    assert f"first {verb.DEFAULT_WARMUP} rows; --warmup N" in capsys.readouterr().err
    assert run(monkeypatch, "--batch", source, target, warmup="5") == 0
    assert "5 rows asked for, learning from 30" in capsys.readouterr().err
    for wrong in ("soon", "-3", "1.5"):
        assert run(monkeypatch, "--batch", source, target, warmup=wrong) == 2
        assert "DETECTOR_WARMUP is a number of rows" in capsys.readouterr().err
    assert run(monkeypatch, "--warmup", -1) == 2


def test_long_files_tell_how_far_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verb, "CHUNK_ROWS", 50)
    monkeypatch.setattr(verb, "PROGRESS_ROWS", 100)
    batch(monkeypatch, tmp_path, "\n".join(lines(signals(260))))
    told = capsys.readouterr().err
    assert "100 rows done" in told
    assert "200 rows done" in told
    assert "50 rows done" not in told


def test_a_reader_that_goes_away_is_no_crash() -> None:
    with asking() as score:
        score.stdout.close()
        score.tell("time,a,b,c")
        for line in lines(signals(20))[1:]:
            try:
                score.tell(line)
            except BrokenPipeError:
                break
        score.process.stdin = None
        assert score.process.stderr is not None
        score.stdin.close()
        assert score.process.wait(ANSWER_S) != 0
        assert b"Traceback" not in score.process.stderr.read()


def test_compiled_code_finds_a_place_where_nothing_is_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    compiled.find_cache()
    assert "NUMBA_CACHE_DIR" not in os.environ  # this package's folder will do
    assert not compiled._writable(Path("/proc/nowhere"))
    monkeypatch.setattr(compiled, "_writable", lambda _: False)
    compiled.find_cache()
    own = Path(os.environ["NUMBA_CACHE_DIR"])
    assert own.parent == tmp_path
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    compiled.find_cache()
    assert Path(os.environ["NUMBA_CACHE_DIR"]) == own
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    own.chmod(0o777)  # others may have left something to run there
    compiled.find_cache()
    assert Path(os.environ["NUMBA_CACHE_DIR"]) != own
    monkeypatch.delenv("NUMBA_CACHE_DIR")
