"""How kernels are compiled: without the interpreter's lock, kept on disk where that can be.

Covers: the one decorator of all kernels. Does not cover: fast-math or parallel options, which
make the bits depend on the machine; only a filter whose error is bounded may have one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function with numba on its first call.

    Parameters
    ----------
    **options
        Further options of ``numba.njit``.

    Notes
    -----
    The machine code is cached beside the module or in the user's cache folder. Where neither
    can be written (a read-only image without a home), numba refuses; such a process compiles
    for itself, which takes a few seconds. The cache of a function does not notice that one it
    calls, from another module, has changed: `make clean` after editing such a kernel.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:
            return numba.njit(nogil=True, **options)(function)

    return decorate
