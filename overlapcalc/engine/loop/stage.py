"""What a caller says about a loop: which outputs become which input, and how; and what its hook is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ...analysis.cone import Point
from ...errors import InputError


@dataclass(frozen=True)
class Cells:
    """The cells that a stage makes in one step.

    places: of each cell along each axis, in row-major order. outputs: by name, (cells, ...): the output's own
    dimensions with the length of a cell along each axis. step: counted from 0.

    >>> cells = oc.Cells(((0, 1),), {"logits": torch.zeros(1, 1, 256, 1, 1)}, step=1)
    >>> cells["logits"].shape, len(cells)
    (torch.Size([1, 1, 256, 1, 1]), 1)
    """

    places: tuple[Point, ...]
    outputs: Mapping[str, Tensor] = field(repr=False)
    step: int = 0

    def __getitem__(self, name: str) -> Tensor:
        return self.outputs[name]

    def __len__(self) -> int:
        return len(self.places)


Hook = Callable[[Cells], Tensor]
"""What makes cells of an input out of cells of outputs: quantises, codes, samples. It returns (cells, ...): the input's
own dimensions with the length of a cell along each axis."""


@dataclass(frozen=True)
class Stage:
    """One input that is made cell by cell. outputs: names of what the hook is given. feeds: the input.

    >>> oc.Stage(("output",), lambda cells: cells["output"].clamp(0, 1), feeds="x").feeds
    'x'
    """

    outputs: tuple[str, ...]
    hook: Hook = field(repr=False, compare=False)
    feeds: str


def check_stages(stages: Sequence[Stage], inputs: Iterable[str], outputs: Iterable[str]) -> None:
    """Raises InputError where stages do not fit a net with these inputs and outputs."""
    fed = [stage.feeds for stage in stages]
    if not stages:
        raise InputError("no stages: say which output is fed back as which input")
    for stage in stages:
        if not isinstance(stage.feeds, str):
            raise InputError(f"a stage feeds {stage.feeds!r}; expected the name of an input: {', '.join(inputs)}")
        if not isinstance(stage.outputs, (tuple, list)) or not stage.outputs:
            raise InputError(f"stage of {stage.feeds}: outputs is {stage.outputs!r}; expected names, in a tuple")
        for name in stage.outputs:
            if name not in outputs:
                raise InputError(f"stage of {stage.feeds}: no output {name!r}; the net gives {', '.join(outputs)}")
        if not callable(stage.hook):
            raise InputError(f"stage of {stage.feeds}: hook is {stage.hook!r}; expected a function of Cells")
        if stage.feeds not in inputs:
            raise InputError(f"a stage feeds {stage.feeds!r}; the net takes {', '.join(inputs)}")
        if fed.count(stage.feeds) > 1:
            raise InputError(f"two stages feed {stage.feeds}; give each an input of its own")
