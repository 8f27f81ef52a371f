"""Whether there is room: a look at the disk is remembered, what is taken meanwhile is not forgotten."""

from node.intake.room import Room


def test_what_is_taken_between_two_looks_is_counted() -> None:
    room = Room(lambda: 100, 40, remembers_s=3600)
    assert room.is_there(60)
    assert not room.is_there(1)
    assert not room.is_there()


def test_a_new_look_forgets_the_count() -> None:
    room = Room(lambda: 100, 40, remembers_s=-1)
    assert [room.is_there(60), room.is_there(60), room.is_there(61), room.is_there()] == [True, True, False, True]


def test_below_the_least_nothing_is_begun() -> None:
    assert not Room(lambda: 39, 40).is_there()
    assert Room(lambda: 40, 40).is_there()
