"""Prefetch: a hint to the processor that memory is needed soon."""

from __future__ import annotations

from typing import Any

import llvmlite.ir
import numba.extending
from numba import types

__all__ = ["prefetch"]

_ir: Any = llvmlite.ir
_intrinsic: Any = numba.extending.intrinsic


@_intrinsic
def prefetch(typing, records, place):  # type: ignore[no-untyped-def]
    """In compiled code: ask for the memory of ``records[place]`` (contiguous, shape (n,)); nothing changes by it."""

    def ask(context, builder, signature, values):  # type: ignore[no-untyped-def]
        array = context.make_array(signature.args[0])(context, builder, values[0])
        size = _ir.Constant(_ir.IntType(64), context.get_abi_sizeof(context.get_data_type(signature.args[0].dtype)))
        address = builder.add(builder.ptrtoint(array.data, _ir.IntType(64)), builder.mul(values[1], size))
        byte, number = _ir.IntType(8).as_pointer(), _ir.IntType(32)
        hint = _ir.FunctionType(_ir.VoidType(), [byte, number, number, number])
        call = builder.module.declare_intrinsic("llvm.prefetch", [byte], hint)
        read, keep, data = 0, 3, 1
        builder.call(call, [builder.inttoptr(address, byte), *(number(each) for each in (read, keep, data))])
        return context.get_dummy_value()

    return types.void(records, types.int64), ask
