"""The stream's packets, compiled: where each begins, what stands before its payload, and the acks.

Here are also the columns of all arrays that compiled code shares with Python. All accesses are
checked: hostile bytes may be misunderstood, but never reach memory that they should not.
"""

from typing import Final

import numpy as np

from cloud.adapters.wire_number import Bytes, Ints, at, compiled

COMPILED_WITH: Final = 0x41CF2879
"""CRC-32 of the file above: numba keeps compiled code until *this* file changes; a test compares.
"""
WHOLE_EXTRA: Final = 70_000
"""A PUBLISH may be longer by this than the largest message: topic of at most 64 kB, a few bytes.
Of one that is longer still, so much is awaited before it is judged."""

# columns of a message
START, END, TOPIC, TOPIC_END, PAYLOAD, ID, VERDICT, DEVICE = range(8)
MESSAGE_COLUMNS: Final = 8
# verdicts on a message; those from ASK on are left to Python
ACCEPTED, REPEATED, THROTTLED, OTHER, REFUSED, ASK, UNKNOWN, TOO_LARGE = range(8)
# columns of a device
TOPIC_SIZE, MACHINE, SPELLED, ASKED = range(4)
DEVICE_COLUMNS: Final = 4
# columns of a boot; the last four hold the ASCII of its name
CONTIGUOUS, STAMPED, MARKED, GAP, NAME_SIZE, OWNER, NAME = range(7)
BOOT_COLUMNS: Final = NAME + 4
# columns of a spelling; then the column of each of its signals
KIND, OFFSET, SIZE, SIGNALS, COLUMN = range(5)
# columns of a row
TIME, DEVICE_OF, HISTORICAL_OF, MESSAGE_OF = range(4)
ROW_COLUMNS: Final = 4
# what packets are read for: from the plant, from the journal, from the journal once more
TAKE, REPLAY, AGAIN = range(3)
# what a group is told: protocol, purpose, number, latest time, bounds
V5, MODE, STAMP, LATEST_NS, LARGEST, TICKS_MAX = range(6)
# what it tells: bytes used, whether no MQTT follows, rows, positions moved, boots touched
USED, BROKEN, ROWS, LOGGED, TOUCHES = range(6, 11)
# what is known of the message under way
TICKS, SEQUENCE, BOOT, BOOT_SIZE, HISTORICAL, SPELLING = range(11, 17)
GROUP_FIELDS: Final = 17
# how fast a device may send
NOW_S, PER_S, BURST = range(3)
# what a device may still send, and when that was counted
TOKENS, COUNTED_S = range(2)
ACK_MAX: Final = 320
"""No acknowledgement is longer: topic, boot, number, and what stands between."""

_ACK, _BEFORE_BOOT, _BEFORE_SEQUENCE, _END = (
    np.frombuffer(text, np.uint8) for text in (b"ack", b'{"v":1,"boot":"', b'","sequence":', b"}")
)
_FNV_BASIS: Final = np.uint64(0xCBF29CE484222325)
_FNV_PRIME: Final = np.uint64(0x100000001B3)
_ONE: Final = np.uint64(1)
_TELEMETRY, _FRAME = len("telemetry"), _BEFORE_BOOT.size + _BEFORE_SEQUENCE.size + _END.size
_OURS: Final = 0b1110_1010_0001_0100
"""Packet types, but PUBLISH, that a broker sends to a client that never uses QoS 2."""


@compiled
def _length(buf: Bytes, i: int) -> tuple[int, int]:
    """Read a variable-length number: value and place behind it; value -1: to come, -2: nonsense."""
    value = 0
    for k in range(4):
        if i + k >= buf.size:
            return -1, 0
        byte = at(buf, i + k)
        value |= (byte & 127) << (7 * k)
        if byte < 128:
            return value, i + k + 1
    return -2, 0


@compiled
def scan(buf: Bytes, messages: Ints, group: Ints) -> int:
    """Find the whole packets at the beginning of a buffer.

    Args:
        buf: bytes of the stream, beginning with a packet.
        messages: where packets are told, a row each.
        group: ``USED`` is set to the bytes that the packets take, ``BROKEN`` to whether what
            follows is no MQTT; ``V5`` tells the protocol and follows the CONNACKs that come by.

    Returns:
        How many packets there are. The last one may reach beyond the buffer if it is too large.
    """
    i, n = 0, 0
    group[BROKEN] = 0
    while n < messages.shape[0] and i < buf.size:
        length, body = _length(buf, i + 1)
        if length < 0:
            group[BROKEN] = length == -2
            break
        kind, flags, end = at(buf, i) >> 4, at(buf, i) & 15, body + length
        if kind != 3 and ((_OURS >> kind) & 1 == 0 or flags != 0 or length > WHOLE_EXTRA):
            group[BROKEN] = 1
            break
        if end > buf.size and (
            length <= group[LARGEST] + WHOLE_EXTRA or buf.size - i < WHOLE_EXTRA
        ):
            break
        messages[n, START], messages[n, END], messages[n, ID] = i, end, 0
        messages[n, VERDICT] = OTHER
        if kind == 3 and not _publish(buf, body, end, flags, group, messages, n):
            group[BROKEN] = 1
            break
        if kind == 2:
            group[V5] = length > 2
        i = end
        n += 1
    group[USED] = i
    return n


