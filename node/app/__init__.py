"""The composition root: the only place that knows which part is connected to which.

Each role is a process of its own: ``listen`` (the socket, assembling and routing), ``work`` (the device) and ``deliver``
(the courier). None of the stations imports another; here they are handed to each other as callables. Each role has a
module, so that a process loads only what its role needs.
"""
