"""What a worker does with every message, compiled: from a PUBLISH to rows, each batch once.

Only what `contract.codec.encode` would write is read here (spaces are tolerated), of devices, boots
and lists of signals that are known, and in sequence. Everything else is left to Python.
"""

from typing import Final

import numpy as np

from cloud.adapters.wire_kernel import (
    ACCEPTED,
    AGAIN,
    ASK,
    ASKED,
    BOOT,
    BOOT_SIZE,
    BURST,
    COLUMN,
    CONTIGUOUS,
    COUNTED_S,
    DEVICE,
    DEVICE_OF,
    END,
    GAP,
    HISTORICAL,
    HISTORICAL_OF,
    KIND,
    LATEST_NS,
    LOGGED,
    MACHINE,
    MARKED,
    MESSAGE_OF,
    MODE,
    NAME,
    NAME_SIZE,
    NOW_S,
    OFFSET,
    PAYLOAD,
    PER_S,
    REPEATED,
    ROWS,
    SEQUENCE,
    SIGNALS,
    SIZE,
    SPELLED,
    SPELLING,
    STAMP,
    STAMPED,
    START,
    TAKE,
    THROTTLED,
    TICKS,
    TICKS_MAX,
    TIME,
    TOKENS,
    TOPIC,
    TOPIC_END,
    TOUCHES,
    UNKNOWN,
    USED,
    VERDICT,
    find,
    hashed,
)  # fmt: skip
from cloud.adapters.wire_number import (
    Bytes,
    Floats,
    Ints,
    Words,
    compiled,
    number,
    same,
    spaces,
    whole,
    word,
)  # fmt: skip

COMPILED_WITH: Final = 0x2739E187
"""CRC-32 of the files above: numba keeps compiled code until *this* file changes; a test compares.
"""

_BAD, _MISSING = 2, 3
_OPEN, _COMMA, _CLOSE, _ONE_COMMA, _NULL, _TRUE = (
    np.frombuffer(text, np.uint8) for text in (b"{", b",", b"}", b"1,", b"null", b"true")
)
_VERSION, _SIGNALS, _TIMES, _VALUES, _QUALITY, _BOOT, _SEQUENCE, _OLDEST, _HISTORICAL = (
    np.frombuffer(b'"%s":' % key, np.uint8)
    for key in (
        b"v", b"signals", b"times_ns", b"values", b"quality", b"boot", b"sequence", b"oldest",
        b"historical",
    )
)  # fmt: skip


@compiled
def _may(d: int, pace: Floats, tokens: Floats) -> bool:
    """Tell whether a device may send a batch now, and count it if so."""
    passed_s = max(0.0, pace[NOW_S] - tokens[d, COUNTED_S])
    left = min(pace[BURST], tokens[d, TOKENS] + passed_s * pace[PER_S])
    tokens[d, COUNTED_S] = pace[NOW_S]
    tokens[d, TOKENS] = left - 1.0 if left >= 1.0 else left
    return bool(left >= 1.0)


