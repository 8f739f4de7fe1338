"""Telemetry in InfluxDB: line protocol out, InfluxQL back.

`v1` speaks the dialect of InfluxDB 1.x, which 2.x and 3 understand as well: ``POST /write`` and
``/query``. `v2` writes through influxdb-client to ``/api/v2/write`` and reads by the same
``/query``, for which a bucket of 2.x needs a mapping from database to bucket.
"""

# ruff: noqa: S608 (`identifier` and `literal` quote whatever goes into a query)

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

import httpx
import msgspec
import numpy as np
import urllib3.exceptions
from influxdb_client.client.exceptions import InfluxDBError
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException
from numpy.typing import NDArray

from cloud.adapters import series
from cloud.adapters.mqtt import tls_context
from cloud.adapters.series import Frame, Points, Rejected
from contract.errors import Unreachable

TIMEOUT_S = 10.0
LINES_MAX = 5000
"""Lines in one request: InfluxDB answers within 0.1 s and gains nothing from more."""
REASON_MAX = 300
REFUSALS = (400, 413)
"""Some rows are wrong; the request is too large. Everything else concerns no row."""

Send = Callable[[str, bytes], str]
"""Writes lines to a database, which it makes if it is missing.

Returns why the server refuses some of the lines, or nothing. Raises Unreachable.
"""
_NUMBERS = msgspec.json.Encoder()
"""Writes floats as short as they can be read back exactly, and several at a time."""


def encode(frame: Frame) -> list[bytes]:
    """Return rows that passed `series.sift` as lines of the line protocol."""
    names = set(zip(frame.devices, frame.sites, strict=True))
    known = {pair: _head(frame.measurement, *pair) for pair in names}
    heads = [known[pair] for pair in zip(frame.devices, frame.sites, strict=True)]
    gaps = np.isnan(frame.values)
    if not gaps.any():
        return _alike(heads, frame.fields, frame.values, frame.times_ns)
    lines = [b""] * len(heads)
    patterns, which = np.unique(np.packbits(gaps, axis=1), axis=0, return_inverse=True)
    for pattern in range(len(patterns)):
        rows = np.flatnonzero(which == pattern)
        filled = np.flatnonzero(~gaps[rows[0]])
        fields = tuple(frame.fields[i] for i in filled.tolist())
        places = rows.tolist()
        own = [heads[i] for i in places]
        values, times_ns = frame.values[np.ix_(rows, filled)], frame.times_ns[rows]
        for place, line in zip(places, _alike(own, fields, values, times_ns), strict=True):
            lines[place] = line
    return lines


def _alike(
    heads: list[bytes],
    fields: tuple[str, ...],
    values: NDArray[np.float64],
    times_ns: NDArray[np.int64],
) -> list[bytes]:
    """Return the lines of rows that all have all these fields."""
    pairs = b",".join(_escaped(name).encode().replace(b"%", b"%%") + b"=%b" for name in fields)
    line = b"%b " + pairs + b" %d"
    numbers = _NUMBERS.encode(values.ravel().tolist())[1:-1].split(b",")
    columns = [numbers[i :: len(fields)] for i in range(len(fields))]
    return [line % row for row in zip(heads, *columns, times_ns.tolist(), strict=True)]


@lru_cache(maxsize=65536)  # the same devices come in every frame
def _head(measurement: str, device: str, site: str) -> bytes:
    name = measurement.replace(",", "\\,").replace(" ", "\\ ")
    return f"{name},device={_escaped(device)},site={_escaped(site)}".encode()


def _escaped(name: str) -> str:
    return name.replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")


def beside(database: str) -> str:
    """Return the database that keeps for good what telemetry's database would forget."""
    return f"{database}_service"


def identifier(name: str) -> str:
    """Return a name as InfluxQL takes it for a measurement or field."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def literal(text: str) -> str:
    """Return a text as InfluxQL takes it for a value."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