@compiled
def _publish(  # noqa: PLR0917  # jitted: arrays one by one
    buf: Bytes, body: int, end: int, flags: int, group: Ints, messages: Ints, n: int
) -> bool:
    """Take a PUBLISH apart; false if it is none, or at QoS 2, which nobody asked for."""
    qos = (flags >> 1) & 3
    if qos > 1 or body + 2 > end:
        return False
    i = body + 2 + (at(buf, body) << 8) + at(buf, body + 1)
    messages[n, TOPIC], messages[n, TOPIC_END] = body + 2, i
    if i + 2 * qos > end:
        return False
    if qos == 1:
        messages[n, ID] = (at(buf, i) << 8) + at(buf, i + 1)
        if messages[n, ID] == 0:
            return False
        i += 2
    if group[V5] != 0:
        length, i = _length(buf, i)
        i += length
        if length < 0 or i > end:
            return False
    messages[n, PAYLOAD] = i
    large = end - i > group[LARGEST] or end - body > group[LARGEST] + WHOLE_EXTRA
    messages[n, VERDICT] = TOO_LARGE if large else ASK
    return True


@compiled
def hashed(data: Bytes, begin: int, end: int) -> int:
    """Return FNV-1a of some bytes, not negative."""
    value = _FNV_BASIS
    for i in range(begin, end):
        value = (value ^ np.uint64(data[i])) * _FNV_PRIME
    return np.int64(value >> _ONE)  # type: ignore[return-value]


@compiled
def index(topics: Bytes, devices: Ints, places: Ints) -> None:
    """Fill the hash table of the devices' topics; its size is a power of two, with places free."""
    places[:] = -1
    for d in range(devices.shape[0]):
        place = hashed(topics[d], 0, devices[d, TOPIC_SIZE]) & (places.size - 1)
        while places[place] >= 0:
            place = (place + 1) & (places.size - 1)
        places[place] = d


@compiled
def find(  # noqa: PLR0917  # jitted: arrays one by one
    buf: Bytes, begin: int, end: int, topics: Bytes, devices: Ints, places: Ints
) -> int:
    """Return the device of a topic, -1 for an unknown one."""
    place = hashed(buf, begin, end) & (places.size - 1)
    while places[place] >= 0:
        d = int(places[place])
        if devices[d, TOPIC_SIZE] == end - begin:
            j = 0
            while j < end - begin and topics[d, j] == buf[begin + j]:
                j += 1
            if j == end - begin:
                return d
        place = (place + 1) & (places.size - 1)
    return -1


@compiled
def _put(out: Bytes, i: int, word: Bytes) -> int:
    for j in range(word.size):
        out[i + j] = word[j]
    return i + word.size


@compiled
def _digits(number: int) -> int:
    size = 1
    while number > 9:
        size, number = size + 1, number // 10
    return size


@compiled
def acks(  # noqa: PLR0917  # jitted: arrays one by one
    boots: Ints, names: Bytes, touched: Ints, topics: Bytes, devices: Ints, v5: int, out: Bytes
) -> int:
    """Write an `Ack` at QoS 0 for every boot that is touched and whose name is plain.

    Returns:
        How many bytes were written.
    """
    i = 0
    for k in range(touched.size):
        b = touched[k]
        if boots[b, NAME_SIZE] > 0:
            size = devices[boots[b, OWNER], TOPIC_SIZE] - _TELEMETRY + _ACK.size
            digits = _digits(boots[b, CONTIGUOUS])
            length = 2 + size + v5 + boots[b, NAME_SIZE] + digits + _FRAME
            out[i], out[i + 1] = 0x30, length
            if length > 127:
                out[i + 1], out[i + 2] = (length & 127) | 128, length >> 7
                i += 1
            out[i + 2], out[i + 3] = size >> 8, size & 255
            i = _put(out, i + 4, topics[boots[b, OWNER], : size - _ACK.size])
            i = _put(out, i, _ACK)
            if v5 != 0:
                out[i] = 0
            i = _put(out, i + v5, _BEFORE_BOOT)
            i = _put(out, i, names[b, 8 * NAME : 8 * NAME + boots[b, NAME_SIZE]])
            i = _put(out, i, _BEFORE_SEQUENCE) + digits
            rest = boots[b, CONTIGUOUS]
            for j in range(digits):
                out[i - 1 - j] = 48 + rest % 10
                rest //= 10
            i = _put(out, i, _END)
    return i
