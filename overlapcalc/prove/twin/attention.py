"""Scaled dot-product attention in every spelling."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .call import Call
from .modular import MOST_TERMS, key, mod, of_number
from .norm import LEFT_OUT, softened
from .registry import twin


@twin("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention",
      "_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention",
      "_scaled_dot_product_fused_attention_overrideable", "_scaled_dot_product_attention_math",
      "scaled_dot_product_attention")  # fmt: skip
def attention(call: Call) -> Any:
    q, k, v = call.tensor("query"), call.tensor("key"), call.tensor("value")
    if call["dropout_p"]:
        raise call.refused("draws at random: dropout")
    if q.shape[:-2] != k.shape[:-2] or k.shape[:-2] != v.shape[:-2]:
        raise call.refused(f"heads of queries {tuple(q.shape)} and keys {tuple(k.shape)} that differ")
    if max(q.shape[-1], k.shape[-2]) > MOST_TERMS:
        raise call.refused("sums of products that do not fit in 53 bits")
    scores = mod(mod(q @ k.transpose(-1, -2)) * of_number(call["scale"] or q.shape[-1] ** -0.5))
    mask = call["attn_mask"] if call["attn_mask"] is not None else call["attn_bias"]
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, LEFT_OUT)
    elif mask is not None:
        added = call.residues_of(mask)
        scores = torch.where(added == LEFT_OUT, LEFT_OUT, mod(scores + added))
    if call["is_causal"]:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, LEFT_OUT)
    y: Tensor = mod(softened(key("attention"), scores, -1) @ v)
    return call.with_others(y)