@compiled
def read(  # noqa: C901, PLR0917  # jitted: arrays one by one, and calls are dear
    buf: Bytes, messages: Ints, count: int, group: Ints, pace: Floats, tokens: Floats,
    topics: Bytes, devices: Ints, places: Ints, boots: Ints, boot_text: Bytes, recent: Ints,
    log: Ints, touched: Ints, text: Bytes, spellings: Ints, spelling_places: Ints, powers: Words,
    values: Floats, bits: Words, quality: Bytes, instants: Ints,
) -> int:  # fmt: skip
    """Give each PUBLISH its verdict, and write the rows of those that are accepted.

    ``messages`` are what `scan` found in ``buf``, ``count`` of them, and ``group`` says what is to
    be done. ``pace`` is how fast a device may send, ``tokens`` what each has left; ``topics``,
    ``devices`` and ``places`` find a device; ``boots`` are positions, of which ``recent`` are those
    of each device. ``log`` takes rows and positions before they moved, ``touched`` rows that are to
    be acknowledged. ``text``, ``spellings`` and ``spelling_places`` find a list of signals. Rows go
    to ``values`` (as whole numbers: ``bits``), ``quality`` and ``instants``.

    Returns:
        How many messages have a verdict: fewer than ``count`` if there is no room for more rows.
    """
    group[ROWS], group[LOGGED] = 0, 0
    for i in range(count):
        if group[ROWS] + group[TICKS_MAX] > values.shape[0]:
            group[USED] = messages[i, START]
            return i
        if messages[i, VERDICT] != ASK:
            continue
        d = find(buf, messages[i, TOPIC], messages[i, TOPIC_END], topics, devices, places)
        messages[i, DEVICE] = d
        if d < 0:
            messages[i, VERDICT] = UNKNOWN
        elif group[MODE] == TAKE and not _may(d, pace, tokens):
            messages[i, VERDICT] = THROTTLED
        elif devices[d, ASKED] != group[STAMP]:
            begin, end, row = messages[i, PAYLOAD], messages[i, END], group[ROWS]
            if _message(
                buf, begin, end, row, d, group, devices, text, spellings, spelling_places,
                powers, values, bits, quality, instants,
            ):  # fmt: skip
                messages[i, VERDICT] = _count(buf, d, group, boots, boot_text, recent, log, touched)
            if messages[i, VERDICT] == ASK:
                devices[d, ASKED] = group[STAMP]
            elif messages[i, VERDICT] == ACCEPTED:
                for row in range(group[ROWS], group[ROWS] + group[TICKS]):
                    instants[row, DEVICE_OF], instants[row, MESSAGE_OF] = d, i
                    instants[row, HISTORICAL_OF] = group[HISTORICAL]
                group[ROWS] += group[TICKS]
    return count


@compiled
def _count(  # noqa: PLR0917  # jitted: arrays one by one
    buf: Bytes, d: int, group: Ints, boots: Ints, boot_text: Bytes, recent: Ints,
    log: Ints, touched: Ints,
) -> int:  # fmt: skip
    """Count a batch as `cloud.core.intake.accept` does where nothing is missing; else ask."""
    size = group[BOOT_SIZE]
    if size == 0 or group[MODE] == AGAIN:
        return ACCEPTED
    for k in range(recent.shape[1]):
        b = recent[d, k]
        if b >= 0 and boots[b, NAME_SIZE] == size:
            j = 0
            while j < size and boot_text[b, 8 * NAME + j] == buf[group[BOOT] + j]:
                j += 1
            if j == size:
                break
    else:
        return ASK
    after = boots[b, CONTIGUOUS] + 1
    if boots[b, GAP] > 0 or group[SEQUENCE] > after:
        return ASK
    boots[b, STAMPED] = group[STAMP]
    if group[MODE] == TAKE and boots[b, MARKED] == 0:
        boots[b, MARKED] = 1
        touched[group[TOUCHES]] = b
        group[TOUCHES] += 1
    if group[SEQUENCE] == after:
        log[group[LOGGED], 0], log[group[LOGGED], 1] = b, after - 1
        group[LOGGED] += 1
        boots[b, CONTIGUOUS] = after
        return ACCEPTED
    return REPEATED if group[MODE] == TAKE else ACCEPTED


