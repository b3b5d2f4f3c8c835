"""Memory by its address, for compiled code."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["byte", "word"]

_LLVM: Any = ir  # it has no type hints
_WORD, _BYTE = (_LLVM.IntType(bits).as_pointer() for bits in (64, 8))


def _word(context: Any, address: Any) -> Any:
    """The eight bytes at an address as one number, the first of them lowest."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found = builder.load(builder.inttoptr(arguments[0], _WORD))
        found.align = 1
        return found

    return types.uint64(types.uint64), build


def _byte(context: Any, address: Any) -> Any:
    """The byte at an address."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(arguments[0], _BYTE))

    return types.uint8(types.uint64), build


word: Any = intrinsic(_word)
byte: Any = intrinsic(_byte)
