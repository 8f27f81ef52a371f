"""The transition tables, walked pair by pair against the same tables written down a second time."""

from itertools import product

import pytest

from node.core.errors import StateError
from node.core.states import CIRCUIT, COMMITMENT, DELIVERY, PLEDGE, STEP, STUDY, WORK, follow, states_of

EXPECTED = {
    "study": (
        STUDY,
        "open",
        """
                   instance  complete  process    reopen
        open       open      complete  -          -
        complete   -         -         processed  complete
        processed  -         -         -          complete
        """,
        set(),
    ),
    "work": (
        WORK,
        "queued",
        """
                 claim    rescue  finish  retry   refuse   fail    replay  discontinue  cancel
        queued   running  queued  -       -       -        -       -       refused      refused
        running  -        queued  done    queued  refused  failed  -       refused      refused
        done     -        -       -       -       -        -       -       -            -
        refused  -        -       -       -       -        -       queued  -            -
        failed   -        -       -       -       -        -       queued  -            -
        """,
        {"done"},
    ),
    "delivery": (
        DELIVERY,
        "waiting",
        """
                   send     accept  retry    refuse   commit     find   lose     replay   withhold
        waiting    sending  -       -        refused  -          -      -        -        shadow
        sending    sending  sent    waiting  refused  -          -      -        -        -
        sent       -        -       -        refused  committed  found  waiting  -        -
        committed  -        -       -        -        -          -      -        -        -
        found      -        -       -        -        -          -      -        -        -
        refused    -        -       -        -        -          -      -        waiting  -
        shadow     -        -       -        -        -          -      -        -        -
        """,
        {"committed", "found", "shadow"},
    ),
    "step": (
        STEP,
        "IN PROGRESS",
        """
                      set          complete   discontinue
        IN_PROGRESS   IN_PROGRESS  COMPLETED  DISCONTINUED
        COMPLETED     -            -          -
        DISCONTINUED  -            -          -
        """,
        {"COMPLETED", "DISCONTINUED"},
    ),
    "circuit": (
        CIRCUIT,
        "closed",
        """
                   trip  probe      close
        closed     open  -          -
        open       -     probing  closed
        probing  open  probing  closed
        """,
        set(),
    ),
    "pledge": (
        PLEDGE,
        "asking",
        """
                  ask    report    expire
        asking    asked  reported  expired
        asked     -      reported  expired
        expired   -      reported  -
        reported  -      -         -
        """,
        {"reported"},
    ),
    "commitment": (
        COMMITMENT,
        "waiting",
        """
                  repeat   report    fail
        waiting   waiting  reported  failed
        reported  waiting  -         -
        failed    waiting  -         -
        """,
        set(),
    ),
}


def walk(text):
    """Read one of the tables above: (state, event) -> state, or None. A blank in DICOM's own words is written as a line."""
    events, *rows = [[cell.replace("_", " ") for cell in line.split()] for line in text.strip().splitlines()]
    return {(row[0], event): None if new == "-" else new for row in rows for event, new in zip(events, row[1:], strict=True)}


PAIRS = [(name, state, event, new) for name, (_, _, text, _) in EXPECTED.items() for (state, event), new in walk(text).items()]
every_table = pytest.mark.parametrize("name", EXPECTED)


@pytest.mark.parametrize(("name", "state", "event", "new"), PAIRS)
def test_every_pair_of_state_and_event_goes_where_it_should(name, state, event, new):
    table = EXPECTED[name][0]
    if new is not None:
        assert follow(table, state, event) == new
        return
    with pytest.raises(StateError, match=rf"'{event}' cannot happen to something that is '{state}'"):
        follow(table, state, event)


@every_table
def test_the_walk_leaves_no_state_and_no_event_out(name):
    table, _, text, _ = EXPECTED[name]
    states, events = set(states_of(table)), {event for _, event in table}
    assert set(walk(text)) == set(product(states, events))


@every_table
def test_every_state_can_be_reached_from_the_first(name):
    table, first, _, _ = EXPECTED[name]
    reached, frontier = {first}, {first}
    while frontier:
        frontier = {new for (state, _), new in table.items() if state in frontier} - reached
        reached |= frontier
    assert reached == set(states_of(table))


@every_table
def test_only_what_was_delivered_or_done_is_final(name):
    table, _, _, final = EXPECTED[name]
    assert {state for state in states_of(table) if not any(at == state and new != state for (at, _), new in table.items())} == final


@every_table
@pytest.mark.parametrize(("state", "event"), [("", ""), ("gone", "claim"), ("open", "vanish"), ("OPEN", "complete")])
def test_what_the_table_does_not_know_cannot_happen(name, state, event):
    with pytest.raises(StateError):
        follow(EXPECTED[name][0], state, event)


@every_table
def test_the_tables_cannot_be_changed(name):
    with pytest.raises(TypeError):
        EXPECTED[name][0]["open", "vanish"] = "gone"


@every_table
def test_states_are_listed_once_and_in_order(name):
    found = states_of(EXPECTED[name][0])
    assert list(found) == sorted(set(found))
