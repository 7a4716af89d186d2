"""Several threads that analyse at once, and what they leave behind."""

from __future__ import annotations

import sys
import threading

from torch import Tensor, nn
from torch.export import exported_program

import overlapcalc as oc
from overlapcalc.trace.evaluating import evaluating

TABLE = "_collect_all_valid_cia_ops"


def test_threads_wait_for_each_other():
    before, streams = getattr(exported_program, TABLE, None), (sys.stdout, sys.stderr)
    wrong: list[BaseException] = []
    found: list[oc.Analysis] = []

    def work(i: int) -> None:
        try:
            found.append(oc.analyze(nn.Sequential(nn.Conv2d(3, 3, 3 + 2 * i), Doubled()), (1, 3, 24 + i, 24)))
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sorted(a["W"].context.before for a in found) == [0, 0, 0]
    assert sorted(a["W"].context.after for a in found) == [2, 4, 6]
    assert (sys.stdout, sys.stderr) == streams
    assert getattr(exported_program, TABLE, None) is before


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.clone().mul_(2).add_(1)


def test_others_may_print_while_a_net_is_traced(capsys):
    class Waits(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            print("of the net")
            thread = threading.Thread(target=print, args=("of another thread",))
            thread.start()
            thread.join()
            return x * 2

    oc.analyze(Waits(), (1, 3, 8, 8))
    said = capsys.readouterr().out
    assert "of another thread" in said
    assert "of the net" not in said


def test_the_last_thread_puts_back_the_modes_of_a_net():
    """As two threads interleave: the first to come is the first to leave."""
    net = nn.Sequential(nn.Dropout(), nn.BatchNorm2d(1)).train()
    net[1].eval()
    first, second = evaluating(net), evaluating(net)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not any(m.training for m in net.modules())
    second.__exit__(None, None, None)
    assert [m.training for m in net.modules()] == [True, True, False]


def test_nets_that_share_a_layer_leave_its_mode_as_it_was():
    shared = nn.Dropout()
    whole, part = evaluating(nn.Sequential(shared).train()), evaluating(shared)
    whole.__enter__()
    part.__enter__()
    whole.__exit__(None, None, None)
    assert not shared.training
    part.__exit__(None, None, None)
    assert shared.training
