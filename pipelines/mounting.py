"""Give the verbs of `pipelines.verbs` to a command line, which says by options of its own where pipelines and bundles lie."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Signature, signature
from typing import Any

import typer

from pipelines.place import Place

Verb = Callable[..., None]


def mount(app: typer.Typer, verbs: dict[str, Verb], place: Callable[..., Place]) -> typer.Typer:
    """Add verbs to a command line.

    Parameters
    ----------
    app : Typer
        Gets the verbs.
    verbs : mapping of str to callable
        Each takes a Place, and then what the user gives.
    place : callable
        Makes the Place of its own options, which every verb gets too.
    """
    for name, verb in verbs.items():
        app.command(name)(_bound(verb, place))
    return app


def _bound(verb: Verb, place: Callable[..., Place]) -> Verb:
    """The verb with the options of ``place`` instead of its first parameter."""
    own, options = (signature(part, eval_str=True).parameters for part in (verb, place))
    parameters = [*list(own.values())[1:], *options.values()]

    def run(**given: Any) -> None:
        verb(place(**{name: given.pop(name) for name in options}), **given)

    run.__name__, run.__doc__ = verb.__name__, verb.__doc__
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # what typer reads the options from
    return run
