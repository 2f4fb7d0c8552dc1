"""Read PCD point clouds (ascii and binary_compressed) for the tests; PCL's format, version 0.7."""

from __future__ import annotations

from pathlib import Path
import struct

import numpy as np

KINDS = {'F': 'f', 'I': 'i', 'U': 'u'}


def read(path: Path) -> np.ndarray:
    """Read a PCD file as a structured array (N,) with the file's fields."""
    header: dict[str, list[str]] = {}
    with path.open('rb') as file:
        while 'DATA' not in header:
            key, *words = file.readline().decode('ascii').split()
            header[key] = words
        body = file.read()
    kinds = zip(header['TYPE'], header['SIZE'], strict=True)
    names, formats = header['FIELDS'], [f'<{KINDS[kind]}{size}' for kind, size in kinds]
    dtype = np.dtype(list(zip(names, formats, strict=True)))
    count = int(header['POINTS'][0])
    if header['DATA'] == ['ascii']:
        numbers = np.array(body.split(), np.float64).reshape(count, len(names))
        return np.array(list(map(tuple, numbers)), dtype)
    assert header['DATA'] == ['binary_compressed'], header['DATA']
    packed, size = struct.unpack('<II', body[:8])
    columns = lzf(body[8 : 8 + packed])  # field by field
    assert len(columns) == size == count * dtype.itemsize
    points, start = np.empty(count, dtype), 0
    for name in names:
        points[name] = np.frombuffer(columns, dtype[name], count, start)
        start += count * dtype[name].itemsize
    return points


def lzf(data: bytes) -> bytes:
    """Unpack LZF (liblzf): runs of literal bytes and copies of what was unpacked before."""
    out, at = bytearray(), 0
    while at < len(data):
        control = data[at]
        at += 1
        if control < 32:  # that many bytes and one
            out += data[at : at + control + 1]
            at += control + 1
            continue
        length = control >> 5
        if length == 7:
            length += data[at]
            at += 1
        back = ((control & 31) << 8) + data[at] + 1
        at += 1
        length += 2
        piece = out[len(out) - back : len(out) - back + length]  # may run into what it writes
        out += (piece * (length // len(piece) + 1))[:length]
    return bytes(out)
