"""The seam that blocks leave when the luma synthesis transform of JPEG AI is given too few latents around them."""

from __future__ import annotations

import torch

from .nets import CHANNELS, synthesis


def seam(*, overlap: int, block: int = 8, blocks: int = 3, seed: int = 0) -> float:
    """The largest error of blocks of `block` x `block` latents, each with `overlap` more on every side, over the
    largest sample of the whole picture. In float64, with torch's initial weights from `seed`."""
    torch.manual_seed(seed)
    net = synthesis().double().eval()
    size = block * blocks
    latents = torch.randn(1, CHANNELS, size, size, dtype=torch.float64)
    with torch.no_grad():
        whole = net(latents)
        made = torch.zeros_like(whole)
        for top in range(0, size, block):
            for left in range(0, size, block):
                above, before = max(0, top - overlap), max(0, left - overlap)
                part = net(latents[..., above : top + block + overlap, before : left + block + overlap])
                rows, columns = (slice(16 * at, 16 * (at + block)) for at in (top - above, left - before))
                place = slice(16 * top, 16 * (top + block)), slice(16 * left, 16 * (left + block))
                made[..., place[0], place[1]] = part[..., rows, columns]
        return float((made - whole).abs().max() / whole.abs().max())
