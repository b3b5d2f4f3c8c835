"""How kernels are compiled, and where they are kept: a cache that knows every source file a kernel is made of.

Numba's own cache looks only at the file of the outermost function, so that a change in a function it calls would be
missed. The folder used here is named by a digest of all kernel sources. The packages of the kernels import this module.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

__all__ = ["CACHE", "compiled"]

_HERE = Path(__file__).parent
_SOURCES = (
    "fold.py", "fusion.py", "priors.py", "rows.py", "texts/*.py", "features/*.py", "detectors/*.py",
    "backtesting/variants/*.py",
)  # fmt: skip


def _cache() -> Path:
    digest = hashlib.blake2b(digest_size=8)
    for pattern in _SOURCES:
        for path in sorted(_HERE.glob(pattern)):
            digest.update(path.read_bytes())
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "heistwatch" / f"kernels-{digest.hexdigest()}"


CACHE = _cache()
_config: Any = numba.config
if not _config.CACHE_DIR:  # NUMBA_CACHE_DIR is not set; Numba may have been imported before us
    _config.CACHE_DIR = str(CACHE)


def compiled(*, owns: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit` for kernels of the engine, which work on arrays that are lent to them.

    Numba counts who holds an array wherever one is handed on, which costs a tenth of the time of a fold; where nothing
    is made, nothing needs counting.

    Parameters
    ----------
    owns : whether the function makes arrays; no array that it made may be returned to one that does not
    options : of `numba.njit`
    """
    compile_: Any = numba.njit  # its hints leave this option out
    return compile_(cache=True, _nrt=owns, **options)  # type: ignore[no-any-return]
