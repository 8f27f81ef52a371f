"""A process that writes audit rows: one transaction each, as fast as it can."""

import sys
from contextlib import closing

from node.ledger.audit import record
from node.ledger.engine import Ledger

if __name__ == "__main__":
    url, name, count = sys.argv[1:]
    with closing(Ledger(url, actor=name)) as ledger:
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(int(count)):
            ledger.write(lambda tx, number=number: record(tx, "test.written", {"number": number}))
