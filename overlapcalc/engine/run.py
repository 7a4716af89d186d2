"""The public ways to run a net by blocks: `run`, `blocks`, `tiled`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from ..analysis.analyze import analyze, analyze_here
from ..analysis.called import Kwargs, followed_each, refuse_others
from ..analysis.inputs import own_type
from ..analysis.shapes import as_shape
from ..errors import InputError
from ..planning.options import BLOCKING_OPTIONS, PASSES, Blocking, BlockingOptions, refuse_unknown
from ..planning.plan import Plan
from ..trace.arguments import Arguments, arguments_of
from ..trace.evaluating import evaluating
from . import Block, Machine
from .apart import check_apart
from .assemble import assemble
from .fingerprint import Fingerprint, fingerprint
from .fit import Fitter, offering_padding
from .free_memory import free_memory
from .padded import kept, padded
from .plan import planned
from .store import Image, check, check_out, type_of
from .witness import Witness

if TYPE_CHECKING:  # it comes with torch
    from typing_extensions import Unpack


class Options(BlockingOptions, total=False):
    """How to run by blocks: the options of `plan`."""

    axes: Sequence[str] | str | None
    layout: str | Sequence[str | None] | None


def run(model: nn.Module, *inputs: Any, kwargs: Kwargs = None, out: Any = None, **options: Unpack[Options]) -> Any:
    """The result of `model(*inputs, **kwargs)` in eval mode, computed block by block.

    inputs are whatever forward takes, dictionaries, lists, numbers; they may also be one tuple or list, as for
    `analyze`. options: block, schedule, stream_axis, memory, fixed_tile, disk, spill, pad_to_fit, axes, layout, as for
    `plan`. Where neither a block nor a budget is given and the usual blocks would take more than the free memory,
    smaller ones are taken. With pad_to_fit, the result is that of the whole net on the padded inputs, cut: see
    `Padding`.

    An input may be anything with shape, dtype and slicing instead of a tensor (numpy's memmap, a zarr array): only what
    a block needs is read. out: where to write, a tensor or such an array for a net with one output, a mapping by name
    for several; then `out` is returned. An output must not share the memory, the file or the store of an input or of
    another output. A mapped file gets its disk space before the first block.

    Returns what the model returns, tensors in the same structure. The model is left as it was; its present weights are
    used. For many images of one size, `tiled` plans only once.
    Raises what `plan` raises: a net that cannot be run by blocks along these axes is never run.

    >>> net, x = nn.Conv1d(1, 1, 3, padding=1), torch.rand(1, 1, 32)
    >>> torch.allclose(oc.run(net, x, block=8), net(x))
    True
    """
    return Tiled(model, **options)(*inputs, kwargs=kwargs, out=out)


def blocks(model: nn.Module, *inputs: Any, kwargs: Kwargs = None, **options: Unpack[Options]) -> Iterator[Block]:
    """The blocks of `run` one by one: `block.regions["output"]["W"]` is a Span, `block.results["output"]` a tensor.

    Together the regions cover every output exactly once.

    >>> net, x = nn.Conv1d(1, 1, 3, padding=1), torch.rand(1, 1, 32)
    >>> [str(block.regions["output"]["L"]) for block in oc.blocks(net, x, block=12)]
    ['[0, 12)', '[12, 24)', '[24, 32)']
    """
    return Tiled(model, **options).blocks(*inputs, kwargs=kwargs)


def tiled(model: nn.Module, *inputs: Any, kwargs: Kwargs = None, **options: Unpack[Options]) -> Tiled:
    """`model` as a module that runs by blocks, planned for these inputs, shapes or tensors (see `Tiled`).

    inputs, kwargs: as for `analyze`, also one after the other. Numbers among them hold for every call: another one is
    refused. options: those of `run`.

    >>> net = oc.tiled(nn.Conv1d(1, 1, 3, padding=1), (1, 1, 32), block=8)
    >>> net(torch.rand(1, 1, 32)).shape
    torch.Size([1, 1, 32])
    """
    made = Tiled(model, **options)
    if inputs or kwargs:
        made.plan(*inputs, kwargs=kwargs)
        made.held = arguments_of(made.given(inputs, kwargs)[0])
    return made


class Tiled(nn.Module):
    """A net that runs by blocks. For inference: it runs in eval mode and without gradients.

    A plan belongs to the shapes of the inputs, batch included. Other shapes get a plan of their own at the first call,
    which costs some traces; plans are kept. Types and devices are those of the wrapped `model` and of the inputs, and
    may change between calls (`.to(...)`, `load_state_dict` of the model). So may whatever else forward can see, at
    the price of a new plan: the bytes of buffers and other tensors, attributes and what they hold, layers, hooks,
    replaced functions, and globals (docs/guard.md says what goes unnoticed).

    >>> oc.Tiled(nn.Conv1d(1, 1, 3, padding=1), block=8).plan((1, 1, 32)).count
    4
    """

    def __init__(self, model: nn.Module, **options: Unpack[Options]) -> None:
        if not isinstance(model, nn.Module):
            wrong = f"model is a {type(model).__name__}; expected a torch.nn.Module"
            raise InputError(f"{wrong}; give an instance, not a class")
        super().__init__()
        self.model = model
        refuse_unknown(options, *BLOCKING_OPTIONS, "axes", "layout")
        asked: dict[str, Any] = dict(options)
        self._axes, self._layout = asked.pop("axes", None), asked.pop("layout", None)
        self._blocking = Blocking(**asked)
        self._machines: dict[Signature, tuple[Fingerprint | None, Machine]] = {}
        self._fitter: tuple[Fingerprint | None, Fitter] | None = None
        self.held: Arguments | None = None  # what every call is given besides tensors

    def plan(self, *inputs: Any, kwargs: Kwargs = None, stored: bool = False) -> Plan:
        """The plan for these inputs, shapes or tensors. Raises what `overlapcalc.plan` raises.

        stored: as for `overlapcalc.plan`; a call with `out` is planned that way.

        >>> oc.tiled(nn.Conv1d(1, 1, 3, padding=1), block=12).plan((1, 1, 32)).count
        3
        """
        plan = self.machine(*inputs, kwargs=kwargs, stored=stored).plan
        _ = plan.memory  # computed now, or refused now, although a run does not need it
        return plan

    def machine(self, *inputs: Any, kwargs: Kwargs = None, stored: bool = False) -> Machine:
        """The machine that runs such inputs."""
        net, shapes = self.given(inputs, kwargs)
        own = own_type(self.model)
        listed = [(tuple(x.shape), x.dtype) if isinstance(x, Tensor) else (as_shape(x), own) for x in shapes]
        return self._machine_for(net, Signature(tuple(listed), stored, id(net)))

    def given(self, inputs: Sequence[Any], kwargs: Kwargs, *, run: bool = False) -> tuple[nn.Module, Sequence[Any]]:
        """The net as it is called with these inputs, and its tensors or shapes. Raises InputError."""
        net, tensors = followed_each(self.model, inputs, kwargs, run=run)
        refuse_others(self.model, self.held, arguments_of(net))
        return net, tensors

    def _machine_for(self, net: nn.Module, signature: Signature) -> Machine:
        """The machine that is kept, or a new one where anything that forward can see has changed."""
        now = fingerprint(self.model)
        then, known = self._machines.pop(signature, (None, None))
        same = known is not None and known.model is net and then is not None and now is not None and then.same(now)
        self._look_again(net, now)
        found = known if known is not None and same else self._made(net, signature)
        self._machines[signature] = now, found
        while len(self._machines) > PLANS_KEPT:
            del self._machines[next(iter(self._machines))]
        return found

    def forward(
        self,
        *inputs: Any,
        kwargs: Kwargs = None,
        out: Any = None,
        after: Callable[[], object] | None = None,
        **named: Any,
    ) -> Any:
        """What the net returns for the whole, in the same structure; or `out`, filled with it.

        named: the same as kwargs, but for those that are called as an argument here.

        after: called after every block; by passes, after every band of every pass (`plan(...).steps` times).

        >>> net, out, done = oc.tiled(nn.ReLU(), block=8), torch.empty(1, 1, 32), []
        >>> net(torch.rand(1, 1, 32), out=out, after=lambda: done.append("block")) is out, len(done)
        (True, 4)
        """
        machine, tensors = self._prepared(inputs, {**(kwargs or {}), **named}, stored=out is not None)
        made = machine.plan
        stores: dict[str, Any] = _named_out(out, made)
        for i, store in enumerate(stores.values()):
            for image in tensors.values():
                check_apart(image, store)
            for other in list(stores.values())[:i]:
                check_apart(other, store, "another output")
        writers = {name: Witness(store, tuple(tensors.values())) for name, store in stores.items()}
        with torch.no_grad(), evaluating(self.model):
            room = _itself if made.count == 1 and made.results == made.outputs else Tensor.new_empty
            by_passes = made.passes is not None
            produced: Any = kept(machine.blocks(tensors, after_band=after if by_passes else None), made)
            with closing(produced):  # a spill file is gone at once, even where somebody keeps the error
                outputs = assemble(produced, made, writers=writers, room=room, after=None if by_passes else after)
        return machine.structured(outputs) if out is None else out

    def blocks(self, *inputs: Any, kwargs: Kwargs = None) -> Iterator[Block]:
        """See `overlapcalc.blocks`.

        >>> net = oc.tiled(nn.Conv1d(1, 1, 3, padding=1), block=12)
        >>> [block.results["output"].shape[2] for block in net.blocks(torch.rand(1, 1, 32))]
        [12, 12, 8]
        """
        machine, tensors = self._prepared(inputs, kwargs or {})
        produced = kept(machine.blocks(tensors), machine.plan)
        while True:
            with torch.no_grad(), evaluating(self.model):  # not while the caller looks at a block
                block = next(produced, None)
            if block is None:
                return
            yield block

    def _prepared(
        self, given: tuple[Any, ...], kwargs: Mapping[str, Any], *, stored: bool = False
    ) -> tuple[Machine, Mapping[str, Image]]:
        net, inputs = self.given(given, kwargs or None, run=True)
        arguments = arguments_of(net)
        self._check(inputs, None if arguments is None else arguments.names)
        types = tuple((tuple(x.shape), type_of(x)) for x in inputs)
        machine = self._machine_for(net, Signature(types, stored, id(net)))
        named: dict[str, Image] = dict(zip(machine.plan.inputs, inputs, strict=True))
        if machine.plan.padding is not None:
            shapes, mode = machine.plan.inputs, machine.plan.padding.mode
            named = {name: padded(x, shapes[name], mode) for name, x in named.items()}
        return machine, named

    def _check(self, inputs: Sequence[Image], names: Sequence[str] | None) -> None:
        where = next((p.device for p in self.model.parameters()), None)
        for i, x in enumerate(inputs):
            name = f"input {i}" if names is None else names[i]
            check(x, name)
            if where is not None and isinstance(x, Tensor) and x.device != where:
                raise InputError(f"{name} is on {x.device}, the model on {where}; move one of them")

    def _made(self, net: nn.Module, signature: Signature) -> Machine:
        given: Any = [torch.empty(shape, dtype=dtype, device="meta") for shape, dtype in signature.inputs]
        padding = None
        if self._fitter is not None:
            analysis, padding = self._fitter[1].fit(given)
        else:
            alone = self._blocking.named_schedule == PASSES  # they run at one size
            analysed = analyze_here if alone else analyze
            with offering_padding():
                analysis = analysed(net, given, axes=self._axes, layout=self._layout)
        device = next((p.device for p in self.model.parameters()), CPU)
        free = None if self._blocking.sized else free_memory(device)
        made = planned(analysis, self._blocking, stored=signature.stored, padding=padding, free=free)
        if any(name is None for name in made.leaves):
            raise InputError(
                f"the net returns {len(made.leaves)} values, of which "
                f"{sum(name is None for name in made.leaves)} depend on no input; return only what does, or None"
            )
        return Machine(net, analysis.variants, made)

    def _look_again(self, net: nn.Module, now: Fingerprint | None) -> None:
        """What makes inputs fit is made anew where anything that forward can see has changed."""
        if self._blocking.pad_to_fit is None:
            return
        then, known = self._fitter or (None, None)
        if known is None or known.model is not net or then is None or now is None or not then.same(now):
            known = Fitter(net, self._blocking, axes=self._axes, layout=self._layout)
        self._fitter = now, known


def _itself(block: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The first block itself, if it is the whole output: passes may have more bands than their plan has blocks."""
    return block if tuple(block.shape) == shape else block.new_empty(shape)


PLANS_KEPT = 16
CPU = torch.device("cpu")


class Signature(NamedTuple):
    """What a plan depends on: the shape and the type of every input, whether outputs are written by slices, and the net
    by its identity, which is another one where it is called otherwise."""

    inputs: tuple[tuple[tuple[int, ...], torch.dtype], ...]
    stored: bool
    net: int


def _named_out(out: Any, made: Plan) -> dict[str, Any]:
    """Where to write each output. Raises InputError."""
    if out is None:
        return {}
    if not isinstance(out, Mapping):
        if len(made.outputs) > 1:
            raise InputError(
                f"out is one {type(out).__name__}; the net gives {', '.join(made.outputs)}: give a mapping"
            )
        out = {next(iter(made.outputs)): out}
    if set(out) != set(made.outputs):
        raise InputError(f"out has {', '.join(map(str, out))}; the net gives {', '.join(made.outputs)}")
    for name, store in out.items():
        check_out(store, name, made.results[name])
    return dict(out)
