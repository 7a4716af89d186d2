"""On CUDA: proofs and what goes with them, then memory and time of a codec, whole, by blocks and as a stream.

    python -m benchmarks.cost.cuda [--channels 128] [--images 4K 8K] [--device cuda] [--out FILE]

`make cuda` writes the page docs/results/cuda.md with it. Without CUDA it says "skipped: no CUDA" and does nothing else.
The page is written anew after each row: whatever a time limit cuts off, it holds what was measured until then and says
that it is not finished. Needs torch, networkx and numpy; the exact codecs safetensors and constriction as well. Exit
code 1: a proof that does not hold, an error above 1e-4, a bitstream that differs, or a part that failed.

The codec is that of examples/codec.py. Peak memory is what CUDA's allocator says beyond weights and input, beside what
the plan predicted; time is the best of three. `--device cpu` is for trying the command itself; memory is not measured
there.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import overlapcalc as oc
from examples.codec import Codec

from ..highwater import MIB
from ..page import origin, page, processor, table, write
from .cuda_checks import Row, agreement, failed, hazards, mixing, proofs

IMAGES = {"4K": (2160, 3840), "8K": (4320, 7680), "tiny": (576, 640)}
LATENTS, FINER = 192, 16
BLOCKS = {"crop": 512, "trim": 512, "stream": 64}
TIMES = 3
MOST_ERROR = 1e-4
"""Of float32, where kernels of other shapes sum in another order; what is wrong by a seam is wrong by more."""
FIGURES = [
    "net",
    "way",
    "block",
    "MACs",
    "predicted, MiB",
    "peak memory, MiB",
    "of whole",
    "seconds",
    "of whole",
    "error",
]
PROOFS = ["net", "schedule", "proofs", "float32 error", "bit-identical"]
HAZARD_NETS = ["kind", "nets", "the same by blocks", "refused by name", "do not run whole", "differ"]
EXACT = ["codec", "runs", "same bytes as on the CPU", "same picture"]
MIXING = ["kernel", "channels", "type", "outputs that NaN beyond their reach changes", "columns"]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.cost.cuda", description=__doc__)
    parser.add_argument("--channels", type=int, default=128, help="of the codec's transforms (128)")
    parser.add_argument("--images", nargs="+", choices=IMAGES, default=["4K", "8K"])
    parser.add_argument("--nets", type=int, default=15, help="random nets of each kind (15)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the page, in markdown")
    options = parser.parse_args(argv)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("skipped: no CUDA")
        return 0
    source = origin("benchmarks.cost.cuda", argv, machine=_machine(options.device))
    parts: list[tuple[str, list[str], Iterator[Row]]] = [
        ("Proofs", PROOFS, proofs(options.device)),
        (f"Random nets with hazards, {options.nets} of each kind", HAZARD_NETS, hazards(options.device, options.nets)),
        ("Exact codecs, coded on this device whole and by blocks", EXACT, agreement(options.device)),
        ("Kernels that mix neighbours: one convolution, as torch runs it", MIXING, mixing(options.device)),
    ]
    for name in options.images:
        height, width = IMAGES[name]
        title = f"{name} ({width}x{height}), float32 without TF32"
        parts.append((title, FIGURES, _figures(height, width, options.channels, options.device)))
    body: list[str] = []
    good = True
    for title, heads, rows in parts:
        cells = [heads]
        for row, right in rows:
            cells.append(row)
            good = good and right
            print(", ".join(row), flush=True)
            if options.out is not None:
                unfinished = [*body, f"## {title}", "", *table(cells), "", "Not finished."]
                write(page("On CUDA", source, unfinished), options.out)
        body += [f"## {title}", "", *table(cells), ""]
    text = page("On CUDA", source, body[:-1])
    print(text)
    if options.out is not None:
        write(text, options.out)
    return 0 if good else 1


def _machine(device: str) -> str:
    if device == "cpu":
        return processor(torch.get_num_threads())
    return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"


# ---- memory and time ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """What a run takes. held: bytes beyond what was held before it, None where that is not measured."""

    output: Tensor
    held: int | None
    seconds: float


def _figures(height: int, width: int, channels: int, device: str) -> Iterator[Row]:
    torch.backends.cudnn.allow_tf32 = False  # what is called float32 here is float32
    torch.manual_seed(0)
    codec = Codec(channels, LATENTS).eval().to(device)
    latents = (1, LATENTS, height // FINER, width // FINER)
    for name, net, shape in (("encoder", codec.g_a, (1, 3, height, width)), ("decoder", codec.g_s, latents)):
        x = torch.rand(shape, device=device)
        whole = _cost(partial(_plain, net, x), device)
        yield [name, "whole", "", "1.000", "", *_cells(whole, None), ""], not isinstance(whole, str)
        for schedule, block in BLOCKS.items():
            try:
                tiled = oc.tiled(net, shape, schedule=schedule, block=block)
                plan = tiled.plan(shape)
            except Exception as error:
                yield [name, schedule, str(block), failed(error), "", "", "", "", "", ""], False
                continue
            cost = _cost(partial(tiled, x), device)
            differs = _difference(cost, whole)
            macs = f"{plan.work.macs / plan.full.macs:.3f}"
            right = not isinstance(cost, str) and (differs is None or differs <= MOST_ERROR)
            shown = "" if differs is None else f"{differs:.1e}"
            predicted = "" if plan.memory is None else f"{plan.memory.activations / MIB:.0f}"
            yield [name, schedule, str(block), macs, predicted, *_cells(cost, whole), shown], right
            del cost
        del x, whole


def _plain(net: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        y: Tensor = net(x)
    return y


def _cost(work: Callable[[], Tensor], device: str) -> Cost | str | None:
    """None where memory runs out, which a whole net may; else why there is no figure."""
    try:
        work()
        return _on_cuda(work) if device == "cuda" else Cost(work(), None, min(_seconds(work) for _ in range(TIMES)))
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return None
    except Exception as error:
        return failed(error)


def _on_cuda(work: Callable[[], Tensor]) -> Cost:
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    y = work()
    torch.cuda.synchronize()
    held = torch.cuda.max_memory_allocated() - before

    def finished() -> None:
        work()
        torch.cuda.synchronize()

    return Cost(y, held, min(_seconds(finished) for _ in range(TIMES)))


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _difference(cost: Cost | str | None, whole: Cost | str | None) -> float | None:
    """The largest, over the largest output; None where there is nothing to compare with."""
    if not isinstance(cost, Cost) or not isinstance(whole, Cost):
        return None
    return float((cost.output - whole.output).abs().max() / whole.output.abs().max())


def _cells(cost: Cost | str | None, whole: Cost | str | None) -> list[str]:
    """Memory and time, each beside its share of the whole."""
    if not isinstance(cost, Cost):
        return [cost or "out of memory", "", "", ""]
    memory = "not measured" if cost.held is None else f"{cost.held / MIB:.0f}"
    shares = ["", ""]
    if isinstance(whole, Cost):
        of_memory = f"{cost.held / whole.held:.3f}" if cost.held is not None and whole.held else ""
        shares = [of_memory, f"{cost.seconds / whole.seconds:.2f}"]
    return [memory, shares[0], f"{cost.seconds:.3f}", shares[1]]


if __name__ == "__main__":
    sys.exit(main())
