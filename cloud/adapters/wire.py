"""From the bytes of an MQTT stream to arrays of readings, each batch once.

Compiled code (`wire_kernel`) does what is ordinary, and leaves what it does not know for sure to
Python (`wire_slow`), message by message; both give the same rows. A device's messages keep their
order: once one of a group is left to Python, the later ones of the same device are, too.

A stream, and whatever is kept of it, begins with the broker's CONNACK: it tells whether the packets
are MQTT 5 or 3.1.1. A stream without one is 3.1.1.

A message over `MAX_MESSAGE_BYTES` is quarantined with its first 1000 bytes. If it does not fit the
buffer, ``Taken.used`` is larger than the buffer: so many bytes are to be dropped as they come, and
nobody has to keep more than `WHOLE_MAX` bytes to make progress.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cloud.adapters import wire_fast as fast
from cloud.adapters import wire_kernel as kernel
from cloud.adapters import wire_slow as slow
from cloud.adapters.wire_boots import Boots
from cloud.adapters.wire_number import Bytes, Ints, powers
from cloud.core.asset import AssetRow
from cloud.core.intake import Limits
from contract import codec, topics
from contract.errors import Malformed
from contract.machines import MachineType
from contract.telemetry import MAX_TICKS, Ack
from contract.topics import Channel

log = logging.getLogger(__name__)

WHOLE_MAX: Final = codec.MAX_MESSAGE_BYTES + kernel.WHOLE_EXTRA
GROUP_MESSAGES: Final = 2048
"""So many packets are taken at once."""
GROUP_ROWS: Final = 8192
"""So many rows at once fill a group, more or less."""
KEPT_BYTES: Final = 1000
"""So much of a message that is too large is kept."""
FOREVER_NS: Final = 2**63 - 1
CONNACK: Final = {4: b"\x20\x02\x00\x00", 5: b"\x20\x03\x00\x00\x00"}


class Rows(NamedTuple):
    """Readings, one row per instant of a device, in order of arrival."""

    device: NDArray[np.int64]
    """(n,) index into `Reader.devices`."""
    times_ns: NDArray[np.int64]
    """(n,) event time."""
    values: NDArray[np.float64]
    """(n, width) the machine type's signals in their order; NaN: no value."""
    quality: NDArray[np.uint8]
    """(n, width) `contract.telemetry.Quality`; MISSING where nothing came."""
    historical: NDArray[np.bool_]
    """(n,) drained from a spool after an outage."""


class Taken(NamedTuple):
    """What was in a buffer."""

    used: int
    """Bytes done with; more than the buffer has if the rest of a packet is to be dropped."""
    rows: Rows
    packets: bytes
    """The accepted PUBLISH packets byte for byte, behind a CONNACK: what the journal keeps."""
    accepted: int
    repeated: int
    throttled: dict[int, int]
    """Device index: batches that were left with it because it floods."""
    quarantined: list[tuple[str, bytes, str]]
    """Topic, payload and reason; also of accepted batches that hold unknown signals."""
    pubacks: bytes
    """PUBACKs of all PUBLISHes at QoS 1, to be sent after the commit."""
    others: list[bytes]
    """Whole packets that are no PUBLISH."""


class Group(NamedTuple):
    """What one group of packets gave."""

    packets: int
    rows: Rows
    quarantined: list[tuple[str, bytes, str]]


class Asked(NamedTuple):
    """A message that was left to Python, and accepted."""

    message: int
    device: int
    found: slow.Read


