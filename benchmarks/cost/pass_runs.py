"""The runs that `passes` measures, each in a process of its own: a net whole and by passes, from file to file.

net: a name of NETS. size: the side of the image. folder: where the files of inputs and outputs lie. dtype: of all.
"""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import overlapcalc as oc
from examples.vae_decoder import Decoder

from ..bounded import bounded
from ..highwater import _status

Record = dict[str, Any]
WHOLE, LAST, PASSES = "whole, contiguous", "whole, channels_last", "passes"
WARM = 64
"""The side of the image of a warm-up."""
SLACK = 1.15
"""A limited process may take so many times what its plan says."""


def stack() -> nn.Module:
    """Twelve times a convolution, a group norm and SiLU, on 32 channels."""
    layers = [(nn.Conv2d(32, 32, 3, padding=1), nn.GroupNorm(8, 32), nn.SiLU()) for _ in range(12)]
    return nn.Sequential(*(layer for triple in layers for layer in triple))


def decoder() -> nn.Module:
    return Decoder(32, 64, 128, 128)


NETS: dict[str, tuple[Callable[[], nn.Module], int, int, int]] = {
    "stack": (stack, 32, 1, 32),
    "decoder": (decoder, 4, 8, 3),
}
"""What makes it, channels of the input, image samples per input sample, channels of the output."""


def make_input(net: str, size: int, folder: str, dtype: str) -> Record:
    """Writes the input."""
    shape, _ = shapes(net, size)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    _mapped(Path(folder) / f"in-{dtype}", shape, getattr(torch, dtype)).copy_(x)
    return {}


def shapes(net: str, size: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    _, channels, factor, outputs = NETS[net]
    return (1, channels, size // factor, size // factor), (1, outputs, size, size)


def run(net: str, size: int, folder: str, dtype: str, way: str, rows: int, limited: bool, bound: int = 0) -> Record:
    """processor, wall: seconds. anonymous: bytes beyond what there was before. By passes also plan,
    written, disk: bytes. The output is kept in a file. limited: the process may take SLACK times what the plan of
    passes says, and no more. bound: the most bytes that the run may take with the page cache of its files; "bounded"
    says whether that could be set here."""
    kind, (shape, out_shape) = getattr(torch, dtype), shapes(net, size)
    torch.manual_seed(0)
    model = NETS[net][0]().eval().to(kind)
    source, out = (_mapped(Path(folder) / f"{end}-{dtype}", s, kind)
                   for end, s in (("in", shape), (way, out_shape)))  # fmt: skip
    record: Record = {}
    if way == PASSES or limited:
        tiled = oc.tiled(model, shape, schedule="passes", block=rows, spill=folder, stream_axis="H")
        plan = tiled.plan(shape, stored=True)
        assert plan.passes is not None
        assert plan.memory is not None
        assert tiled.machine(shape, stored=True).calls  # traced now, not in the measured run
        record = {"plan": plan.memory.activations, "written": plan.passes.written, "disk": plan.passes.disk}
    small = torch.zeros(shapes(net, WARM)[0], dtype=kind)
    if way == PASSES:
        tiled(small)
        work: Callable[[], object] = lambda: tiled(_Image(source), out=out)  # noqa: E731
    else:
        order = torch.channels_last if way == LAST else torch.contiguous_format
        model.to(memory_format=order)  # type: ignore[call-overload]
        model(small.to(memory_format=order))
        work = lambda: out.copy_(model(source.to(memory_format=order)))  # noqa: E731
    with bounded(bound) if bound else nullcontext(False) as is_bounded, Anonymous() as taken:
        if limited:  # the stack of the thread that looks is there already
            most = int(_status("VmData") + SLACK * record["plan"])
            resource.setrlimit(resource.RLIMIT_DATA, (most, most))
        wall, processor = time.perf_counter(), time.process_time()
        work()
        record |= {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    return {**record, "anonymous": taken.most - taken.before, "bounded": is_bounded}


class _Image:
    """A mapped tensor of which only slices are read: what a file is to passes. numpy has no bfloat16."""

    def __init__(self, x: Tensor) -> None:
        self._x, self.shape, self.dtype = x, x.shape, x.dtype

    def __getitem__(self, place: Any) -> Tensor:
        return self._x[place].clone()


def _mapped(path: Path, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """The file as a tensor; its pages are the file's, and not anonymous."""
    numel = torch.Size(shape).numel()
    return torch.from_file(str(path), shared=True, size=numel, dtype=dtype).reshape(shape)


def error(net: str, size: int, folder: str, dtype: str, way: str, exact: str) -> Record:
    """error: the largest difference of an output from that in float64, over the largest of that."""
    _, shape = shapes(net, size)
    found, wanted = (_mapped(Path(folder) / name, shape, getattr(torch, kind))
                     for name, kind in ((f"{way}-{dtype}", dtype), (exact, "float64")))  # fmt: skip
    worst = max(float((a.double() - b).abs().max()) for a, b in zip(found[0], wanted[0], strict=True))
    return {"error": worst / float(wanted.abs().max())}


class Anonymous:
    """The most anonymous memory of this process, looked at every 2 ms; mapped files are none of it. Linux only."""

    def __enter__(self) -> Anonymous:
        self.before = self.most = _status("RssAnon")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.002):
            self.most = max(self.most, _status("RssAnon"))
