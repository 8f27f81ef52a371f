"""OpenVINO in the place of torch for a network on a CPU, when it is found to give the same.

An optional package (``pip install 'radnode[cpu-fast]'``). Windows, overlap and everything around the network stay as they are: only how one
window is computed changes, and not before a fixed input has given what torch gives.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

#: Labels of the fixed input must agree so well, by the Dice coefficient of each ...
LEAST_DICE = 0.999
#: ... and no output may differ by more than this part of the greatest.
MOST_DIFFERENCE = 1e-3
#: What the converter and the compiler raise for a network that they do not know.
_NOT_CONVERTED = (AttributeError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """By what a network is computed.

    Attributes
    ----------
    network : Module or None
        Instead of the bundle's own; None for torch.
    said : str
        For the audit log: "openvino 2026.4 (Dice 1.00000, difference 1e-06)", or why it is torch.
    """

    network: torch.nn.Module | None
    said: str


class Windows(torch.nn.Module):
    """A compiled network for windows of one shape, one at a time: batches gain nothing on a CPU, and the last one is often smaller."""

    def __init__(self, compiled: Any) -> None:
        super().__init__()
        self._compiled = compiled

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Compute a batch; shapes (window, channel, x, y, z) and (window, class, x, y, z)."""
        given = windows.detach().as_subclass(torch.Tensor).float().contiguous().numpy()
        return torch.cat([torch.from_numpy(self._compiled(given[place : place + 1])[0]) for place in range(len(given))])


def choose(network: torch.nn.Module, channels: int, window: Sequence[int]) -> Choice:
    """Compile a network for one window and compare it with torch.

    Parameters
    ----------
    network : Module
        On the CPU, in evaluation mode.
    channels : int
        Of its input.
    window : sequence of int
        The size of what it is given, which does not change.
    """
    try:
        import openvino
    except ImportError:
        return Choice(network=None, said="torch (openvino is not installed)")
    try:
        compiled = _compiled(network, torch.zeros(1, channels, *window))
        return _judged(network, Windows(compiled), fixed_inputs(channels, window), str(openvino.__version__).partition("-")[0])
    except _NOT_CONVERTED as error:
        return Choice(network=None, said=f"torch (openvino cannot compute this network: {type(error).__name__})")


def fixed_inputs(channels: int, window: Sequence[int]) -> torch.Tensor:
    """Two windows that vary smoothly, as images do: one from 0 to 1, one about 0 with the spread of 1; the same every time."""
    draw = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, channels, *(max(2, length // 8) for length in window), generator=draw)
    smooth = torch.nn.functional.interpolate(coarse, tuple(window), mode="trilinear" if len(window) == 3 else "bilinear")
    noisy = smooth + 0.02 * torch.rand(smooth.shape, generator=draw)
    noisy[1] = (noisy[1] - noisy[1].mean()) / noisy[1].std()
    return noisy


def least_dice(first: torch.Tensor, second: torch.Tensor) -> float:
    """The smallest Dice over all classes of two outputs, (window, class, x, y, z), as labels and as masks that may overlap."""
    masks = [(first > 0, second > 0)]
    if first.shape[1] > 1:
        labels = first.argmax(dim=1, keepdim=True), second.argmax(dim=1, keepdim=True)
        masks += [(labels[0] == value, labels[1] == value) for value in range(first.shape[1])]
    both = [(float((one & other).sum()), float(one.sum() + other.sum())) for one, other in masks]
    return min((2 * common / total for common, total in both if total), default=1.0)


def _judged(network: torch.nn.Module, fast: torch.nn.Module, given: torch.Tensor, version: str) -> Choice:
    with torch.inference_mode():
        expected, found = network(given), fast(given)
    if not isinstance(expected, torch.Tensor) or expected.shape != found.shape or not torch.isfinite(found).all():
        return Choice(network=None, said="torch (openvino gives another kind of output)")
    dice = least_dice(expected, found)
    difference = float((expected - found).abs().max() / expected.abs().max().clamp(min=1e-6))
    if dice < LEAST_DICE or difference > MOST_DIFFERENCE:
        return Choice(network=None, said=f"torch (openvino {version} disagrees: Dice {dice:.5f}, difference {difference:.0e})")
    return Choice(network=fast, said=f"openvino {version} (Dice {dice:.5f}, difference {difference:.0e})")


def _compiled(network: torch.nn.Module, example: torch.Tensor) -> Any:
    """Compile for the shape of the example, in 32 bits, with as many threads as torch has."""
    from openvino import Core
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    # Not convert_model, which does the same and reports to its makers; a hospital's node talks to nobody.
    frontend = FrontEndManager().load_by_framework("pytorch")
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.filterwarnings("ignore", message=".torch.jit", category=DeprecationWarning)
        # Named, because the frontend does not hold on to it.
        decoder = TorchScriptPythonDecoder(network, example_input=(example,))
        model = frontend.convert(frontend.load(decoder))
    model.reshape({0: list(example.shape)})
    return Core().compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"})