class Reader:
    """Reads the telemetry of some devices. Not to be shared by threads."""

    def __init__(
        self,
        assets: Mapping[str, AssetRow],
        machines: Mapping[str, MachineType],
        limits: Limits = Limits(),  # noqa: B008  # immutable
    ) -> None:
        self.devices = sorted(assets)
        self._assets, self._ahead_ns = assets, round(limits.ahead_max_s * 1e9)
        self._columns = [
            slow.columns(machines[assets[device].machine_type]) for device in self.devices
        ]
        self.width = max((len(columns) for columns in self._columns), default=1)
        self._topics = [
            topics.build(assets[device].site, device, Channel.TELEMETRY).encode()
            for device in self.devices
        ]
        kinds = sorted({asset.machine_type for asset in assets.values()})
        self._kinds = [kinds.index(assets[device].machine_type) for device in self.devices]
        self._boots = Boots(self.devices, GROUP_MESSAGES)
        self._spellings = slow.Spellings(self.width)
        self._tables = _tables(self._topics, self._kinds)
        self._pace = np.array([0.0, limits.batches_per_s, limits.burst_batches])
        self._tokens = np.array([(limits.burst_batches, 0.0)] * len(self.devices)).reshape(-1, 2)
        self._powers = powers()
        self._messages = np.zeros((GROUP_MESSAGES, kernel.MESSAGE_COLUMNS), np.int64)
        self._values = np.empty((GROUP_ROWS, self.width))
        self._quality = np.empty((GROUP_ROWS, self.width), np.uint8)
        self._instants = np.empty((GROUP_ROWS, kernel.ROW_COLUMNS), np.int64)
        self._said = np.zeros(kernel.GROUP_FIELDS, np.int64)
        self._said[kernel.LARGEST] = codec.MAX_MESSAGE_BYTES
        self._said[kernel.TICKS_MAX] = MAX_TICKS

    def take(self, data: bytes | bytearray | memoryview, now_ns: int, now_s: float) -> Taken:
        """Read the whole packets at the beginning of a buffer, at most `GROUP_MESSAGES`.

        Args:
            data: what of the stream is not used yet.
            now_ns: plant time.
            now_s: a monotonic clock, for the rate of each device.

        Raises:
            Malformed: what the buffer begins with is no MQTT.
        """
        buf = np.array(np.frombuffer(data, np.uint8))
        self._pace[kernel.NOW_S] = now_s
        group = self._group(buf, kernel.TAKE, now_ns)
        if group.packets == 0 and self._said[kernel.BROKEN]:
            raise Malformed(f"not an MQTT stream: {buf[:20].tobytes()!r}")
        messages = self._messages[: group.packets]
        verdicts = messages[:, kernel.VERDICT]
        accepted = messages[verdicts == kernel.ACCEPTED]
        flooding = messages[verdicts == kernel.THROTTLED, kernel.DEVICE]
        others = messages[verdicts == kernel.OTHER]
        return Taken(
            used=int(self._said[kernel.USED]),
            rows=group.rows,
            packets=_packets(buf, accepted, self._said[kernel.V5]),
            accepted=len(accepted),
            repeated=int(np.count_nonzero(verdicts == kernel.REPEATED)),
            throttled=dict(Counter(flooding.tolist())),
            quarantined=group.quarantined,
            pubacks=_pubacks(messages[:, kernel.ID]),
            others=[buf[m[kernel.START] : m[kernel.END]].tobytes() for m in others],
        )

    def undo(self) -> None:
        """Take back what the last `take` did to positions: the journal did not keep its packets."""
        self._boots.undo()

    def acks(self) -> bytes:
        """Return `Ack` packets at QoS 0 for every boot that moved or repeated something.

        Call it when the journal holds what was taken: each is told once.
        """
        slots, odd = self._boots.clear()
        out, v5 = np.empty(slots.size * kernel.ACK_MAX, np.uint8), self._said[kernel.V5]
        boots, (text, devices, _) = self._boots, self._tables
        size = kernel.acks(boots.rows, boots.text, slots, text, devices, v5, out)
        return out[:size].tobytes() + b"".join(self._ack(*item) for item in odd)

    def replay(self, packets: bytes) -> Rows:
        """Read the journal: the same rows as when it was written; positions follow."""
        return self._again(packets, kernel.REPLAY)

    def rows(self, packets: bytes) -> Rows:
        """Read the journal again: the same rows, and nothing else changes."""
        return self._again(packets, kernel.AGAIN)

    def positions(self) -> bytes:
        """Return what is known of all boots."""
        return self._boots.save()

    def restore(self, data: bytes) -> None:
        """Add what `positions` returned, also of other workers.

        Raises:
            Malformed: it is something else.
        """
        self._boots.restore(data)

    def _again(self, packets: bytes, mode: int) -> Rows:
        buf, live = np.array(np.frombuffer(packets, np.uint8)), self._said[kernel.V5]
        found, self._said[kernel.V5] = [_no_rows(self.width)], 0
        while buf.size:
            group = self._group(buf, mode, FOREVER_NS)
            found.append(group.rows)
            for topic, _, reason in group.quarantined:
                log.warning("the journal holds what cannot be used now: %s: %s", topic, reason)
            if group.packets == 0:
                log.error("the journal holds %d bytes that are no packets", buf.size)
                break
            buf = buf[self._said[kernel.USED] :]
        self._said[kernel.V5] = live
        return Rows(*map(np.concatenate, zip(*found, strict=True)))

    def _group(self, buf: Bytes, mode: int, now_ns: int) -> Group:
        """Read a group; the verdicts stand in ``_messages``."""
        messages = self._messages
        count = self._judge(buf, mode, now_ns)
        asked: list[Asked] = []
        quarantined: list[tuple[str, bytes, str]] = []
        left = np.flatnonzero(messages[:count, kernel.VERDICT] >= kernel.ASK)
        for i, message in zip(left.tolist(), messages[left].tolist(), strict=True):
            topic = buf[message[kernel.TOPIC] : message[kernel.TOPIC_END]].tobytes()
            payload = buf[message[kernel.PAYLOAD] : message[kernel.END]].tobytes()
            reason, verdict = "", kernel.REPEATED
            try:
                found = self._ask(message, topic, payload, now_ns)
            except Malformed as error:
                reason, verdict = str(error), kernel.REFUSED
            else:
                if found is not None:
                    reason, verdict = found.strangers, kernel.ACCEPTED
                    asked.append(Asked(i, message[kernel.DEVICE], found))
            messages[i, kernel.VERDICT] = verdict
            if (reason and mode == kernel.TAKE) or verdict == kernel.REFUSED:
                large = message[kernel.VERDICT] == kernel.TOO_LARGE
                kept = payload[:KEPT_BYTES] if large else payload
                quarantined.append((topic.decode(errors="replace"), kept, reason))
        return Group(count, self._rows(asked), quarantined)

    def _judge(self, buf: Bytes, mode: int, now_ns: int) -> int:
        """Do in compiled code what can be done there; return how many packets there are."""
        said, boots, spellings = self._said, self._boots, self._spellings
        boots.stamp += 1
        if mode != kernel.AGAIN:
            boots.begin()
        said[kernel.MODE], said[kernel.STAMP] = mode, boots.stamp
        said[kernel.LATEST_NS] = min(FOREVER_NS, now_ns + self._ahead_ns)
        said[kernel.TOUCHES] = boots.touches
        count = fast.read(
            buf,
            self._messages,
            kernel.scan(buf, self._messages, said),
            said,
            self._pace,
            self._tokens,
            *self._tables,
            boots.rows,
            boots.text,
            boots.recent,
            boots.moved,
            boots.touched,
            spellings.text,
            spellings.rows,
            spellings.places,
            self._powers,
            self._values,
            self._values.view(np.uint64),
            self._quality,
            self._instants,
        )
        if mode != kernel.AGAIN:
            boots.touches, boots.moves = int(said[kernel.TOUCHES]), int(said[kernel.LOGGED])
        return count

    def _ask(
        self, message: list[int], topic: bytes, payload: bytes, now_ns: int
    ) -> slow.Read | None:
        """Judge a message by the contract; return nothing for one that is repeated."""
        device, mode = message[kernel.DEVICE], self._said[kernel.MODE]
        if message[kernel.VERDICT] == kernel.UNKNOWN:
            raise Malformed(slow.why_unknown(topic.decode(errors="replace"), self._assets))
        if message[kernel.VERDICT] == kernel.TOO_LARGE:
            size = message[kernel.END] - message[kernel.PAYLOAD]
            raise Malformed(f"message of {size} bytes exceeds {codec.MAX_MESSAGE_BYTES} bytes")
        found = slow.read(payload, self._columns[device])
        batch = found.batch
        if batch.boot and batch.sequence and mode != kernel.AGAIN:
            fresh = self._boots.take(device, batch.boot, batch.sequence, batch.oldest)
            if mode == kernel.TAKE:
                self._boots.mark(device, batch.boot)
                if not fresh:
                    return None
        if found.problem:
            raise Malformed(found.problem)
        ahead_ns = batch.times_ns[-1] - now_ns
        if ahead_ns > self._ahead_ns:
            raise Malformed(
                f"its time is {ahead_ns / 1e9:.0f} s ahead of the gateway: check the sender's clock"
            )
        if not found.strangers:
            self._learn(device, payload, found)
        return found

    def _learn(self, device: int, payload: bytes, found: slow.Read) -> None:
        key = slow.spelling(payload, found.batch.signals)
        known = key is None or self._spellings.learn(self._kinds[device], key, found.columns)
        if not known:
            self._tables[1][:, kernel.SPELLED] = -1

    def _rows(self, asked: list[Asked]) -> Rows:
        """Return the rows of compiled code and of Python in order of arrival."""
        n, instants = int(self._said[kernel.ROWS]), self._instants
        rows = Rows(
            instants[:n, kernel.DEVICE_OF].copy(),
            instants[:n, kernel.TIME].copy(),
            self._values[:n].copy(),
            self._quality[:n].copy(),
            instants[:n, kernel.HISTORICAL_OF] != 0,
        )
        if not asked:
            return rows
        batches = [(item, item.found.batch) for item in asked]
        ticks = [len(batch.times_ns) for _, batch in batches]
        found = [slow.rows(item.found, self.width) for item in asked]
        quality = np.frombuffer(b"".join(marks for _, marks in found), np.uint8)
        late = Rows(
            np.repeat(np.array([item.device for item in asked]), ticks),
            np.array([time_ns for _, batch in batches for time_ns in batch.times_ns]),
            np.array([row for values, _ in found for row in values], float),
            quality.reshape(-1, self.width),
            np.repeat(np.array([batch.historical for _, batch in batches]), ticks),
        )
        messages = (
            instants[:n, kernel.MESSAGE_OF],
            np.repeat([item.message for item in asked], ticks),
        )
        order = np.argsort(np.concatenate(messages), kind="stable")
        parts = [rows, late]
        return Rows(*(np.concatenate(part)[order] for part in zip(*parts, strict=True)))

    def _ack(self, device: int, boot: str, sequence: int) -> bytes:
        topic = self._topics[device].removesuffix(b"telemetry") + b"ack"
        ack = codec.encode(Ack(boot=boot, sequence=sequence))
        properties = b"\0" if self._said[kernel.V5] else b""
        body = len(topic).to_bytes(2) + topic + properties + ack
        return b"\x30" + length(len(body)) + body


