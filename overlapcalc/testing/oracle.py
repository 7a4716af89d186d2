"""Brute force: which input samples outputs depend on, found by running the net. It knows nothing of overlapcalc's laws.

Two kinds of evidence, each with a blind spot of its own:

- NaN in a sample spreads to whatever reads it. But `0 * NaN` is NaN too, so it also spreads along taps of weight zero
  (a mask, the clamped border of a linear resampling); and sign, comparisons, fmax or rounding through int may stop it.
- Another finite number in a sample changes an output only through a real tap. But a maximum, a flat function
  or the rounding of a small weight beside a large one may hide it.

So a finite change is proof, and NaN a limit. Both are tried under several fillings, always as two runs of one image
shape, so that the same kernels run and every difference is a dependency.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from ..errors import InputError

AXES = {3: "NCL", 4: "NCHW", 5: "NCDHW"}
BASES = (None, None, None, None, None, None, 1.0, 10.0, 0.1, 1.0, 10.0, 0.1, 1.0, 10.0, 0.1, 1.0)
"""Per trial, what surrounds the samples in question: None for the image itself, else the size of noise, so that a
maximum elsewhere does not hide them every time."""
FILLINGS = (1.0, -1.0, 30.0, -30.0, 1e4, -1e4, 10.0, 0.1, 1e2, -10.0, 1e8, -1e8, -0.1, 1e3, -1e3, 3.0)
"""Per trial, the size and sign of their new values."""
TOGETHER = 8
"""This many trials change all samples at once."""


@dataclass(frozen=True)
class Dependency:
    """What a span of outputs depends on, as indices of input samples along one axis.

    certain: a change of that sample alone changed the outputs. possible: these, and the samples whose NaN reached the
    outputs although no finite change did: a tap of weight zero, or one that was hidden in every trial. What is truly
    read includes `certain`, and lies within `possible` unless an operator stops NaN and hides every trial as well.

    >>> from overlapcalc.testing import positive
    >>> net = positive(nn.Conv1d(2, 2, 3, dilation=2, padding=2))
    >>> found = dependency(net, torch.rand(1, 2, 16), (5, 6), "L")
    >>> found.certain, found.span
    ((3, 5, 7), (3, 8))
    """

    certain: tuple[int, ...]
    possible: tuple[int, ...]

    @property
    def span(self) -> tuple[int, int] | None:
        """First and one past the last certain sample; None for nothing."""
        return _hull(self.certain)

    @property
    def widest(self) -> tuple[int, int] | None:
        """First and one past the last possible sample; None for nothing."""
        return _hull(self.possible)


def _hull(samples: Sequence[int]) -> tuple[int, int] | None:
    return (samples[0], samples[-1] + 1) if samples else None


def dependency(
    model: nn.Module,
    x: Any,
    output_span: tuple[int, int],
    axis: str | int,
    *,
    kwargs: Mapping[str, Any] | None = None,
    input: int = 0,
    output: int = 0,
    out_dim: int | None = None,
    dtype: torch.dtype = torch.float64,
) -> Dependency:
    """Which samples of `x` along `axis` the outputs `[start, stop)` along it depend on, by brute force.

    A float64 copy runs in eval mode, at least once per sample. axis: D, H, W or L of a tensor (N, C, ...), or the
    number of a dimension. x, kwargs: what forward takes, several arguments in a tuple or list. input, output: which
    tensor, where there are several. out_dim: the dimension of the output that
    the span counts along, that of the input when absent. For many spans of one net, `BruteForce` runs it only once.

    It measures this model at these weights and sizes. Weights near zero hide what they multiply: `positive(model)`
    is a copy without any. Raises InputError.

    >>> dependency(nn.Conv1d(1, 1, 3, padding=1), torch.rand(1, 1, 9), (4, 5), "L").span
    (3, 6)
    """
    if not isinstance(output_span, (tuple, list)) or len(output_span) != 2:
        raise InputError(f"output_span={output_span!r}: expected (start, stop)")
    return BruteForce(model, x, axis, kwargs=kwargs, input=input, output=output, out_dim=out_dim, dtype=dtype).of(
        *output_span
    )


class BruteForce:
    """What the outputs of one net depend on along one axis, for any number of spans. See `dependency`.

    >>> truth = BruteForce(nn.Conv1d(1, 1, 3, padding=1), torch.rand(1, 1, 9), "L")
    >>> truth.of(0, 1).span, truth.of(4, 6).span
    ((0, 2), (3, 7))
    """

    def __init__(
        self,
        model: nn.Module,
        x: Any,
        axis: str | int,
        *,
        kwargs: Mapping[str, Any] | None = None,
        input: int = 0,
        output: int = 0,
        out_dim: int | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        args = tuple(x) if type(x) in (list, tuple) else (x,)
        self._leaves, self._structure = tree_flatten((args, dict(kwargs or {})))
        given = [leaf for leaf in self._leaves if isinstance(leaf, Tensor)]
        if not 0 <= input < len(given):
            raise InputError(f"input={input}: {len(given)} given, counted from 0")
        self._images = [t.to(dtype) if t.is_floating_point() else t for t in given]
        self._input, self._output = input, output
        self._dim = _dimension(given[input], axis)
        self._out_dim = self._dim if out_dim is None else out_dim
        self._model = copy.deepcopy(model).to(dtype).eval()
        self.size = given[input].shape[self._dim]
        clean = self._run(self._images[input])
        if not bool(clean.isfinite().all()):
            raise InputError(
                f"the outputs on this image are not all finite in {dtype}: NaN would hide; give other values"
            )
        if bool(_changed(clean, self._run(self._images[input])).any()):
            raise InputError("the net gives something else every time on the same image; make it deterministic")
        self.out_size = clean.shape[self._out_dim]
        self._bases: dict[int, tuple[Tensor, Tensor]] = {}
        self._real: dict[tuple[int, int], Tensor] = {}
        self._reached = torch.stack([self._reached_by(i, clean) for i in range(self.size)])  # [inputs, outputs]

    def of(self, start: int, stop: int) -> Dependency:
        """What outputs `[start, stop)` depend on. Raises InputError for a span beyond the outputs."""
        if not 0 <= start < stop <= self.out_size:
            raise InputError(f"outputs [{start}, {stop}): expected a span within [0, {self.out_size})")
        by_nan = self._reached[:, start:stop].any(1)
        reached = by_nan.nonzero().flatten().tolist()
        suspects: Sequence[int] = reached
        others = (~by_nan).nonzero().flatten().tolist()
        if others and any(self._moved(others, trial)[start:stop].any() for trial in range(TOGETHER)):
            suspects = range(self.size)  # NaN was stopped somewhere: test every sample
        certain = [i for i in suspects if self._depends(i, start, stop)]
        return Dependency(tuple(certain), tuple(sorted({*reached, *certain})))

    def _depends(self, i: int, start: int, stop: int) -> bool:
        for trial in range(len(FILLINGS)):
            if (i, trial) not in self._real:
                self._real[i, trial] = self._moved([i], trial)
            if self._real[i, trial][start:stop].any():
                return True
        return False

    def _reached_by(self, i: int, clean: Tensor) -> Tensor:
        """[outputs]: which of them NaN in sample i changes; all of them where the net does not run on NaN."""
        dirty = self._images[self._input].clone()
        dirty.narrow(self._dim, i, 1).fill_(torch.nan)
        try:
            return self._along(_changed(clean, self._run(dirty)))
        except (RuntimeError, ValueError, AssertionError, IndexError):
            return torch.ones(self.out_size, dtype=torch.bool)

    def _moved(self, samples: Sequence[int], trial: int) -> Tensor:
        """[outputs]: which of them change when these samples get other values."""
        base, clean = self._base(trial)
        generator = torch.Generator().manual_seed(1000 + trial)
        noise = torch.randn(base.shape, generator=generator, dtype=torch.float64).abs().add(0.1)
        places = torch.tensor(samples)
        dirty = base.index_copy(self._dim, places, (FILLINGS[trial] * noise).to(base).index_select(self._dim, places))
        return self._along(_changed(clean, self._run(dirty)))

    def _base(self, trial: int) -> tuple[Tensor, Tensor]:
        if trial not in self._bases:
            base, scale = self._images[self._input], BASES[trial]
            if scale is not None:
                generator = torch.Generator().manual_seed(trial)
                base = scale * torch.randn(base.shape, generator=generator, dtype=torch.float64).to(base)
            self._bases[trial] = base, self._run(base)
        return self._bases[trial]

    def _run(self, image: Tensor) -> Tensor:
        images = [image.clone() if k == self._input else other.clone() for k, other in enumerate(self._images)]
        with torch.no_grad():
            waiting = iter(images)
            filled = [next(waiting) if isinstance(leaf, Tensor) else leaf for leaf in self._leaves]
            args, kwargs = tree_unflatten(filled, self._structure)
            leaves = tree_flatten(self._model(*args, **kwargs))[0]
        if not 0 <= self._output < len(leaves) or not isinstance(leaves[self._output], Tensor):
            raise InputError(f"output={self._output}: the net gives {len(leaves)} values; give one that is a tensor")
        found: Tensor = leaves[self._output]
        if found.dim() <= self._out_dim:
            raise InputError(
                f"the output has shape {tuple(found.shape)}, without a dimension {self._out_dim}; say along which one "
                "the span counts: out_dim="
            )
        return found

    def _along(self, changed: Tensor) -> Tensor:
        return changed.movedim(self._out_dim, 0).flatten(1).any(1)


def _changed(before: Tensor, after: Tensor) -> Tensor:
    return ~((before == after) | ((before != before) & (after != after)))


def _dimension(x: Tensor, axis: str | int) -> int:
    """The dimension of `x` that an axis is. Raises InputError where a single image has none such."""
    if not x.is_floating_point():
        raise InputError(f"x is {x.dtype}: expected a floating type, whose samples can be NaN")
    if isinstance(axis, int) and not isinstance(axis, bool):
        if not 0 <= axis < x.dim():
            raise InputError(f"axis={axis}: x has dimensions 0 to {x.dim() - 1}")
        return axis
    letters = AXES.get(x.dim(), "")
    if not isinstance(axis, str) or axis not in letters[2:] or len(axis) != 1:
        known = ", ".join(letters[2:])
        raise InputError(
            f"axis={axis!r}: x of shape {tuple(x.shape)} has {known or 'no axes that are known'}; give one of them, or "
            "the number of a dimension"
        )
    if x.shape[0] != 1:
        raise InputError(f"x holds {x.shape[0]} images; give one, as kernels for batches may mix them")
    return letters.index(axis)
