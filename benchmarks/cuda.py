"""The verifier, and memory and time, on CUDA: `make cuda`. Writes docs/results/cuda.md.

The hyperprior codec of examples/codec.py, encoder and decoder, at 4K and 8K: whole, by blocks and as a stream. Peak
memory is what CUDA's allocator says beyond weights and input; time the best of three. Without CUDA it says "skipped: no
CUDA", runs nothing and leaves the page as it is.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the repository, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch
from torch import Tensor, nn

import overlapcalc as oc
from examples.codec import Codec
from examples.superres import SuperResolver
from examples.unet import UNet

PAGE = Path(__file__).resolve().parent.parent / "docs" / "results" / "cuda.md"
IMAGES = {"4K": (2160, 3840), "8K": (4320, 7680)}
WAYS = (("crop", 512), ("trim", 512), ("stream", 64))
TIMES = 3


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/cuda.py", description=__doc__)
    parser.add_argument("--channels", type=int, default=128, help="of the codec's transforms (128)")
    parser.add_argument("--images", nargs="+", choices=IMAGES, default=list(IMAGES))
    parser.add_argument("--out", type=Path, default=PAGE)
    options = parser.parse_args(argv)
    if not torch.cuda.is_available():
        print("skipped: no CUDA")
        return 0
    lines = [*_head(options.channels, options.images)]
    good = _proofs(lines)
    for name in options.images:
        _table(lines, name, options.channels)
    options.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0 if good else 1


def _head(channels: int, images: list[str]) -> list[str]:
    device = torch.cuda.get_device_name()
    return [
        "# On CUDA",
        "",
        f"    python benchmarks/cuda.py --channels {channels} --images {' '.join(images)}",
        "",
        f"{device}, CUDA {torch.version.cuda}, torch {torch.__version__}, Python {platform.python_version()}, "
        f"overlapcalc {oc.__version__}.",
        "",
    ]


def _proofs(lines: list[str]) -> bool:
    nets = {
        "codec.g_a": Codec(8, 12).g_a,
        "codec.g_s": Codec(8, 12).g_s,
        "U-Net": UNet(),
        "super-resolver": SuperResolver(),
    }
    lines += [
        "## Proofs",
        "",
        "| net | schedule | proofs | float32 error | bit-identical |",
        "| --- | --- | --- | --- | --- |",
    ]
    good = True
    for name, net in nets.items():
        for schedule in ("crop", "trim", "stream"):
            v = oc.verify(net, device="cuda", schedule=schedule)
            good = good and v.proved
            states = "all proved" if all(p.status == "proved" for p in v.proofs) else ", ".join(
                f"{p.name}: {p.status} ({'; '.join(p.failures) or p.reason})" for p in v.proofs if p.status != "proved"
            )  # fmt: skip
            own = v.figures[-1]
            lines.append(f"| {name} | {schedule} | {states} | {own.error:.1e} | {own.identical:.1%} |")
    lines.append("")
    return good


def _table(lines: list[str], name: str, channels: int) -> None:
    height, width = IMAGES[name]
    torch.manual_seed(0)
    codec = Codec(channels, 192).eval().cuda()
    nets = {"encoder": (codec.g_a, (1, 3, height, width)), "decoder": (codec.g_s, (1, 192, height // 16, width // 16))}
    lines += [f"## {name} ({width}x{height}), float32", "",
              "| net | way | block | MACs | peak memory, MiB | of whole | seconds | of whole | error |",
              "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for title, (net, shape) in nets.items():
        x = torch.rand(shape, device="cuda")
        whole = _measured(partial(_plain, net, x))
        full = whole[0] if whole else None
        lines.append(f"| {title} | whole | | 1.000 | {_cells(whole, whole)} | |")
        for schedule, block in WAYS:
            tiled = oc.tiled(net, shape, schedule=schedule, block=block)
            made = tiled.plan(shape)
            found = _measured(partial(tiled, x))
            error = ""
            if found and full is not None:
                error = f"{float((found[0] - full).abs().max() / full.abs().max()):.1e}"
            macs = made.work.macs / made.full.macs
            lines.append(f"| {title} | {schedule} | {block} | {macs:.3f} | {_cells(found, whole)} | {error} |")
        del x, whole, full
    lines.append("")


def _plain(net: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        y: Tensor = net(x)
    return y


def _measured(work: Callable[[], Tensor]) -> tuple[Tensor, int, float] | None:
    """The result, bytes beyond what was held before, and seconds; None where memory runs out."""
    try:
        work()
        seconds = []
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        y = work()
        torch.cuda.synchronize()
        held = torch.cuda.max_memory_allocated() - before
        for _ in range(TIMES):
            started = time.perf_counter()
            work()
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return None
    return y, held, min(seconds)


def _cells(found: tuple[Tensor, int, float] | None, whole: tuple[Tensor, int, float] | None) -> str:
    if found is None:
        return "out of memory | | | "
    held, seconds = found[1], found[2]
    ratios = (f"{held / whole[1]:.3f}", f"{seconds / whole[2]:.2f}") if whole else ("", "")
    return f"{held / 2**20:.0f} | {ratios[0]} | {seconds:.3f} | {ratios[1]}"


if __name__ == "__main__":
    sys.exit(main())
