"""Which studies are held open by whom."""

from threading import Thread

from node.intake.presence import Presence


def test_a_study_is_held_while_its_association_is_open():
    presence = Presence()
    presence.enter("A")
    assert presence.studies() == frozenset()
    presence.touch("A", "1.2")
    presence.touch("A", "1.3")
    assert presence.studies() == {"1.2", "1.3"}
    presence.leave("A")
    assert presence.studies() == frozenset()


def test_each_association_holds_for_itself():
    presence = Presence()
    for association in ("A", "B"):
        presence.enter(association)
        presence.touch(association, "1.2")
    presence.leave("A")
    assert presence.studies() == {"1.2"}


def test_an_association_that_broke_while_its_instance_was_received_holds_nothing():
    """The socket's thread says that it is gone before the thread that receives has read which study it brought."""
    presence = Presence()
    presence.enter("A")
    presence.leave("A")
    presence.touch("A", "1.2")
    assert presence.studies() == frozenset()


def test_to_leave_twice_does_no_harm():
    presence = Presence()
    presence.leave("A")
    presence.enter("A")
    presence.leave("A")
    presence.leave("A")
    assert presence.studies() == frozenset()


def test_many_threads_leave_nothing_behind():
    presence = Presence()

    def visit(name):
        for number in range(200):
            presence.enter(name)
            presence.touch(name, f"1.{number}")
            presence.studies()
            presence.leave(name)

    threads = [Thread(target=visit, args=(f"{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert presence.studies() == frozenset()
