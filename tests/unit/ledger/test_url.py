"""The same URL works for the ledger and for the engine."""

import pytest

from node.ledger.engine import normalise_url


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("sqlite:////var/node/radnode.db", "sqlite:////var/node/radnode.db"),
        ("postgresql://u:p@h/n", "postgresql+psycopg://u:p@h/n"),
        ("postgresql+psycopg://u:p@h:5433/n", "postgresql+psycopg://u:p@h:5433/n"),
        ("postgresql+psycopg2://h/n", "postgresql+psycopg://h/n"),
        ("postgresql://u:p%40ss%2Fw@h/n?sslmode=require", "postgresql+psycopg://u:p%40ss%2Fw@h/n?sslmode=require"),
    ],
)
def test_the_driver_is_named_and_nothing_else_is_changed(given, used):
    assert normalise_url(given) == used
    assert normalise_url(used) == used
