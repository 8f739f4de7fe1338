"""Asking the processor early for the memory of machines whose rows come next.

Thousands of machines do not fit its caches: without this, waiting for memory is most of a row's
cost. Nothing here changes any result. What is asked for too early is gone again when it is needed.
"""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from models.arrays import Live, Reference

LINE = 64
"""Bytes that come at once."""
EARLY, SOON = 3, 2
"""So many rows ahead: what a row needs, and what is only found through that."""


def _code(context: Any, builder: Any, signature: Any, args: Any) -> object:  # noqa: ANN401 - numba's
    """Write the instructions of `ask`. Without branches, or numba counts the array's references."""
    array, m, skip = args
    data = context.make_array(signature.args[0])(context, builder, array)
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    declare: Any = cgutils.get_or_insert_function
    prefetch = declare(builder.module, kind, "llvm.prefetch.p0i8")
    row = builder.mul(m, builder.extract_value(data.strides, 0))
    place = builder.gep(builder.bitcast(data.data, byte), [builder.add(row, skip)])
    to_read, near, of_data = (ir.Constant(number, k) for k in (0, 3, 1))
    builder.call(prefetch, [place, to_read, near, of_data])
    return context.get_dummy_value()


def _typed(typing: object, array: Any, m: object, skip: object) -> object:  # noqa: ANN401, ARG001 - numba's
    return types.void(array, types.int64, types.int64), _code


ask: Any = intrinsic(_typed)
"""``ask(array, m, skip)``: ask for the line of byte ``skip`` of row ``m``. Any address is safe."""


@njit(cache=True, inline="always")
def ask_ahead(r: Reference, s: Live, m: int, sooner: int, d: int) -> None:
    """Ask for what the fleet detector needs of machine ``m``, and for the terms of a sooner one."""
    for skip in range(0, d * 8, LINE):
        ask(r.centre, m, skip)
        ask(r.scale, m, skip)
        ask(r.noise, m, skip)
        ask(s.z, m, skip)
        ask(s.residual, m, skip)
        ask(s.doubt, m, skip)
    for skip in range(0, d * 8 * r.precision.shape[1], LINE):
        ask(r.precision, m, skip)
        ask(r.freedom, m, skip)
        ask(s.level, m, skip)
    for skip in range(0, d * d * 8, LINE):
        ask(r.matrix, m, skip)
    for skip in range(0, d * 8 if r.features[m] > 0 else 0, LINE):
        ask(r.low, m, skip)
        ask(r.high, m, skip)
        ask(r.terms, m, skip)
        ask(r.agility, m, skip)
        ask(s.excess, m, skip)
        ask(s.toll, m, skip)
        ask(s.unsure, m, skip)
        ask(s.held, m, skip)
    for skip in range(0, r.features[m] * 8, LINE):
        ask(r.a, m, skip)
        ask(r.b, m, skip)
        ask(r.lag, m, skip)
        ask(r.floor, m, skip)
        ask(r.ceiling, m, skip)
        ask(s.state, m, skip)
        ask(s.slow, m, skip)
    wide = r.weight.shape[2] * 8
    for j in range(d if r.features[sooner] > 0 else 0):
        t = r.terms[sooner, j]
        if t > 0:
            ask(r.term, sooner, j * (wide - 8))
            ask(r.term_centre, sooner, j * (wide - 8))
            ask(r.term_scale, sooner, j * (wide - 8))
            ask(r.weight, sooner, j * wide)
            ask(r.weight, sooner, j * wide + t * 8)
            start = j * wide * r.weight.shape[2]
            for skip in range(start, start + t * wide + t * 8 + 8, LINE):
                ask(r.spread, sooner, skip)
