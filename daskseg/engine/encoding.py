"""Parts of a pass as bytes, without pickle: reading them back runs no code of the file.

Covers: None, bool, int of any size, float, str, bytes, list, tuple, dict, NumPy scalars and
arrays (objects only if they are ints), and the named tuples and dataclasses of daskseg. Does not
cover: files (see `engine.journal`).

The form is a JSON tree followed by the buffers of the arrays.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskseg.errors import ArtifactError

_LENGTH = struct.Struct("<Q")
_PACKAGE = "daskseg"
# Dtypes that are read back: numbers, booleans, dates, durations and text of fixed length.
_KINDS = "biufcmMSU"
# Arbitrary: the bytes of smaller arrays are copied, which costs nothing and always works.
_COPIED_BYTES = 2**16

Buffer = bytes | memoryview


def encode(value: Any) -> bytes:
    """Return a value as bytes.

    Raises
    ------
    TypeError
        If it holds something else than what the module covers.

    Examples
    --------
    >>> decode(encode({"rows": (2**100, 0.5)}))
    {'rows': (1267650600228229401496703205376, 0.5)}
    """
    return b"".join(pieces(value))


def pieces(value: Any) -> list[Buffer]:
    """Return what `encode` joins; large arrays are not copied, and must not change meanwhile.

    Raises
    ------
    TypeError
        As `encode`.
    """
    buffers: list[Buffer] = []
    tree = _pack(value, buffers)
    header = json.dumps(
        {"tree": tree, "sizes": [len(buffer) for buffer in buffers]}, separators=(",", ":")
    ).encode()
    return [_LENGTH.pack(len(header)), header, *buffers]


def decode(content: Buffer) -> Any:
    """Return what `encode` was given.

    Raises
    ------
    ArtifactError
        If the bytes are not those of `encode`, or name a class outside daskseg.
    """
    try:
        start = _LENGTH.size
        stop = start + _LENGTH.unpack(content[:start])[0]
        whole = memoryview(content)
        header = json.loads(bytes(whole[start:stop]))
        buffers: list[Buffer] = []
        for size in header["sizes"]:
            buffers.append(whole[stop : stop + size])
            stop += size
        return _unpack(header["tree"], buffers)
    except (
        AttributeError, ImportError, IndexError, KeyError, TypeError, UnicodeDecodeError,
        ValueError, struct.error,
    ) as error:  # fmt: skip
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"the record of a part cannot be read: {error!r}") from error


def _class_name(value: Any) -> str:
    kind = type(value)
    name = f"{kind.__module__}:{kind.__qualname__}"
    if kind.__module__.partition(".")[0] != _PACKAGE:
        raise TypeError(f"a part of type {name} cannot be kept in a journal")
    return name


def _pack(value: Any, buffers: list[Buffer]) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value
    if type(value) is int:
        return value
    if type(value) is float:
        return {"f": value.hex()}
    if isinstance(value, (np.ndarray, np.generic)):
        return _pack_array(value, buffers)
    if isinstance(value, bytes):
        buffers.append(value)
        return {"b": len(buffers) - 1}
    if isinstance(value, dict):
        return {"d": [[_pack(k, buffers), _pack(v, buffers)] for k, v in value.items()]}
    if type(value) is list:
        return [_pack(one, buffers) for one in value]
    if type(value) is tuple:
        return {"t": [_pack(one, buffers) for one in value]}
    if isinstance(value, tuple):
        return {"c": _class_name(value), "v": [_pack(one, buffers) for one in value]}
    if dataclasses.is_dataclass(value):
        fields = [getattr(value, field.name) for field in dataclasses.fields(value) if field.init]
        return {"c": _class_name(value), "v": [_pack(one, buffers) for one in fields]}
    raise TypeError(f"a part of type {type(value).__qualname__} cannot be kept in a journal")


def _pack_array(value: Any, buffers: list[Buffer]) -> Any:
    array = np.asarray(value)
    kind = "g" if isinstance(value, np.generic) else "a"
    if array.dtype.hasobject:
        items = array.ravel().tolist()
        if not all(type(one) is int for one in items):
            raise TypeError("an array of objects that are not ints cannot be kept in a journal")
        return {"o": items, "s": list(array.shape)}
    if array.dtype.kind not in _KINDS:
        raise TypeError(f"an array of type {array.dtype} cannot be kept in a journal")
    buffers.append(_bytes_of(array))
    return {kind: len(buffers) - 1, "y": array.dtype.str, "s": list(array.shape)}


def _bytes_of(array: NDArray[Any]) -> Buffer:
    if array.nbytes <= _COPIED_BYTES:
        return array.tobytes()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _unpack(tree: Any, buffers: list[Buffer]) -> Any:
    if isinstance(tree, list):
        return [_unpack(one, buffers) for one in tree]
    if not isinstance(tree, dict):
        return tree
    kind = next(iter(tree))
    return _READERS[kind](tree, buffers)


def _unpack_array(tree: dict[str, Any], buffers: list[Buffer]) -> Any:
    dtype = np.dtype(tree["y"])
    if dtype.kind not in _KINDS:
        raise ArtifactError(f"the record of a part holds an array of type {dtype}")
    array = np.frombuffer(buffers[tree["a"]], dtype).reshape(tree["s"])
    return array.copy()


def _unpack_scalar(tree: dict[str, Any], buffers: list[Buffer]) -> Any:
    return _unpack_array({**tree, "a": tree["g"]}, buffers)[()]


def _unpack_objects(tree: dict[str, Any], _: list[Buffer]) -> Any:
    array = np.empty(len(tree["o"]), object)
    array[:] = tree["o"]
    return array.reshape(tree["s"])


def _unpack_class(tree: dict[str, Any], buffers: list[Buffer]) -> Any:
    module, _, name = str(tree["c"]).partition(":")
    if module.partition(".")[0] != _PACKAGE:
        raise ArtifactError(f"the record of a part names the class {tree['c']!r}: it is not ours")
    found = getattr(importlib.import_module(module), name)
    is_record = isinstance(found, type) and (
        dataclasses.is_dataclass(found) or (issubclass(found, tuple) and hasattr(found, "_fields"))
    )
    if not is_record:
        raise ArtifactError(f"the record of a part names {tree['c']!r}: it is no record of data")
    return found(*(_unpack(one, buffers) for one in tree["v"]))


_READERS: dict[str, Callable[[dict[str, Any], list[Buffer]], Any]] = {
    "a": _unpack_array,
    "b": lambda tree, buffers: bytes(buffers[tree["b"]]),
    "c": _unpack_class,
    "d": lambda tree, buffers: {
        _unpack(key, buffers): _unpack(value, buffers) for key, value in tree["d"]
    },
    "f": lambda tree, _: float.fromhex(tree["f"]),
    "g": _unpack_scalar,
    "o": _unpack_objects,
    "t": lambda tree, buffers: tuple(_unpack(one, buffers) for one in tree["t"]),
}