def length(number: int) -> bytes:
    """Write a packet's remaining length."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def _no_rows(width: int) -> Rows:
    none = np.empty(0, np.int64)
    values, quality = np.empty((0, width)), np.empty((0, width), np.uint8)
    return Rows(none, none, values, quality, np.empty(0, np.bool_))


def _packets(buf: Bytes, accepted: Ints, v5: int) -> bytes:
    """Put the accepted packets together; those that stand side by side in one piece."""
    if not len(accepted):
        return b""
    starts, ends = accepted[:, kernel.START], accepted[:, kernel.END]
    gaps = np.flatnonzero(starts[1:] != ends[:-1])
    begins = [int(starts[0]), *starts[gaps + 1].tolist()]
    pieces = zip(begins, [*ends[gaps].tolist(), int(ends[-1])], strict=True)
    return CONNACK[5 if v5 else 4] + b"".join(buf[i:j].tobytes() for i, j in pieces)


def _pubacks(ids: Ints) -> bytes:
    ids = ids[ids > 0]
    found = np.empty((ids.size, 4), np.uint8)
    found[:, 0], found[:, 1] = 0x40, 2
    found[:, 2], found[:, 3] = ids >> 8, ids & 255
    return found.tobytes()


def _tables(names: list[bytes], kinds: list[int]) -> tuple[Bytes, Ints, Ints]:
    """Return topics, devices and the hash table that finds a device by its topic."""
    text = np.zeros((len(names), max(map(len, names), default=1)), np.uint8)
    devices = np.full((len(names), kernel.DEVICE_COLUMNS), -1, np.int64)
    for d, name in enumerate(names):
        text[d, : len(name)] = np.frombuffer(name, np.uint8)
        devices[d, [kernel.TOPIC_SIZE, kernel.MACHINE]] = len(name), kinds[d]
    places = np.full(1 << max(4, (2 * len(names)).bit_length()), -1, np.int64)
    kernel.index(text, devices, places)
    return text, devices, places
