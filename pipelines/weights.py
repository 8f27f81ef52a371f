"""Networks that come as one file: TorchScript, and what ``torch.export`` saves."""

from __future__ import annotations

from pathlib import Path
from pickle import PickleError
from typing import Any
from zipfile import BadZipFile

import torch

from pipelines.errors import BundleContract, BundleMissing


class Program(torch.nn.Module):
    """An exported program as a network that an evaluator can hold.

    An exported program is fixed to one device and one mode; ``to``, ``train`` and ``eval`` must leave it alone.

    Parameters
    ----------
    program : ExportedProgram
        On the device where it is to run.
    """

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        super().__init__()
        self._run = (program.module(),)  # in a tuple: no submodule, which eval() would reach

    def forward(self, image: torch.Tensor) -> Any:
        """Run it on a batch of windows."""
        return self._run[0](image)


class Script(torch.nn.Module):
    """A TorchScript network that can be watched: what torch compiled takes no hooks."""

    def __init__(self, script: torch.jit.ScriptModule) -> None:
        super().__init__()
        self.script = script

    def forward(self, *given: Any, **named: Any) -> Any:
        """Run it as it would run by itself."""
        return self.script(*given, **named)


def watchable(network: Any) -> Any:
    """The network itself, or TorchScript in a module that takes hooks."""
    return Script(network) if isinstance(network, torch.jit.ScriptModule) else network


def load_network(root: Path, name: str, device: torch.device) -> torch.nn.Module:
    """Load a network from one file of a bundle.

    Parameters
    ----------
    root : Path
        The bundle's folder.
    name : str
        Relative to it: ``models/model.ts`` (TorchScript) or ``models/model.pt2`` (exported program).
    device : torch.device
        Where it is to run.

    Raises
    ------
    BundleMissing
        reason ``file``.
    BundleContract
        reason ``weights``: torch cannot read it.
    """
    path = root / name
    if not path.is_file():
        raise BundleMissing(f"Bundle {root.name} needs the file {name}, which is not there.", reason="file")
    try:
        if path.suffix == ".ts":
            return torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call,no-any-return]
        from torch.export.passes import move_to_device_pass

        return Program(move_to_device_pass(torch.export.load(path), str(device)))
    except (RuntimeError, OSError, ValueError, AssertionError, LookupError, PickleError, BadZipFile) as error:
        raise BundleContract(f"torch cannot read {name} of bundle {root.name}: {error}.", reason="weights") from error


def has_weights(network: Any) -> bool:
    """Whether a network has any number that must have been learned."""
    return isinstance(network, torch.nn.Module) and next(network.parameters(), None) is not None
