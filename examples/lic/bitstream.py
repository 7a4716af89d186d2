"""One coded picture as bytes: what it is, for which codec, and a checksum over all of it.

    magic 4 | version 1 | length of name 1 | name of the codec | fingerprint of its weights and tables 8
    | height 4 | width 4 | digest of the symbols 8 | payload | digest of all that stands before 8

All numbers are little-endian. The digest of the symbols is of what the decoder must find in the payload: nets that
gave another result on its machine are told, not shown.
"""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

from overlapcalc import InputError

MAGIC, VERSION = b"OCLC", 1
DIGEST = 8
MOST_PIXELS = 2**30
_SIZES = struct.Struct("<II")
_LEAST = len(MAGIC) + 2 + DIGEST + _SIZES.size + DIGEST + DIGEST


class BitstreamError(InputError):
    """These bytes are no picture that this codec wrote: cut, changed, of another codec, or of other weights."""


class Coded(NamedTuple):
    """A coded picture. fingerprint and symbols are digests of 8 bytes."""

    codec: str
    fingerprint: bytes
    height: int
    width: int
    symbols: bytes
    payload: bytes


def digest(*parts: bytes) -> bytes:
    """8 bytes of BLAKE2b over the parts and their lengths."""
    found = hashlib.blake2b(digest_size=DIGEST)
    for part in parts:
        found.update(struct.pack("<Q", len(part)))
        found.update(part)
    return found.digest()


def is_size(height: int, width: int) -> bool:
    """Whether a picture may be so large. A single line counts as 64, for it is padded to that."""
    return height > 0 and width > 0 and max(height, 64) * max(width, 64) <= MOST_PIXELS


def packed(coded: Coded) -> bytes:
    """The bytes of a coded picture."""
    name = coded.codec.encode("ascii")
    body = b"".join(
        (MAGIC, bytes((VERSION, len(name))), name, coded.fingerprint, _SIZES.pack(coded.height, coded.width),
         coded.symbols, coded.payload)
    )  # fmt: skip
    return body + digest(body)


def unpacked(data: bytes) -> Coded:
    """What `packed` made these bytes of. Raises BitstreamError."""
    if data[: len(MAGIC)] != MAGIC:
        raise BitstreamError(f"the file begins with {data[: len(MAGIC)]!r}; a coded picture begins with {MAGIC!r}")
    if len(data) < _LEAST:
        raise BitstreamError(f"{len(data)} bytes are too few for a coded picture; the file was cut")
    if data[len(MAGIC)] != VERSION:
        raise BitstreamError(f"version {data[len(MAGIC)]} of the format; this program reads version {VERSION}")
    body, check = data[:-DIGEST], data[-DIGEST:]
    if digest(body) != check:
        raise BitstreamError("the checksum does not fit: the file was cut or changed; copy it again")
    place = len(MAGIC) + 2 + data[len(MAGIC) + 1]
    if place + 2 * DIGEST + _SIZES.size > len(body):
        raise BitstreamError("the name of the codec is longer than the file")
    name = body[len(MAGIC) + 2 : place]
    fingerprint, place = body[place : place + DIGEST], place + DIGEST
    height, width = _SIZES.unpack_from(body, place)
    if not is_size(height, width):
        raise BitstreamError(f"a picture of {width}x{height}; expected at least 1x1 and at most 2^30 pixels")
    place += _SIZES.size
    return Coded(
        name.decode("ascii", "replace"),
        fingerprint,
        height,
        width,
        body[place : place + DIGEST],
        body[place + DIGEST :],
    )
