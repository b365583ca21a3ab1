"""Writes operations as the bytes of an ONNX file.

ONNX files are Protocol Buffers messages, of which a graph of plain operations needs a few fields
(github.com/onnx/onnx/blob/main/onnx/onnx.proto). The package `onnx`, which writes all of them,
takes 30 MB of every installation. Knows no model.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_IR, _OPSET = 10, 20
"""The version of the format, and of its operations: `Gelu` came with 20."""
_FLOAT, _INT64 = 1, 7
_TYPES = {np.dtype(np.float32): _FLOAT, np.dtype(np.int64): _INT64}

Attribute = int | float | Sequence[int]


class OnnxGraph:
    """Takes operations in their order; a value goes by its name.

    Args:
        name: The graph's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []
        self._inputs: list[bytes] = []
        self._count = 0

    def input(self, name: str) -> str:
        """Add an input of whole numbers, shape (n, t), and return its name."""
        self._inputs.append(_field(11, _value(name, _INT64)))
        return name

    def constant(self, values: NDArray[np.float32] | NDArray[np.int64]) -> str:
        """Add an array, float32 or int64, and return its name."""
        name = self._new()
        whole = np.ascontiguousarray(values)
        dims = b"".join(_number(1, size) for size in values.shape)
        kind = _number(2, _TYPES[whole.dtype])
        data = _field(9, whole.astype(whole.dtype.newbyteorder("<"), copy=False).tobytes())
        self._constants.append(_field(5, dims + kind + _text(8, name) + data))
        return name

    def op(self, kind: str, *inputs: str, **attributes: Attribute) -> str:
        """Add an operation of ONNX, and return the name of its only output."""
        name = self._new()
        said = b"".join(_field(5, _attribute(key, value)) for key, value in attributes.items())
        taken = b"".join(_text(1, one) for one in inputs)
        self._nodes.append(_field(1, taken + _text(2, name) + _text(4, kind) + said))
        return name

    def file(self, output: str) -> bytes:
        """Return the file of the graph whose only output, float32 of rank 3, is that value."""
        parts = [*self._nodes, _text(2, self._name), *self._constants, *self._inputs]
        graph = b"".join([*parts, _field(12, _value(output, _FLOAT, "d"))])
        return _number(1, _IR) + _field(7, graph) + _field(8, _number(2, _OPSET))

    def _new(self) -> str:
        self._count += 1
        return f"v{self._count}"


def _attribute(name: str, value: Attribute) -> bytes:
    match value:
        case int():
            said = _number(3, value) + _number(20, 2)
        case float():
            said = _varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, 1)
        case _:
            said = b"".join(_number(8, one) for one in value) + _number(20, 7)
    return _text(1, name) + said


def _value(name: str, kind: int, *more: str) -> bytes:
    """Return what declares an input or output of shape (n, t, ...more)."""
    shape = b"".join(_field(1, _text(2, size)) for size in ("n", "t", *more))
    tensor = _number(1, kind) + _field(2, shape)
    return _text(1, name) + _field(2, _field(1, tensor))


def _text(field: int, text: str) -> bytes:
    return _field(field, text.encode())


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value & (1 << 64) - 1)


def _varint(value: int) -> bytes:
    """Return a number in base 128, the lowest digits first."""
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    digits.append(value)
    return bytes(digits)
