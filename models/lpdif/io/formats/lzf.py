"""LZF, the compression of PCD's binary_compressed data (liblzf): runs of literals and references backwards."""

from __future__ import annotations

from lpdif.text import counted

MOST = 264 // 3  # the longest reference: three bytes stand for 264


def decompress(packed: bytes, size: int) -> bytes:
    """The `size` bytes that `packed` stands for. Raises ValueError if it stands for more or fewer, or points outside."""
    out = bytearray()
    place, end = 0, len(packed)
    while place < end:
        control = packed[place]
        place += 1
        if control < 32:  # the next control + 1 bytes are literals
            out += packed[place : place + control + 1]
            place += control + 1
            if place > end:
                raise ValueError("ends within a run of literals")
        else:  # a reference: 3 bits of length, 13 of distance
            if place + (control >= 224) >= end:
                raise ValueError("ends within a reference")
            length = control >> 5
            if length == 7:
                length += packed[place]
                place += 1
            length += 2
            begin = len(out) - ((control & 31) << 8) - packed[place] - 1
            place += 1
            if begin < 0:
                raise ValueError("refers to before its beginning")
            if begin + length <= len(out):
                out += out[begin : begin + length]
            else:  # the reference reaches into what it writes: a repeated piece
                piece = out[begin:]
                out += (piece * (length // len(piece) + 1))[:length]
        if len(out) > size:
            raise ValueError(f"holds more than the {counted(size, 'byte')} it announces")
    if len(out) != size:
        raise ValueError(f"holds {len(out):,} of the {counted(size, 'byte')} it announces")
    return bytes(out)
