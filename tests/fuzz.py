"""Random nets against brute force, by fixed seeds: `python tests/fuzz.py --nets 20000 --shard 1/4`.

Prints how many nets used each op family, the disagreements (there must be none), and how many nets were refused or
answered with a bound, each with its reason. Exit status 1 on any disagreement, or above 2% refused or bound.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter

import torch
from agreement import compare, draw_shape
from nets import Net

SIZES_TRIED = 6


def one(seed: int) -> tuple[Net, tuple[int, ...], object]:
    """The net of a seed at the first size it runs at."""
    rng = random.Random(seed)
    for _ in range(40):
        net = Net(lambda low, high: rng.randint(low, high))
        for _ in range(SIZES_TRIED):
            shape = draw_shape(net, rng)
            outcome = compare(net, shape, seed)
            if outcome.state != "skipped":
                return net, shape, outcome
    raise RuntimeError(f"seed {seed}: no net ran")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", type=int, default=20000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--shard", default="1/1", help="i/n: every n-th seed, from the i-th")
    args = parser.parse_args()
    index, shards = (int(part) for part in args.shard.split("/"))
    torch.set_num_threads(1)
    families: Counter[str] = Counter()
    states: Counter[str] = Counter()
    checks: Counter[str] = Counter()
    wrong = 0
    started = time.time()
    for seed in range(args.first + index - 1, args.first + args.nets, shards):
        try:
            net, shape, outcome = one(seed)
        except KeyboardInterrupt:
            print("interrupted: what follows is of the seeds so far")
            break
        except Exception as error:  # a crash is a disagreement too, and must not hide the other seeds
            wrong += 1
            print(f"seed {seed}: {type(error).__name__}: {error}", flush=True)
            continue
        families.update(set(net.families))
        label = outcome.state if outcome.state == "answered" else f"{outcome.state}: {outcome.reason}"
        states[label] += 1
        checks["reads at a size"] += outcome.reads
        checks["reads of the interior"] += outcome.interior
        checks["tiles run"] += outcome.tiles
        checks["tiles of which one step less on either side fails"] += outcome.tiles_minimal
        if sys.stderr.isatty():
            print(f"\r{sum(states.values())} nets, {wrong} disagreements", end="", file=sys.stderr, flush=True)
        if outcome.state == "refused":
            print(f"seed {seed} at {shape} is refused: {outcome.reason}\n{net.module}", flush=True)
        if outcome.wrong:
            wrong += 1
            print(
                f"seed {seed} at {shape}: {outcome.wrong[0]} (and {len(outcome.wrong) - 1} more)\n{net.module}",
                flush=True,
            )
    total = sum(states.values())
    print(
        f"{total} nets in {time.time() - started:.0f} s, "
        f"seeds from {args.first}, shard {args.shard}, torch {torch.__version__}"
    )
    for title, counter in (("nets by op family", families), ("checks", checks), ("nets by outcome", states)):
        print(f"{title}:")
        for name, count in sorted(counter.items()):
            print(f"  {count:8d}  {name}")
    declined = total - states["answered"]
    print(f"refused or bound: {declined} ({100 * declined / max(1, total):.2f}%)")
    print(f"disagreements: {wrong}")
    return 1 if wrong or declined > 0.02 * total else 0


if __name__ == "__main__":
    sys.exit(main())
