"""RadNode: a DICOM node that puts AI results where radiologists already look.

The folders are stations on one conveyor. In the order in which an instance passes them: ``dimse`` (the socket),
``intake`` (durable, complete, routed), ``work`` (claimed), ``process`` (inferred, measured, encoded, proven), ``deliver``
(sent). Bytes travel in the ``spool``, facts in the ``ledger``; ``core`` holds what they all speak of. ``app`` puts them together.
"""

from importlib.metadata import version

__version__ = version("radnode")