class InfluxSeries:
    """Rows in an InfluxDB. Made by `v1` or `v2`; may be called from any thread."""

    def __init__(
        self, client: httpx.Client, database: str, send: Send, close_sender: Callable[[], None]
    ) -> None:
        self._client, self._database, self._send = client, database, send
        self._close_sender = close_sender

    def close(self) -> None:
        """Close the connections."""
        self._close_sender()
        self._client.close()

    def write(self, frames: Sequence[Frame]) -> Rejected:
        """See `series.Series.write`."""
        good, rejected = series.sift(frames)
        lines = [line for frame in good for line in encode(frame)]
        ends = list(accumulate(len(frame.devices) for frame in good))
        for start in range(0, len(lines), LINES_MAX):
            end = min(start + LINES_MAX, len(lines))
            for i, reason in self._write(self._database, lines, start, end):
                which = bisect_right(ends, i)
                frame = good[which]
                rejected.append((series.row(frame, i - ends[which] + len(frame.devices)), reason))
        return rejected

    def write_lines(self, lines: list[bytes], *, for_good: bool) -> list[tuple[int, str]]:
        """Write lines of the line protocol, at most `LINES_MAX`, that are no telemetry.

        Args:
            lines: to be written.
            for_good: into the database `beside` that of telemetry, which forgets nothing.

        Returns:
            Which of them will never be taken, and why.

        Raises:
            Unreachable: the same call may work later, and repeating it does no harm.
        """
        database = beside(self._database) if for_good else self._database
        return list(self._write(database, lines, 0, len(lines)))

    def _write(
        self, database: str, lines: list[bytes], start: int, end: int
    ) -> Iterator[tuple[int, str]]:
        """Write lines and find out by halving which of them the server refuses.

        It keeps the others of a request, and takes them again without harm. A refused line costs
        at most two requests for each time that the lines can be halved.
        """
        reason = self._send(database, b"\n".join(lines[start:end]))
        if not reason:
            return
        dropped = re.search(r"dropped=(\d+)", reason)
        if end - start == 1 or (dropped and int(dropped[1]) == end - start):
            yield from ((i, reason) for i in range(start, end))
            return
        middle = (start + end) // 2
        yield from self._write(database, lines, start, middle)
        yield from self._write(database, lines, middle, end)

    def read(  # noqa: PLR0917 (the port's order)
        self,
        measurement: str,
        device: str,
        fields: list[str],
        from_ns: int,
        to_ns: int,
        max_points: int,
    ) -> Points:
        """See `series.Series.read`."""
        if not fields or to_ns <= from_ns:
            return Points([], {name: [] for name in fields})
        scope = (
            f"FROM {identifier(measurement)} WHERE {identifier('device')} = {literal(device)}"
            f" AND time >= {from_ns} AND time < {to_ns}"
        )
        columns = ", ".join(f"{identifier(name)} AS c{i}" for i, name in enumerate(fields))
        rows = self._rows(f"SELECT {columns} {scope} LIMIT {max_points + 1}")
        if len(rows) > max_points:
            span = series.bucket_ns(from_ns, to_ns, max_points)
            means = ", ".join(f"mean({identifier(n)}) AS c{i}" for i, n in enumerate(fields))
            group = f"GROUP BY time({span}ns, {from_ns % span}ns) fill(none)"
            rows = self._rows(f"SELECT {means} {scope} {group}")
        found = {name: [row[f"c{i}"] for _, row in rows] for i, name in enumerate(fields)}
        return Points([time_ns for time_ns, _ in rows], found)

    def last(self, measurement: str, device: str) -> dict[str, float]:
        """See `series.Series.last`."""
        newest = (
            f"SELECT *::field FROM {identifier(measurement)}"
            f" WHERE {identifier('device')} = {literal(device)} ORDER BY time DESC LIMIT 1"
        )
        for _, row in self._rows(newest):
            return {name: value for name, value in row.items() if value is not None}
        return {}

    def _rows(self, query: str) -> list[tuple[int, dict[str, float | None]]]:
        """Return time and values of each row that a query finds."""
        parameters = {"db": self._database, "epoch": "ns", "q": query}
        result = _post(self._client, "/query", data=parameters).json()["results"][0]
        problem = result.get("error", "")
        if problem.startswith("database not found"):
            return []  # the first write creates it
        if problem:
            raise Unreachable(f"InfluxDB cannot answer {query[:200]}: {problem}")
        return [
            (time_ns, dict(zip(found["columns"][1:], map(_number, values), strict=True)))
            for found in result.get("series", [])
            for time_ns, *values in found["values"]
        ]


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)  # whole numbers come without a point


