"""The Python modules of one bundle, importable while it works and out of sight while it does not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType


class OwnModules:
    """What a bundle imported from its own folder.

    Every bundle calls its package ``scripts``. Each sees its own, however many are loaded in one process; not in several threads.

    Parameters
    ----------
    root : Path
        The bundle's folder, resolved.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._modules: dict[str, ModuleType] = {}

    @contextmanager
    def importable(self) -> Iterator[None]:
        """Make the folder importable within the block, and take its modules out of ``sys.modules`` afterwards.

        Compiled files beside the sources are not part of the bundle's digest, and are therefore neither read nor written.
        """
        cache_prefix = sys.pycache_prefix
        sys.path.insert(0, str(self._root))
        sys.modules.update(self._modules)
        with TemporaryDirectory(prefix="radnode-") as empty:
            sys.pycache_prefix = empty
            try:
                yield
            finally:
                sys.pycache_prefix = cache_prefix
                sys.path.remove(str(self._root))
                for name in [name for name, module in sys.modules.items() if self._owns(module)]:
                    self._modules[name] = sys.modules.pop(name)

    def _owns(self, module: ModuleType) -> bool:
        origin = getattr(module, "__file__", None)
        return origin is not None and Path(origin).is_relative_to(self._root)
