from __future__ import annotations

import numba

from daskseg.kernels.compiling import compiled


def double(value):
    return 2 * value


def test_compiled__equals_the_plain_function():
    assert compiled()(double)(21) == 42


def test_compiled__works_where_no_cache_can_be_written(monkeypatch):
    asked = []
    plain = numba.njit

    def refusing(**options):
        asked.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'double': no locator available")
        return plain(**options)

    monkeypatch.setattr(numba, "njit", refusing)
    assert compiled()(double)(21) == 42
    assert [options.get("cache", False) for options in asked] == [True, False]


def test_compiled__passes_options_on(monkeypatch):
    asked = []
    monkeypatch.setattr(numba, "njit", lambda **options: asked.append(options) or (lambda f: f))
    compiled(inline="always")(double)
    assert asked == [{"nogil": True, "cache": True, "inline": "always"}]
