"""Files that something happened to."""

from __future__ import annotations

import random


def damaged(data: bytes, random_: random.Random) -> bytes:
    """Cut, with one bit changed, with bytes put in, exchanged, left out or added: never the same bytes."""
    changed = data
    while changed == data:
        changed = _damaged(data, random_)
    return changed


def _damaged(data: bytes, random_: random.Random) -> bytes:
    kind, place = random_.randrange(6), random_.randrange(len(data))
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + bytes([data[place] ^ 1 << random_.randrange(8)]) + data[place + 1 :]
    if kind == 2:
        return data[:place] + random_.randbytes(random_.randrange(1, 9)) + data[place:]
    if kind == 3:
        other, size = random_.randrange(len(data)), random_.randrange(1, 9)
        first, second = sorted((place, other))
        parts = data[:first], data[first : first + size], data[first + size : second], data[second : second + size]
        return b"".join((parts[0], parts[3], parts[2], parts[1], data[second + size :]))
    if kind == 4:
        return data[:place] + data[place + random_.randrange(1, 9) :]
    return data + random_.randbytes(random_.randrange(1, 9))