@compiled
def _message(  # noqa: PLR0917  # jitted: arrays one by one
    buf: Bytes, begin: int, end: int, row: int, d: int, group: Ints, devices: Ints, text: Bytes,
    spellings: Ints, places: Ints, powers: Words, values: Floats, bits: Words, quality: Bytes,
    instants: Ints,
) -> bool:  # fmt: skip
    """Read a batch whose fields stand as `codec.encode` writes them; false for any other.

    All loops below end at the last byte of the message at the latest: it is a brace, and nothing
    that is skipped or counted may hold one, except known words, whose size is checked.
    """
    if end - begin < 2 or buf[end - 1] != 125:
        return False
    i = word(buf, begin, end, _OPEN)
    if 0 < i < end - 1 and buf[i + 1] == 118:
        i = word(buf, word(buf, i, end, _VERSION), end, _ONE_COMMA)
    i = _spelling(buf, word(buf, i, end, _SIGNALS), end, d, group, devices, text, spellings, places)
    i = word(buf, word(buf, i, end, _COMMA), end, _TIMES)
    i = _times(buf, i, row, group, instants)
    if i < 0 or instants[row + group[TICKS] - 1, TIME] > group[LATEST_NS]:
        return False
    i = word(buf, word(buf, i, end, _COMMA), end, _VALUES)
    i = _rows(buf, i, end, row, group, spellings, powers, values, bits, quality)
    return _rest(buf, i, end, row, group, spellings, values, quality) == end


@compiled
def _spelling(  # noqa: PLR0917  # jitted: arrays one by one
    buf: Bytes, i: int, end: int, d: int, group: Ints, devices: Ints, text: Bytes,
    spellings: Ints, places: Ints,
) -> int:  # fmt: skip
    """Find the list of signals among the known ones; return the place behind it, or -1."""
    if i < 0 or buf[i] != 91:
        return -1
    s = devices[d, SPELLED]
    if s < 0 or not same(buf, i, end, text, spellings[s, OFFSET], spellings[s, SIZE]):
        close = i
        while close < end and buf[close] != 93:
            close += 1
        s = find_spelling(buf, i, min(close + 1, end), devices[d, MACHINE], text, spellings, places)
        if s < 0:
            return -1
        devices[d, SPELLED] = s
    group[SPELLING] = s
    return int(i + spellings[s, SIZE])


@compiled
def find_spelling(  # noqa: PLR0917  # jitted: arrays one by one
    buf: Bytes, begin: int, end: int, machine: int, text: Bytes, spellings: Ints, places: Ints
) -> int:
    """Return the row of a spelling of a machine type's signals; below 0: -1 - its free place."""
    place = (hashed(buf, begin, end) + machine) & (places.size - 1)
    while places[place] >= 0:
        s = places[place]
        known = spellings[s, KIND] == machine and spellings[s, SIZE] == end - begin
        if known and same(buf, begin, end, text, spellings[s, OFFSET], end - begin):
            return int(s)
        place = (place + 1) & (places.size - 1)
    return -1 - place


@compiled
def _times(buf: Bytes, i: int, row: int, group: Ints, instants: Ints) -> int:
    if i < 0 or buf[i] != 91:
        return -1
    ticks, before = 0, -1
    while buf[i] != 93:
        if ticks > 0 and buf[i] != 44:
            return -1
        value, i = whole(buf, spaces(buf, i + 1, buf.size))
        if value <= before or ticks == group[TICKS_MAX]:
            return -1
        instants[row + ticks, TIME] = value
        before = value
        ticks += 1
    group[TICKS] = ticks
    return i + 1 if ticks > 0 else -1


@compiled
def _rows(  # noqa: PLR0917  # jitted: arrays one by one
    buf: Bytes, i: int, end: int, row: int, group: Ints, spellings: Ints, powers: Words,
    values: Floats, bits: Words, quality: Bytes,
) -> int:  # fmt: skip
    if i < 0 or buf[i] != 91:
        return -1
    s, ticks = group[SPELLING], group[TICKS]
    for t in range(ticks):
        i = spaces(buf, i + 1, end)
        if buf[i] != 91:
            return -1
        i = _row(buf, i, end, row + t, s, spellings, powers, values, bits, quality)
        if i < 0 or buf[i] != (44 if t < ticks - 1 else 93):
            return -1
    return i + 1


