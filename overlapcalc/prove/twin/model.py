"""The net that runs under `Modular`: a copy of the user's own, with residues as weights."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import InputError, NoTwin
from .mode import current
from .modular import residues


def twin_of(model: nn.Module, seed: int = 0) -> nn.Module:
    """A copy in eval mode and float64, on the same devices, whose weights are residues drawn by name.

    Its buffers keep their values: they may be masks, or distances that forward compares; they become residues where
    they meet data. The model itself is not touched. Raises NoTwin where the model cannot be copied.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        for value in (*module._buffers.values(), *vars(module).values()):
            # old-style weight_norm keeps a computed tensor as an attribute, which deepcopy refuses
            if isinstance(value, Tensor) and not value.is_leaf and id(value) not in memo:
                memo[id(value)] = value.detach().clone()
    try:
        twin = copy.deepcopy(model, memo).eval().double()
    except Exception as error:
        raise NoTwin(
            f"{type(model).__name__}: cannot be copied to eval mode and float64 ({error}), so it has no exact twin"
        ) from error
    with torch.no_grad():
        for name, p in twin.named_parameters():
            if p.is_complex():
                raise NoTwin(f"{name}: complex weights have no exact twin")
            if p.is_floating_point():
                drawn = int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=6).digest(), "big")
                p.copy_(residues(p.shape, drawn, p.device))
    for name, module in twin.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            continue  # takes no hooks; its residues are recognised by their values
        # before any hook that computes a weight
        module.register_forward_pre_hook(partial(_enter, name), prepend=True, with_kwargs=True)
        module.register_forward_hook(_leave, always_call=True)
    return twin


def _enter(name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    mode = current()
    if mode is not None:
        mode.entered(name, _inside((args, kwargs)))


def _leave(module: nn.Module, args: tuple[Any, ...], result: Any) -> None:
    mode = current()
    if mode is not None:
        mode.left()


def _inside(value: Any, depth: int = 0) -> list[Tensor]:
    """The tensors in an argument, however deep in lists, dictionaries and objects of the net's own classes.

    Raises InputError where it is too deep to find them all: one that is missed would be taken for a constant.
    """
    if isinstance(value, Tensor):
        return [value]
    if depth > DEEPEST:
        raise InputError(f"the twin was given arguments nested more than {DEEPEST} deep: pass tensors")
    if isinstance(value, Mapping):
        parts: list[Any] = list(value.values())
    elif isinstance(value, (list, tuple, set, frozenset)):
        parts = list(value)
    elif isinstance(value, (nn.Module, type)):
        return []
    else:
        parts = list(getattr(value, "__dict__", {}).values())
        parts += [getattr(value, name, None) for name in getattr(type(value), "__slots__", ())]
    return [t for part in parts for t in _inside(part, depth + 1)]


DEEPEST = 20
