"""Slots of a spill file: none that live at the same time overlap, and the file is short."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlapcalc.planning import spill_slots
from overlapcalc.planning.spill_slots import PAGE, SlotRequest, Slots, packed


def bound(requests: list[SlotRequest]) -> int:
    """The most bytes, in whole pages, that live in one pass: no file can be shorter."""
    passes = {p for r in requests for p in (r.first, r.last)}
    pages = {r.name: (r.nbytes + PAGE - 1) // PAGE for r in requests}
    return PAGE * max((sum(pages[r.name] for r in requests if r.first <= p <= r.last) for p in passes), default=0)


def faults(requests: list[SlotRequest], slots: Slots) -> list[str]:
    """Pass by pass, byte ranges that are not in the file or that two tensors share."""
    found = [f"{r.name} off the grid" for r in requests if slots.offsets[r.name] % PAGE]
    for p in range(max((r.last for r in requests), default=-1) + 1):
        live = sorted(
            (slots.offsets[r.name], slots.offsets[r.name] + r.nbytes, r.name)
            for r in requests
            if r.first <= p <= r.last and r.nbytes
        )
        found += [f"{a} and {b} in pass {p}" for (_, end, a), (begin, _, b) in pairwise(live) if begin < end]
        found += [f"{name} beyond the file" for begin, end, name in live if begin < 0 or end > slots.size]
    return found


REQUESTS = st.lists(
    st.tuples(st.integers(0, 40 * PAGE), st.integers(0, 12), st.integers(0, 12)), max_size=16
).map(lambda rows: [SlotRequest(f"t{i}", n, min(p, q), max(p, q)) for i, (n, p, q) in enumerate(rows)])  # fmt: skip


@given(REQUESTS)
def test_what_lives_at_the_same_time_does_not_overlap(requests):
    slots = packed(requests)
    assert set(slots.offsets) == {r.name for r in requests}
    assert not faults(requests, slots)
    assert slots.size >= bound(requests)


def test_faults_are_found():
    requests = [SlotRequest("a", PAGE + 1, 0, 2), SlotRequest("b", 5, 2, 3)]
    assert not faults(requests, Slots({"a": 0, "b": 2 * PAGE}, 3 * PAGE))
    assert faults(requests, Slots({"a": 0, "b": PAGE}, 3 * PAGE)) == ["a and b in pass 2"]
    assert faults(requests, Slots({"a": 0, "b": 2 * PAGE}, 2 * PAGE))[0] == "b beyond the file"
    assert faults(requests, Slots({"a": 0, "b": 2 * PAGE + 8}, 4 * PAGE)) == ["b off the grid"]


def test_the_last_reader_still_needs_its_slot():
    """Passes are inclusive at both ends: one that reads `a` and writes `b` needs both."""
    a, b, c = SlotRequest("a", 10, 0, 1), SlotRequest("b", 10, 1, 2), SlotRequest("c", 10, 2, 3)
    assert packed([a, b]).size == 2 * PAGE
    assert packed([a, c]).size == PAGE
    assert packed([a, b, c]).size == 2 * PAGE


def drawn(seed: int) -> list[SlotRequest]:
    """Tensors as nets have them: sizes over three orders of magnitude, most short-lived, some that skip far."""
    rng = random.Random(seed)
    passes, found = rng.randint(3, 40), []
    for i in range(rng.randint(5, 60)):
        first = rng.randrange(passes)
        last = min(passes, first + (rng.randint(1, 3) if rng.random() < 0.7 else rng.randint(1, passes)))
        found.append(SlotRequest(f"t{i}", int(PAGE * 10 ** rng.uniform(0, 3)), first, last))
    return found


def test_the_file_is_short():
    ratios = [packed(drawn(seed)).size / bound(drawn(seed)) for seed in range(200)]
    assert min(ratios) >= 1
    assert max(ratios) <= 1.3


@pytest.mark.parametrize("lives", [1, 2, 5])
@pytest.mark.parametrize("n", [1, 3, 1000, PAGE, PAGE + 1])
def test_a_chain_of_equal_sizes_takes_no_more_than_lives(n, lives):
    requests = [SlotRequest(f"t{i}", n, i, i + lives) for i in range(24)]
    random.Random(n).shuffle(requests)
    assert packed(requests).size == bound(requests) == (lives + 1) * PAGE * -(-n // PAGE)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=16))
def test_equal_sizes_are_packed_best(ends):
    requests = [SlotRequest(f"t{i}", 5000, min(e), max(e)) for i, e in enumerate(ends)]
    assert packed(requests).size == bound(requests)


def test_a_slot_each_is_not_short(monkeypatch: pytest.MonkeyPatch):
    """The control: with nothing used again, the bound on the ratio fails."""
    monkeypatch.setattr(SlotRequest, "meets", lambda self, other: True)
    assert max(spill_slots.packed(drawn(seed)).size / bound(drawn(seed)) for seed in range(20)) > 1.3


def test_nothing_takes_no_room():
    assert packed([]) == Slots({}, 0)
    slots = packed([SlotRequest("empty", 0, 0, 3), SlotRequest("a", 1, 0, 3)])
    assert slots.size == PAGE


@pytest.mark.parametrize("wrong", [("a", 1, 2, 1), ("a", -1, 0, 1)])
def test_impossible_requests_are_refused(wrong):
    with pytest.raises(ValueError, match="no slot for a"):
        SlotRequest(*wrong)
    with pytest.raises(ValueError, match="slots for a twice"):
        packed([SlotRequest("a", 1, 0, 1), SlotRequest("a", 2, 1, 1)])
