"""The text of a file, piece by piece, unpacked where it is gzip."""

import codecs
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

#: Bytes of one read of a packed file, and of one piece of what comes out.
_READ, PIECE = 1 << 16, 1 << 20


def text(pieces: Iterator[bytes]) -> Iterator[str]:
    """UTF-8, with or without a byte order mark; bytes that are none become replacement characters."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    for piece in pieces:
        yield decoder.decode(piece)
    yield decoder.decode(b"", True)


def unpacked(file: BinaryIO, cut: Callable[[str], None]) -> Iterator[bytes]:
    """The bytes of a file, unpacked where it is gzip, whatever its name."""
    if file.peek(2)[:2] == b"\x1f\x8b":  # type: ignore[attr-defined]
        yield from _gunzipped(file, cut)
        return
    while piece := file.read(PIECE):
        yield piece


def _gunzipped(file: BinaryIO, cut: Callable[[str], None]) -> Iterator[bytes]:
    """In small pieces: a megabyte of gzip may hold a gigabyte. What precedes a cut is not lost, as it is in the gzip module."""
    packed, unpacker = b"", zlib.decompressobj(31)
    while True:
        packed = packed or file.read(_READ)
        if not packed:
            return cut("the gzip file is cut")
        try:
            piece = unpacker.decompress(packed, PIECE)
        except zlib.error as error:
            return cut(f"the gzip file is damaged ({error})")
        packed = unpacker.unconsumed_tail
        if piece:
            yield piece
        if unpacker.eof:
            packed = unpacker.unused_data or file.read(_READ)
            if not packed.strip(b"\0"):
                return None
            unpacker = zlib.decompressobj(31)