def v1(
    url: str,
    database: str,
    token: str = "",
    *,
    ca_file: Path | None = None,
) -> InfluxSeries:
    """Use an InfluxDB by the dialect of 1.x.

    Args:
        url: ``http://host:port``.
        database: created by the first write if need be.
        token: for 1.8 and later.
        ca_file: certificates to believe with ``https``; those of the system by default.
    """
    client = _client(url, token, ca_file)

    def send(target: str, lines: bytes) -> str:
        parameters = {"db": target, "precision": "ns"}
        passing = (*REFUSALS, 404)
        answer = _post(client, "/write", params=parameters, content=lines, passing=passing)
        if answer.status_code == 404:  # no such database; only 1.x can create it by a query
            create = {"q": f"CREATE DATABASE {identifier(target)}"}
            made = _post(client, "/query", data=create, passing=(401, 403))
            if not made.is_success:
                raise Unreachable(_missing(target, _reason(made.text)))
            answer = _post(client, "/write", params=parameters, content=lines, passing=REFUSALS)
        return _reason(answer.text) if answer.status_code in REFUSALS else ""

    return InfluxSeries(client, database, send, client.close)


def v2(url: str, bucket: str, org: str, token: str, ca_file: Path | None = None) -> InfluxSeries:
    """Use an InfluxDB 2 by its own client; a bucket is mapped for ``/query`` by its name.

    Args:
        url: ``http://host:port``.
        bucket: where rows go; also the database name of its mapping for reading.
        org: the bucket's organisation.
        token: may write and read the bucket.
        ca_file: certificates to believe with ``https``; those of the system by default.
    """
    known = str(ca_file) if ca_file else None
    timeout_ms = round(TIMEOUT_S * 1000)
    client = InfluxDBClient(url, token, org=org, timeout=timeout_ms, ssl_ca_cert=known)
    writer = client.write_api(write_options=SYNCHRONOUS)

    def send(target: str, lines: bytes) -> str:
        try:
            try:
                writer.write(target, org, lines)  # in ns unless told otherwise
            except ApiException as error:
                if error.status != 404:
                    raise
                _make_bucket(client, target, org)
                writer.write(target, org, lines)
        except ApiException as error:
            if error.status not in REFUSALS:
                raise Unreachable(f"InfluxDB answers {error.status} {error.reason}") from error
            return _reason(str(error.body))
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"InfluxDB does not answer: {error}") from error
        return ""

    return InfluxSeries(_client(url, token, ca_file), bucket, send, client.close)


def _make_bucket(client: InfluxDBClient, bucket: str, org: str) -> None:
    try:
        client.buckets_api().create_bucket(bucket_name=bucket, org=org)
    except ApiException as error:
        reason = f"{error.status} {error.reason}"
        raise Unreachable(_missing(bucket, reason)) from error
    except InfluxDBError as error:  # no such organisation, or no InfluxDB 2 at all
        raise Unreachable(_missing(bucket, f"404, {error}")) from error


def _missing(database: str, reason: str) -> str:
    return (
        f"InfluxDB has no database {database} and does not let the gateway make it ({reason}): "
        "run `farfix store init`"
    )


def _client(url: str, token: str, ca_file: Path | None) -> httpx.Client:
    headers = {"Authorization": f"Token {token}"} if token else {}
    known = tls_context(ca_file) if url.startswith("https:") else True
    return httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, verify=known)


def _post(
    client: httpx.Client,
    path: str,
    *,
    params: dict[str, str] | None = None,
    data: dict[str, str] | None = None,
    content: bytes | None = None,
    passing: tuple[int, ...] = (),
) -> httpx.Response:
    """Post and return an answer that is a success or one of those that the caller judges."""
    try:
        answer = client.post(path, params=params, data=data, content=content)
    except httpx.HTTPError as error:
        raise Unreachable(f"InfluxDB at {client.base_url} does not answer: {error}") from error
    if answer.is_success or answer.status_code in passing:
        return answer
    raise Unreachable(
        f"InfluxDB at {client.base_url} answers {answer.status_code}: {_reason(answer.text)}"
    )


def _reason(body: str) -> str:
    return body.strip()[:REASON_MAX] or "the server gives no reason"
