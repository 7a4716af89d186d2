"""Random nets against brute force, by fixed seeds: `python tests/fuzz.py --nets 3000 --shard 1/4`.

Families: "plain" are nets that must be answered (at most 2% of them may be refused, or answered with a bound); the others
hold one layer of which a wrong account is easily given, and must be refused by name, or right. "passes" are nets that are
not local: by passes they must give what they give as a whole; with --seed, a
wrong one is shrunk. Prints per family how many
nets were right and refused, by cause, and what was refused though brute force finds it local. Exit status 1 on any
disagreement, each printed with a line that reproduces it.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import torch
from shared import barred
from shared.agreement import FEW_BLOCKS, compare, draw_shape
from shared.nets import Net
from shared.trial import Verdict, judge

from overlapcalc.testing import HAZARDS, barrier_net, hazard_net

SIZES_TRIED = 6
MANY_BLOCKS = 4
"""Of every net, per axis."""
PLAIN = "plain"
PASSES = "passes"
FAMILIES = (PLAIN, *HAZARDS, PASSES)
MOST_CAUSES = 12
MOST_DECLINED = 0.02


def one(seed: int, blocks: int = FEW_BLOCKS) -> tuple[Net, tuple[int, ...], object]:
    """The plain net of a seed at the first size it runs at."""
    rng = random.Random(seed)
    for _ in range(40):
        net = Net(lambda low, high: rng.randint(low, high))
        for _ in range(SIZES_TRIED):
            shape = draw_shape(net, rng)
            outcome = compare(net, shape, seed, blocks)
            if outcome.state != "skipped":
                return net, shape, outcome
    raise RuntimeError(f"seed {seed}: no net ran")


@dataclass
class Tally:
    """What came of the nets of one family."""

    states: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    local: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def text(self, family: str) -> str:
        nets = sum(self.states.values())
        counts = ", ".join(f"{count} {state}" for state, count in sorted(self.states.items()))
        lines = [f"{family}: {nets} nets in {self.seconds:.0f} s: {counts}"]
        if self.checks:
            lines.append("  checks: " + ", ".join(f"{count} {name}" for name, count in sorted(self.checks.items())))
        for title, counter in (("refused", self.causes), ("refused though local", self.local)):
            if counter:
                lines.append(f"  {title}, {sum(counter.values())} times:")
                lines += [f"  {count:8d}  {name}" for name, count in counter.most_common(MOST_CAUSES)]
                rest = sum(counter.values()) - sum(count for _, count in counter.most_common(MOST_CAUSES))
                lines += [f"  {rest:8d}  for other causes"] if rest else []
        return "\n".join(lines)


def plain(seed: int, tally: Tally) -> tuple[str, Verdict]:
    net, shape, outcome = one(seed, MANY_BLOCKS)
    tally.checks.update(
        {
            "reads at a size": outcome.reads,
            "reads of the interior": outcome.interior,
            "explanations read by brute force": outcome.explained,
            "tiles run": outcome.tiles,
            "tiles of which one step less on either side fails": outcome.tiles_minimal,
        }
    )
    verdict = Verdict(right=[] if outcome.state == "refused" else ["tiles"], wrong=list(outcome.wrong))
    if outcome.state != "answered":
        verdict.causes.append(f"{outcome.state}: {outcome.reason}")
    return f"{net.module} at {shape}", verdict


def hazardous(family: str, seed: int) -> tuple[str, Verdict]:
    net = hazard_net(family, seed)
    return repr(net), judge(net, seed)


def not_local(seed: int, *, shrink: bool) -> tuple[str, Verdict]:
    """shrink: where it is wrong, find the smallest net that is; that takes minutes."""
    net = barrier_net(seed)
    verdict = barred.judge(net, seed, single_too=seed % 4 == 0)
    small = f"\nshrunk: {barred.shrunk(net, seed)!r}" if verdict.wrong and shrink else ""
    return f"{net!r}{small}", verdict


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", type=int, default=3000, help="so many, of all families in turn")
    parser.add_argument("--first", type=int, default=0, help="the first seed of each family")
    parser.add_argument("--family", choices=FAMILIES, action="append", help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, help="only the net of this seed, in each family named")
    parser.add_argument("--shard", default="1/1", help="i/n: every n-th net, from the i-th")
    args = parser.parse_args()
    index, shards = (int(part) for part in args.shard.split("/"))
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    families = args.family or list(FAMILIES)
    if args.seed is not None:
        work = [(family, args.seed) for family in families]
    else:
        work = [(families[k % len(families)], args.first + k // len(families)) for k in range(args.nets)]
    tallies: dict[str, Tally] = defaultdict(Tally)
    wrong, started = 0, time.time()
    try:
        for done, (family, seed) in enumerate(work[index - 1 :: shards]):
            wrong += _run(family, seed, tallies[family], shown=args.seed is not None)
            if sys.stderr.isatty():
                print(f"\r{done + 1} nets, {wrong} disagreements", end="", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("interrupted: what follows is of the nets so far")
    total = sum(sum(tally.states.values()) for tally in tallies.values())
    print(f"{total} nets in {time.time() - started:.0f} s, shard {args.shard}, torch {torch.__version__}")
    for family in families:
        if family in tallies:
            print(tallies[family].text(family))
    print(f"disagreements: {wrong}")
    declined, nets = sum(tallies[PLAIN].causes.values()), sum(tallies[PLAIN].states.values())
    return 1 if wrong or declined > MOST_DECLINED * nets + 1 else 0


def _run(family: str, seed: int, tally: Tally, *, shown: bool) -> bool:
    """Judge one net. True where it disagrees; it is printed then, or where it is asked to be shown."""
    started = time.time()
    try:
        if family == PASSES:
            text, verdict = not_local(seed, shrink=shown)
        else:
            text, verdict = plain(seed, tally) if family == PLAIN else hazardous(family, seed)
    except Exception as error:  # of the net or of this file: a disagreement too, and must not hide the other seeds
        text, verdict = traceback.format_exc(limit=-2), Verdict(wrong=[f"{type(error).__name__}: {error}"])
    tally.seconds += time.time() - started
    tally.states[verdict.state] += 1
    tally.causes.update(verdict.causes)
    tally.local.update(verdict.local)
    if verdict.wrong or shown or (family == PLAIN and verdict.state == "refused"):
        print(f"{family} {seed}, {verdict.state}: python tests/fuzz.py --family {family} --seed {seed}\n{text}")
        for line in [
            *verdict.wrong,
            *(f"refused: {c}" for c in verdict.causes),
            *(f"though local: {c}" for c in verdict.local),
        ]:
            print(f"    {line}")
        print(end="", flush=True)
    return bool(verdict.wrong)


if __name__ == "__main__":
    sys.exit(main())
