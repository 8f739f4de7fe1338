"""PUBLISH packets by the thousand, far cheaper than anybody can read them; and acks, read as fast.

Packets are exactly what an edge agent sends: `contract` makes topic and payload once, the compiled
code below puts in what differs from message to message. Numbering and acknowledgement are the
agent's too: every device counts its batches, ``oldest`` is what has not been acknowledged yet.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from contract import codec, topics
from contract.telemetry import TelemetryBatch
from tests.bench import path_machines
from tests.bench.path_machines import LEVELS, POOL_ROWS

SITE = "bench"
BOOT_DEVICES = 32
"""So many devices stand behind one agent, and share its boot."""
PACKET_MAX = 4096
ACK_TAIL = len("-000000/ack")
Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]


class Template(NamedTuple):
    """A fleet's messages, but for what changes: all bytes in one array, and where each lies."""

    text: Bytes
    parts: Numbers
    """Begin and end of: what stands before the time, after it, after the values, after the boot,
    after the sequence, after ``oldest``."""
    rows: Numbers
    topics: Numbers
    boots: Numbers


def device(number: int) -> str:
    """Return a device's name."""
    return f"bench-{number:06}"


def template(type_name: str, devices: int, run: str) -> Template:
    """Prepare the messages of a fleet; ``run`` (8 letters) begins the name of every boot."""
    kind = path_machines.machine(type_name)
    names = [signal.name for signal in kind.signals]
    time, boot, sequence, oldest = 1_111_111_111_111_111_111, "b" * 16, 2_222_222, 3_333_333
    sample = codec.encode(
        TelemetryBatch(
            signals=names, times_ns=[time], values=[[0.25] * len(names)], boot=boot,
            sequence=sequence, oldest=oldest,
        )
    )  # fmt: skip
    marks = [str(time), str([0.25] * len(names)).replace(" ", ""), boot, str(sequence), str(oldest)]
    pieces = []
    for mark in marks:
        before, found, sample = sample.partition(mark.encode())
        if not found:
            raise ValueError(f"the contract writes {mark} in another way")
        pieces.append(before)
    pieces.append(sample)
    values = path_machines.values(kind)
    boots = [f"{run:0<8}{k:08}".encode() for k in range(-(-devices // BOOT_DEVICES))]
    named = [
        topics.build(SITE, device(k), topics.Channel.TELEMETRY).encode() for k in range(devices)
    ]
    text, starts = b"", []
    for group in (pieces, named, boots):
        starts.append(np.cumsum([len(text), *map(len, group)]))
        text += b"".join(group)
    rows = np.array(values.starts) + len(text)
    text += values.text
    return Template(np.frombuffer(text, np.uint8), starts[0], rows, starts[1], starts[2])


@njit(cache=True)
def _digits(number: int) -> int:
    count = 1
    while number >= 10:
        number //= 10
        count += 1
    return count


@njit(cache=True)
def _write(out: Bytes, at: int, number: int) -> int:
    end = at + _digits(number)
    k = end
    while k > at:
        k -= 1
        out[k] = 48 + number % 10
        number //= 10
    return end


@njit(cache=True)
def _copy(out: Bytes, at: int, text: Bytes, begin: int, end: int) -> int:
    for k in range(end - begin):
        out[at + k] = text[begin + k]
    return at + end - begin


@njit(cache=True)
def fill(  # noqa: PLR0917 - compiled code takes arrays one by one
    out: Bytes,
    text: Bytes,
    parts: Numbers,
    rows: Numbers,
    topics: Numbers,
    boots: Numbers,
    sent: Numbers,
    acked: Numbers,
    first: int,
    count: int,
    now_ns: int,
    qos: int,
) -> int:
    """Write the messages number ``first`` and following; return how many bytes they take.

    Devices take turns. Times are one nanosecond apart, so that they always increase.
    """
    at = 0
    per_level = POOL_ROWS // LEVELS
    for i in range(first, first + count):
        d = i % len(sent)
        sent[d] += 1
        chance = (i * 6364136223846793005 + 1442695040888963407) >> 33
        row = (d % LEVELS) * per_level + chance % per_level
        boot = d // BOOT_DEVICES
        topic = topics[d + 1] - topics[d]
        size = 2 + topic + (2 if qos else 0) + (parts[6] - parts[0]) + 19 + 16
        size += rows[row + 1] - rows[row] + _digits(sent[d]) + _digits(acked[d] + 1)
        out[at] = 0x32 if qos else 0x30
        out[at + 1] = 0x80 | (size & 0x7F)
        out[at + 2] = size >> 7
        out[at + 3] = topic >> 8
        out[at + 4] = topic & 0xFF
        at = _copy(out, at + 5, text, topics[d], topics[d + 1])
        if qos:
            packet_id = 1 + i % 65535
            out[at] = packet_id >> 8
            out[at + 1] = packet_id & 0xFF
            at += 2
        at = _copy(out, at, text, parts[0], parts[1])
        at = _write(out, at, now_ns + i - first)
        at = _copy(out, at, text, parts[1], parts[2])
        at = _copy(out, at, text, rows[row], rows[row + 1])
        at = _copy(out, at, text, parts[2], parts[3])
        at = _copy(out, at, text, boots[boot], boots[boot + 1])
        at = _copy(out, at, text, parts[3], parts[4])
        at = _write(out, at, sent[d])
        at = _copy(out, at, text, parts[4], parts[5])
        at = _write(out, at, acked[d] + 1)
        at = _copy(out, at, text, parts[5], parts[6])
    return at


@njit(cache=True)
def read_acks(data: Bytes, size: int, acked: Numbers, found: Numbers) -> int:
    """Take what the broker sent; return how many bytes were whole packets.

    ``found`` counts: messages newly acknowledged, PUBACKs, packets that are neither.
    """
    at = 0
    while at + 2 <= size:
        length, width, k = 0, 1, at + 1
        while k < size and data[k] & 0x80 and width < 4:
            length |= (data[k] & 0x7F) << (7 * (width - 1))
            width += 1
            k += 1
        if k >= size:
            break
        length |= data[k] << (7 * (width - 1))
        end = k + 1 + length
        if end > size:
            break
        if data[at] >> 4 == 4:
            found[1] += 1
        elif data[at] >> 4 == 3:
            _one_ack(data, k + 1, end, acked, found)
        else:
            found[2] += 1
        at = end
    return at


@njit(cache=True)
def _one_ack(data: Bytes, begin: int, end: int, acked: Numbers, found: Numbers) -> None:
    topic_end = begin + 2 + (data[begin] << 8 | data[begin + 1])
    device = 0
    for k in range(topic_end - 10, topic_end - 4):
        device = 10 * device + data[k] - 48
    sequence, factor, k = 0, 1, end - 2  # the last byte closes the object
    while 48 <= data[k] <= 57:
        sequence += factor * (data[k] - 48)
        factor *= 10
        k -= 1
    if sequence > acked[device]:
        found[0] += sequence - acked[device]
        acked[device] = sequence
