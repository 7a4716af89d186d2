"""Attention: queries keep their place, keys and values are read whole."""

from __future__ import annotations

from math import prod

from ...algebra.index_map import IndexMap
from ..call import Call
from ..cost import kernel
from ..graph import Constant
from ..law import DimRead, Law, Link, Place, drawn, whole
from ..registry import rule

EVERY = "attention reads every position"
WEIGHTS = ("qkv_weight", "qkv_bias", "proj_weight", "proj_bias")
FUSED = (
    "aten::scaled_dot_product_attention",
    "aten::_scaled_dot_product_flash_attention_for_cpu",
    "aten::_scaled_dot_product_flash_attention",
    "aten::_scaled_dot_product_efficient_attention",
)


@rule("aten::_native_multi_head_attention", shown=False)
def multi_head_attention(call: Call) -> Law:
    """(batch, position, channel): positions and channels are read whole.

    A mask of type 0 is (query, key), of type 1 (batch, key), of type 2 (batch, head, query, key).
    """
    n = len(call.shape)
    links = []
    for k, shape in enumerate(call.shapes):
        dims = [DimRead(0, 0, IndexMap.identity())]
        dims += [whole(s, None, EVERY) for s in range(1, len(shape))]
        links.append(Link(k, (*dims, *(DimRead(None, t) for t in range(1, n)))))
    places = [p for name in WEIGHTS for p in call.place(name)]
    places += [p for name in ("query", "key", "value") for p in call.place(name, {0: 0})]
    if call["mask_type"] is not None:
        places += call.place("mask", {} if call["mask_type"] == 0 else {0: 0})
    return Law(tuple(links), places=tuple(places))


@rule(*FUSED, shown=False)
def attention(call: Call) -> Law:
    """(..., position, channel), leading dimensions broadcast; a mask is (..., query, key)."""
    if call.node.result:  # a result that only a backward pass uses
        return Law(())
    n = len(call.shape)
    mask = "attn_bias" if "attn_bias" in call.node.args else "attn_mask"
    exact = call[mask] is None and not call["is_causal"]
    links, places = [], list[Place]()
    for name in ("query", "key", "value", mask):
        at = call.position(name)
        shape = call.shapes[at] if at is not None else call[name].shape if isinstance(call[name], Constant) else ()
        m = len(shape)
        lead = {s: s + n - m for s in range(m - 2)}
        own = {"query": {m - 2: n - 2}, "value": {m - 1: n - 1}, mask: {m - 2: n - 2}}.get(name, {})
        if at is None:
            places += call.place(name, {**lead, **own})
            continue
        dims = [  # several heads of queries may share one of keys and values
            DimRead(s, t, IndexMap.repeat(max(1, call.shape[t] // max(1, shape[s]))))
            for s, t in {**lead, **own}.items()
        ]
        dims += [whole(s, None, EVERY) for s in (m - 2, m - 1) if s not in own]
        met = {d.target for d in dims}
        links.append(Link(at, (*dims, *(DimRead(None, t) for t in range(n) if t not in met)), exact=exact))
    return Law(tuple(links), obstructions=drawn(n) if call["dropout_p"] else (), places=tuple(places))


@kernel(*FUSED, dense=True)
def attention_kernel(call: Call) -> int:
    """Queries times keys, and the result times values."""
    shapes = []
    for name in ("query", "key", "value"):
        value, at = call[name], call.position(name)
        shapes.append(call.shapes[at] if at is not None else value.shape)
    query, key, value = shapes
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])
