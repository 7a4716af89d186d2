"""Matrix products, linear layers, einsum: the dimension that is summed over is read whole."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from ...algebra.index_map import IndexMap
from ..call import Call
from ..cost import kernel
from ..facts import describe
from ..graph import Constant
from ..kind import Kind
from ..law import DimRead, Law, Link, Place, keep, whole
from ..registry import rule


@rule("aten::linear")
def linear(call: Call) -> Law:
    """Mixes the last dimension: channels in a channels-last net."""
    n = len(call.shapes[0])
    weight = call.constant("weight")
    last = whole(n - 1, n - 1, "a linear layer mixes all positions of the axis")
    if weight is None:
        return matrix_product(call)
    if len(weight.shape) == 1:
        last = whole(n - 1, None, "a linear layer mixes all positions of the axis")
    elif weight.pattern is not None:
        last = replace(last, reads=IndexMap.table(weight.pattern))
    if call.position("input") is None:  # only the bias is data
        return matrix_product(call)
    places = (*call.place("weight", {0: n - 1} if len(weight.shape) > 1 else {}), *call.place("bias", {0: n - 1}))
    links = [Link(call.position("input") or 0, keep(n, but={n - 1: last}), exact=not weight.uneven)]
    at = call.position("bias")
    if at is not None:
        links.append(Link(at, _from_the_right(call, at)))
    return Law(tuple(links), places=places)


def _from_the_right(call: Call, operand: int) -> tuple[DimRead, ...]:
    """A summand, broadcast from the right as torch does."""
    shape, n = call.shapes[operand], len(call.shape)
    targets = [n - len(shape) + s for s in range(len(shape))]
    dims = [
        DimRead(s, t, None if shape[s] == 1 and call.shape[t] > 1 else IndexMap.identity())
        for s, t in enumerate(targets)
    ]
    return (*dims, *(DimRead(None, t) for t in range(n - len(shape))))


@rule("aten::matmul", "aten::bmm", "aten::mm", "aten::addmm", "aten::baddbmm", "aten::mv", "aten::dot", shown=False)
def matrix_product(call: Call) -> Law:
    """Rows of the left factor, columns of the right one; the dimension that is summed over is read whole."""
    n = len(call.shape)
    factors = {call.position(name): (name, *geometry) for name, geometry in _geometry(call).items()}
    links = []
    for k, shape in enumerate(call.shapes):
        if k not in factors:  # a summand
            links.append(Link(k, _from_the_right(call, k)))
            continue
        name, between, targets = factors[k]
        dims = [whole(between, None, "a matrix product mixes all positions of the axis")]
        exact = True
        other = _other(call, k)
        if other is not None:
            (theirs,) = (g for key, g in _geometry(call).items() if key != name)
            kept = max(theirs[1].items())[1]  # where the other factor's own dimension ends up
            exact = not other.uneven
            if other.pattern is not None:
                dims = [replace(dims[0], target=kept, reads=_lines(other, name == _names(call)[0]))]
        for s, t in targets.items():
            spread = shape[s] == 1 and call.shape[t] > 1
            dims.append(DimRead(s, t, None if spread else IndexMap.identity()))
        links.append(Link(k, tuple(dims), exact=exact))
    return Law(tuple(links), places=_factors(call, n))


def _geometry(call: Call) -> dict[str, tuple[int, dict[int, int]]]:
    """For each factor: the dimension that is summed over, and where the others end up in the product.

    A vector has no rows, or no columns, of its own; the product then has one dimension less.
    """
    names = _names(call)
    ranks = []
    for name in names:
        value, at = call[name], call.position(name)
        ranks.append(len(value.shape) if isinstance(value, Constant) else len(call.shapes[at or 0]))
    n = len(call.shape)
    lead = n - sum(m >= 2 for m in ranks)  # the number of dimensions of the product before rows and columns
    turned = call.node.op == "aten::linear"  # its weight has the columns first
    found: dict[str, tuple[int, dict[int, int]]] = {}
    for place, (name, m) in enumerate(zip(names, ranks, strict=True)):
        if m == 1:
            found[name] = (0, {})
            continue
        between = m - 1 if place == 0 or turned else m - 2
        own = 2 * m - 3 - between  # the other one of the last two
        targets = {s: lead - (m - 2) + s for s in range(m - 2)}
        found[name] = (between, {**targets, own: lead if place == 0 else n - 1})
    return found


def _other(call: Call, operand: int) -> Constant | None:
    """The constant that the only data factor of a product is multiplied by."""
    left, right = _names(call)
    pair = call[left], call[right]
    at = call.position(left), call.position(right)
    if at == (operand, None) and isinstance(pair[1], Constant):
        return pair[1] if len(pair[1].shape) >= 2 else None
    if at == (None, operand) and isinstance(pair[0], Constant):
        return pair[0] if len(pair[0].shape) >= 2 else None
    return None


def _lines(factor: Constant, right: bool) -> IndexMap:
    """The summed indices that each column of a right factor, or each row of a left one, uses."""
    assert factor.pattern is not None
    if not right:
        return IndexMap.table(factor.pattern)
    columns: list[list[int]] = [[] for _ in range(factor.shape[-1])]
    for i, row in enumerate(factor.pattern):
        for j in row:
            columns[j].append(i)
    return IndexMap.table(columns)


def _names(call: Call) -> tuple[str, str]:
    """The arguments that are the two factors."""
    return next(
        pair for pair in (("mat1", "mat2"), ("batch1", "batch2"), ("self", "mat2"), ("self", "other"), ("self", "vec"),
                          ("self", "tensor"), ("input", "weight")) if all(name in call.node.args for name in pair)
    )  # fmt: skip


def _factors(call: Call, n: int) -> tuple[Place, ...]:
    """Constant factors lie along every dimension that the product keeps; a constant summand, as it is broadcast."""
    geometry = _geometry(call)
    places: list[Place] = []
    for name, value in call.node.args.items():
        if isinstance(value, Constant):
            m = len(value.shape)
            places += call.place(name, geometry[name][1] if name in geometry else {s: n - m + s for s in range(m)})
    return tuple(places)


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


describe("aten::linear", "aten::matmul", "aten::bmm", "aten::mm", "aten::addmm", "aten::baddbmm", "aten::mv",
         "aten::dot", "aten::einsum", kind=Kind.MATRIX_PRODUCT)  # fmt: skip


@rule("aten::_cdist_forward", "aten::_euclidean_dist", shown=False)
def distances(call: Call) -> Law:
    """Rows of the first operand against rows of the second; each row is read whole."""
    n = len(call.shape)
    places: list[Place] = []
    links = []
    for place, name in enumerate(("x1", "x2")):
        value, at, target = call[name], call.position(name), n - 2 + place
        rank = len(value.shape) if isinstance(value, Constant) else len(call.shapes[at or 0])
        targets = {s: n - rank + s for s in range(rank - 2)} | {rank - 2: target}
        places += call.place(name, targets)
        if at is None:
            continue
        dims = [DimRead(s, t, None if call.shapes[at][s] == 1 and call.shape[t] > 1 else IndexMap.identity())
                for s, t in targets.items()]  # fmt: skip
        dims.append(whole(rank - 1, None, "a distance is taken along the axis"))
        met = {d.target for d in dims}
        links.append(Link(at, (*dims, *(DimRead(None, t) for t in range(n) if t not in met))))
    return Law(tuple(links), places=tuple(places))


@kernel("aten::addmm", "aten::baddbmm", dense=True)
@kernel("aten::linear", "aten::matmul", "aten::bmm", "aten::mm", "aten::mv", "aten::dot")
def product_kernel(call: Call) -> int:
    """Every entry of the product, times the length of the dimension that is summed over."""
    name = _names(call)[0]
    value, at = call[name], call.position(name)
    shape = call.shapes[at] if at is not None else value.shape
    return prod(call.shape) * int(shape[_geometry(call)[name][0]])


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
