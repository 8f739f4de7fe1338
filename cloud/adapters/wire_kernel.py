"""What a worker does with every message, compiled: bytes of an MQTT stream to arrays.

Whatever this file does not know for sure it leaves to `cloud.adapters.wire`, which asks msgspec and
the contract. All stands in one file, because numba's cache looks at no other, and all accesses are
checked: hostile bytes may be misunderstood, but never reach memory that they should not.
"""

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from contract.codec import MAX_MESSAGE_BYTES

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

WHOLE_MAX: Final = MAX_MESSAGE_BYTES + 70_000
"""No acceptable PUBLISH is longer: message, topic of at most 64 kB, and a few bytes."""
HEAD: Final = 70_000
"""So much of a longer one is awaited before it is judged: topic, beginning of the payload."""

# columns of a message
START, END, TOPIC, TOPIC_END, PAYLOAD, ID, VERDICT, DEVICE = range(8)
MESSAGE_COLUMNS: Final = 8
# verdicts on a message; those from ASK on are left to Python
ACCEPTED, REPEATED, THROTTLED, OTHER, REFUSED, ASK, UNKNOWN, TOO_LARGE = range(8)
# columns of a device
TOPIC_LENGTH, MACHINE, SPELLED, ASKED = range(4)
DEVICE_COLUMNS: Final = 4
# what packets are read for: from the plant, from the journal, from the journal once more
TAKE, REPLAY, AGAIN = range(3)
# what a group is told, and tells
USED, BROKEN, V5, MODE, STAMP, LATEST_NS, ROWS, COUNTED, TOUCHES = range(9)
GROUP_FIELDS: Final = 9
# how fast a device may send
NOW_S, PER_S, BURST = range(3)
# what a device may still send, and when that was counted
TOKENS, COUNTED_S = range(2)

_FNV_BASIS: Final = np.uint64(0xCBF29CE484222325)
_FNV_PRIME: Final = np.uint64(0x100000001B3)
_ONE: Final = np.uint64(1)
_OURS: Final = 0b1110_1010_0001_0100
"""Packet types, but PUBLISH, that a broker sends to a client that never uses QoS 2."""


@njit(cache=True, boundscheck=True)
def _at(buf: Bytes, i: int) -> int:
    """Return a byte as a number that may be counted with: unsigned ones turn into floats."""
    return np.int64(buf[i])  # type: ignore[return-value]  # of no consequence when compiled


@njit(cache=True, boundscheck=True)
def _length(buf: Bytes, i: int) -> tuple[int, int]:
    """Read a variable-length number: value and place behind it; value -1: to come, -2: nonsense."""
    value = 0
    for k in range(4):
        if i + k >= buf.size:
            return -1, 0
        byte = _at(buf, i + k)
        value |= (byte & 127) << (7 * k)
        if byte < 128:
            return value, i + k + 1
    return -2, 0


@njit(cache=True, boundscheck=True)
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
        kind, flags, end = _at(buf, i) >> 4, _at(buf, i) & 15, body + length
        if kind != 3 and ((_OURS >> kind) & 1 == 0 or flags != 0 or length > HEAD):
            group[BROKEN] = 1
            break
        if end > buf.size and (length <= WHOLE_MAX or buf.size - i < HEAD):
            break
        messages[n, START], messages[n, END], messages[n, ID] = i, end, 0
        messages[n, VERDICT] = OTHER
        if kind == 3 and not _publish(buf, body, end, flags, group[V5], messages, n):
            group[BROKEN] = 1
            break
        if kind == 2:
            group[V5] = length > 2
        i = end
        n += 1
    group[USED] = i
    return n


@njit(cache=True, boundscheck=True)
def _publish(  # noqa: PLR0917  # jitted: arrays one by one
    buf: Bytes, body: int, end: int, flags: int, v5: int, messages: Ints, n: int
) -> bool:
    """Take a PUBLISH apart; false if it is none, or at QoS 2, which nobody asked for."""
    qos = (flags >> 1) & 3
    if qos > 1 or body + 2 > end:
        return False
    at = body + 2 + (_at(buf, body) << 8) + _at(buf, body + 1)
    messages[n, TOPIC], messages[n, TOPIC_END] = body + 2, at
    if at + 2 * qos > end:
        return False
    if qos == 1:
        messages[n, ID] = (_at(buf, at) << 8) + _at(buf, at + 1)
        if messages[n, ID] == 0:
            return False
        at += 2
    if v5 != 0:
        length, at = _length(buf, at)
        at += length
        if length < 0 or at > end:
            return False
    messages[n, PAYLOAD] = at
    large = end - at > MAX_MESSAGE_BYTES or end - body > WHOLE_MAX
    messages[n, VERDICT] = TOO_LARGE if large else ASK
    return True


@njit(cache=True, boundscheck=True)
def _hash(data: Bytes, begin: int, end: int) -> int:
    """Return FNV-1a of some bytes, not negative."""
    value = _FNV_BASIS
    for i in range(begin, end):
        value = (value ^ np.uint64(data[i])) * _FNV_PRIME
    return np.int64(value >> _ONE)  # type: ignore[return-value]


@njit(cache=True, boundscheck=True)
def index(topics: Bytes, devices: Ints, places: Ints) -> None:
    """Fill the hash table of the devices' topics; its size is a power of two, with places free."""
    places[:] = -1
    for d in range(devices.shape[0]):
        place = _hash(topics[d], 0, devices[d, TOPIC_LENGTH]) & (places.size - 1)
        while places[place] >= 0:
            place = (place + 1) & (places.size - 1)
        places[place] = d


@njit(cache=True, boundscheck=True)
def _find(  # noqa: PLR0917  # jitted: arrays one by one
    buf: Bytes, begin: int, end: int, topics: Bytes, devices: Ints, places: Ints
) -> int:
    """Return the device of a topic, -1 for an unknown one."""
    place = _hash(buf, begin, end) & (places.size - 1)
    while places[place] >= 0:
        d = int(places[place])
        if devices[d, TOPIC_LENGTH] == end - begin:
            j = 0
            while j < end - begin and topics[d, j] == buf[begin + j]:
                j += 1
            if j == end - begin:
                return d
        place = (place + 1) & (places.size - 1)
    return -1


@njit(cache=True, boundscheck=True)
def _may(d: int, pace: Floats, tokens: Floats) -> bool:
    """Tell whether a device may send a batch now, and count it if so."""
    passed_s = max(0.0, pace[NOW_S] - tokens[d, COUNTED_S])
    left = min(pace[BURST], tokens[d, TOKENS] + passed_s * pace[PER_S])
    tokens[d, COUNTED_S] = pace[NOW_S]
    tokens[d, TOKENS] = left - 1.0 if left >= 1.0 else left
    return bool(left >= 1.0)


@njit(cache=True, boundscheck=True)
def read(  # noqa: PLR0917  # jitted: arrays one by one
    buf: Bytes, messages: Ints, count: int, group: Ints, pace: Floats,
    topics: Bytes, devices: Ints, places: Ints, tokens: Floats,
) -> int:  # fmt: skip
    """Give each message its verdict."""
    for i in range(count):
        if messages[i, VERDICT] != ASK:
            continue
        d = _find(buf, messages[i, TOPIC], messages[i, TOPIC_END], topics, devices, places)
        messages[i, DEVICE] = d
        if d < 0:
            messages[i, VERDICT] = UNKNOWN
        elif group[MODE] == TAKE and not _may(d, pace, tokens):
            messages[i, VERDICT] = THROTTLED
        else:
            devices[d, ASKED] = group[STAMP]
    return count
