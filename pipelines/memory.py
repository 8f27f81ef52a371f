"""What this process holds of a GPU's memory."""

from __future__ import annotations

import torch

#: What a CUDA context takes beside what torch hands out; torch does not know it.
_CONTEXT_BYTES = 500_000_000


def gauge() -> tuple[int, int]:
    """Bytes held now, and held at most since this was asked before; nothing where no GPU is used."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return 0, 0
    held = peak = 0
    try:
        for number in range(torch.cuda.device_count()):
            if torch.cuda.max_memory_reserved(number) == 0:
                continue
            peak += torch.cuda.max_memory_reserved(number) + _CONTEXT_BYTES
            held += torch.cuda.memory_reserved(number) + _CONTEXT_BYTES
            torch.cuda.reset_peak_memory_stats(number)
    except RuntimeError:  # a broken context: the job's own error says so
        return 0, 0
    return held, peak