@compiled
def _row(  # noqa: PLR0917  # jitted: arrays one by one
    buf: Bytes, i: int, end: int, row: int, s: int, spellings: Ints, powers: Words,
    values: Floats, bits: Words, quality: Bytes,
) -> int:  # fmt: skip
    """Read the values of one tick; return the place behind them, or -1."""
    signals = spellings[s, SIGNALS]
    if signals < values.shape[1]:
        for column in range(values.shape[1]):
            values[row, column], quality[row, column] = np.nan, _MISSING
    for j in range(signals):
        column = spellings[s, COLUMN + j]
        i = spaces(buf, i + 1, end)
        if buf[i] == 110:
            i = word(buf, i, end, _NULL)
            values[row, column], quality[row, column] = np.nan, _MISSING
        else:
            i = number(buf, i, powers, values, bits, row, column)
            quality[row, column] = 0
        if i < 0 or buf[i] != (44 if j < signals - 1 else 93):
            return -1
    return i + 1


@compiled
def _rest(  # noqa: PLR0917  # jitted: arrays one by one
    buf: Bytes, i: int, end: int, row: int, group: Ints, spellings: Ints, values: Floats,
    quality: Bytes,
) -> int:  # fmt: skip
    """Read what may follow the values, each field once and in order; return the end, or -1."""
    group[BOOT_SIZE], group[SEQUENCE], group[HISTORICAL] = 0, 0, 0
    stage = 0
    while i >= 0 and buf[i] == 44:
        i = spaces(buf, i + 1, end)
        if i + 1 >= end:
            return -1
        key = buf[i + 1]
        if key == 113 and stage < 1:
            stage = 1
            i = word(buf, i, end, _QUALITY)
            i = _marks(buf, i, end, row, group, spellings, values, quality)
        elif key == 98 and stage < 2:
            stage = 2
            i = _boot(buf, word(buf, i, end, _BOOT), end, group)
        elif key == 115 and stage < 3:
            stage = 3
            group[SEQUENCE], i = whole(buf, word(buf, i, end, _SEQUENCE))
        elif key == 111 and stage < 4:
            stage = 4
            oldest, i = whole(buf, word(buf, i, end, _OLDEST))
            i = i if oldest >= 0 else -1
        elif key == 104 and stage < 5:
            stage, group[HISTORICAL] = 5, 1
            i = word(buf, word(buf, i, end, _HISTORICAL), end, _TRUE)
        else:
            return -1
    if group[SEQUENCE] < 0 or (group[BOOT_SIZE] > 0) != (group[SEQUENCE] > 0):
        return -1
    return word(buf, i, end, _CLOSE)


@compiled
def _boot(buf: Bytes, i: int, end: int, group: Ints) -> int:
    """Read a boot's name of 1 to 32 plain characters."""
    if i < 0 or buf[i] != 34:
        return -1
    group[BOOT] = i + 1
    i += 1
    while i < end and buf[i] != 34:
        if buf[i] < 32 or buf[i] > 126 or buf[i] == 92:
            return -1
        i += 1
    group[BOOT_SIZE] = i - group[BOOT]
    return i + 1 if i < end and 0 < group[BOOT_SIZE] <= 32 else -1


@compiled
def _marks(  # noqa: PLR0917  # jitted: arrays one by one
    buf: Bytes, i: int, end: int, row: int, group: Ints, spellings: Ints, values: Floats,
    quality: Bytes,
) -> int:  # fmt: skip
    """Read the quality of all values."""
    if i < 0 or buf[i] != 91:
        return -1
    s, ticks, signals = group[SPELLING], group[TICKS], spellings[group[SPELLING], SIGNALS]
    for t in range(ticks):
        i = spaces(buf, i + 1, end)
        if buf[i] != 91:
            return -1
        for j in range(signals):
            i = spaces(buf, i + 1, end)
            if buf[i] < 48 or buf[i] > 51 or buf[i + 1] != (44 if j < signals - 1 else 93):
                return -1
            mark, column = buf[i] - 48, spellings[s, COLUMN + j]
            if mark < _BAD and values[row + t, column] != values[row + t, column]:
                mark = _MISSING
            quality[row + t, column] = mark
            i += 1
        i += 1
        if buf[i] != (44 if t < ticks - 1 else 93):
            return -1
    return i + 1
