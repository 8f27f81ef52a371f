"""Work is claimed, held by a lease, done once and settled. The only home of DBOS and of the worker's child processes.

DBOS dispatches: queues, priorities, delays, one parcel at a time for each destination. The failure detector is ours (``lease``,
``reaper``), because DBOS alone does not notice a dead worker on another machine.
"""
