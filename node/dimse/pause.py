"""Who may say that the reactor of an association is paused: it alone.

pynetdicom (3.0.4) serves an N-EVENT-REPORT in a thread of its own, which says at its beginning that the reactor is paused, and at its end
that it is not. Where that end comes while the reactor does pause, everyone who waits for it (``release``, ``send_c_store``) waits for ever.
"""

from __future__ import annotations

import threading

from pynetdicom.association import Association


class _Steady(Association):
    """An association whose word on its own state is not overruled by another thread, unless that ends it."""

    @property
    def _is_paused(self) -> bool:
        return bool(self.__dict__["_is_paused"])

    @_is_paused.setter
    def _is_paused(self, value: bool) -> None:
        if threading.current_thread() is self or self._kill:
            self.__dict__["_is_paused"] = value


def steady(association: Association) -> Association:
    """Let an association on which N-EVENT-REPORTs come be used by others meanwhile; it is the same object."""
    association.__class__ = _Steady
    return association
