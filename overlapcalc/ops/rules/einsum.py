"""Einsum: a letter that the result does not have is summed over."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from ...algebra.index_map import IndexMap
from ..accumulate import added, precise, wide
from ..call import Call
from ..cost import kernel
from ..facts import describe
from ..graph import Constant
from ..kind import Kind
from ..law import DimRead, Law, Link, Place, whole
from ..parts import Band, Cut, Partial, in_parts
from ..registry import rule
from ..slab import Tensor


@rule("aten::einsum", shown=False)
def einsum(call: Call) -> Law:
    """A letter of the result is read index by index; any other letter, and every letter of a diagonal, whole."""
    operands, result = _letters(call)
    n = len(result)
    links: list[Link] = []
    places: list[Place] = []
    for i, (value, at, letters) in enumerate(zip(call["tensors"], call.positions("tensors"), operands, strict=True)):
        if isinstance(value, Constant):
            places += call.place("tensors", {s: result.index(c) for s, c in enumerate(letters) if c in result}, item=i)
            continue
        assert at is not None
        dims = []
        for s, c in enumerate(letters):
            t = result.index(c) if c in result else None
            if letters.count(c) > 1:
                dims.append(whole(s, None, "einsum takes a diagonal"))
            elif t is None:
                dims.append(whole(s, None, "einsum sums over the whole axis"))
            elif call.shapes[at][s] == 1 and call.shape[t] > 1:
                dims.append(whole(s, t, "one sample is spread over the whole axis"))
            else:
                dims.append(DimRead(s, t, IndexMap.identity()))
        met = {d.target for d in dims}
        links.append(Link(at, (*dims, *(DimRead(None, t) for t in range(n) if t not in met))))
    zeros = any(isinstance(v, Constant) and (v.alive or v.uneven or v.pattern) for v in call["tensors"])
    return Law(tuple(replace(link, exact=not zeros) for link in links), places=tuple(places))


def _letters(call: Call) -> tuple[list[list[str]], list[str]]:
    """The letters of each operand and of the result; the dimensions of an ellipsis are called "0", "1", ..."""
    equation = str(call["equation"]).replace(" ", "")
    left, arrow, right = equation.partition("->")
    positions = call.positions("tensors")
    ranks = [len(v.shape) if isinstance(v, Constant) else len(call.shapes[at or 0])
             for v, at in zip(call["tensors"], positions, strict=True)]  # fmt: skip
    terms = left.split(",")
    most = max((r - len(t.replace("...", "")) for r, t in zip(ranks, terms, strict=True) if "..." in t), default=0)
    operands = []
    for rank, term in zip(ranks, terms, strict=True):
        before, dots, after = term.partition("...")
        spread = rank - len(before) - len(after) if dots else 0
        operands.append([*before, *(str(most - spread + i) for i in range(spread)), *after])
    if not arrow:
        once = sorted(c for c in {*left} - {*",."} if left.count(c) == 1)
        return operands, [*(str(i) for i in range(most)), *once]
    before, dots, after = right.partition("...")
    return operands, [*before, *(str(i) for i in range(most if dots else 0)), *after]


describe("aten::einsum", kind=Kind.MATRIX_PRODUCT)


@kernel("aten::einsum", dense=True)
def einsum_kernel(call: Call) -> int:
    """From left to right, two operands at a time: the sizes of all letters that are needed later or that both have."""
    operands, result = _letters(call)
    sizes: dict[str, int] = {}
    for value, at, letters in zip(call["tensors"], call.positions("tensors"), operands, strict=True):
        shape = value.shape if isinstance(value, Constant) else call.shapes[at or 0]
        for letter, size in zip(letters, shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    total, left = 0, set(operands[0])
    for i, right in enumerate(operands[1:], 1):
        later = set(result).union(*operands[i + 1 :])
        joined = {c for c in left | set(right) if c in later or (c in left and c in right)}
        total += prod(sizes[c] for c in joined)
        left = joined & later
    return total


# ---- in parts, over a letter that is summed over ----------------------------------------------------------------


def contracts(call: Call, cut: Cut) -> bool:
    """Whether the operands that are cut, and no others, have one letter along the cut, which is summed over."""
    operands, result = _letters(call)
    positions = call.positions("tensors")
    letters = {operands[i][d] for i, k in enumerate(positions) if k is not None and (d := cut[k]) is not None}
    if len(letters) != 1 or letters & set(result):
        return False
    (letter,) = letters
    for value, k, own in zip(call["tensors"], positions, operands, strict=True):
        if own.count(letter) > 1:
            return False
        s = own.index(letter) if letter in own else None
        here = None if k is None else cut[k]
        size = 1 if s is None else (value.shape if isinstance(value, Constant) else call.shapes[k or 0])[s]
        if s != here and size > 1:
            return False
    return True


def start(band: Band) -> Partial:
    """With constants among the operands, as it is: a half type then rounds the sum of each band."""
    positions = band.call.positions("tensors")
    if None in positions:
        return (precise(band.run()),)
    return (precise(band.run(tensors=[wide(band.operand(k or 0)) for k in positions])),)


def finish(call: Call, partial: Partial) -> Tensor:
    result: Tensor = partial[0]
    return result


in_parts("aten::einsum", fits=contracts, start=start, combine=added, finish=finish)
