"""What each piece of memory holds: data, which derive from the input, or constants.

Memory instead of tensors, because a write through one view must show in every other view.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef


class Storages:
    """Memory that is known to hold data or constants. Keeps none of it alive."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[StorageWeakRef, bool]] = {}
        self._room = 1024

    def holds_data(self, t: Tensor) -> bool | None:
        """None where the memory has not been seen."""
        entry = self._known.get(t.untyped_storage()._cdata)
        return None if entry is None else entry[1]

    def mark(self, t: Tensor, *, data: bool) -> None:
        storage = t.untyped_storage()
        entry = self._known.get(storage._cdata)
        # the weak reference keeps the address from being reused for another storage
        reference = StorageWeakRef(storage) if entry is None else entry[0]  # type: ignore[no-untyped-call]
        self._known[storage._cdata] = (reference, data)
        if len(self._known) > self._room:
            self._known = {k: e for k, e in self._known.items() if not e[0].expired()}  # type: ignore[no-untyped-call]
            self._room = 2 * len(self._known) + 1024


def whole_memory(t: Tensor) -> Tensor:
    """All the memory behind a tensor, as one row."""
    storage = t.untyped_storage()
    row = torch.empty(0, dtype=t.dtype, device=t.device)
    count = storage.nbytes() // t.element_size()
    return row.set_(storage, 0, (count,), (1,))
