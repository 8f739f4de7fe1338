"""Arrays whose first axis is the machine, as bytes."""

import math
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.arrays import Live, Reference
from models.clocks import Clocks
from models.news import News

Part = TypeVar("Part", Reference, Live, Clocks, News)


def row_bytes(array: NDArray[Any]) -> int:
    """Return the bytes of one machine's part."""
    return array.itemsize * math.prod(array.shape[1:])


def packed(arrays: Iterable[NDArray[Any]], m: int) -> bytes:
    """Return one machine's parts, one behind the other."""
    return b"".join([array[m].tobytes() for array in arrays])


def fill(arrays: Iterable[NDArray[Any]], m: int, data: bytes) -> None:
    """Fill in one machine's parts from what `packed` returned for arrays alike."""
    start = 0
    for array in arrays:
        part = np.frombuffer(data, array.dtype, math.prod(array.shape[1:]), start)
        array[m] = part.reshape(array.shape[1:])
        start += part.nbytes


def room(array: NDArray[Any]) -> int:
    """Return the bytes of an array in a block: whole words, as compiled code expects."""
    return -(-array.nbytes // 8) * 8


def moved(part: Part, block: NDArray[np.uint8]) -> Part:
    """Return the same arrays in a block of memory."""
    views: list[NDArray[Any]] = []
    start = 0
    for array in part:
        view = block[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        view[...] = array
        views.append(view)
        start += room(array)
    return type(part)(*views)
