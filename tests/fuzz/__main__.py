"""``python -m tests.fuzz``: play many cases, print what was seen."""

import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path

from pydicom.data import get_testdata_file

from tests.fuzz.campaign import Campaign, Target, read_originals
from tests.fuzz.cases import Cases
from tests.integration.dimse.test_tls import Certificates


def main() -> int:
    """Run; 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=int, default=0, help="the first case: with the same seed, a run goes on where another ended")
    parser.add_argument("--senders", type=int, default=12)
    parser.add_argument("--only", choices=("fast", "pynetdicom", "tls"), help="one listener instead of all")
    parser.add_argument("--folder", type=Path, help="for spools and logs, kept; by default a temporary one")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # what is odd about an original
    data = os.environ.get("RADNODE_TEST_DATA")
    originals = read_originals(Path(data) if data else Path(str(get_testdata_file("CT_small.dcm"))).parent)
    print(f"seed {options.seed}, cases {options.start} to {options.start + options.cases - 1}, {len(originals)} originals", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = Certificates(folder).files("radnode")
        secured = {"certificate": str(certificate), "key": str(key)}
        kinds: dict[str, dict[str, object]] = {"fast": {"fast": True}, "pynetdicom": {"fast": False}, "tls": {"fast": True, **secured}}
        targets = [Target(name, folder, **kind) for name, kind in kinds.items() if options.only in (None, name)]
        account = Campaign(targets, Cases(options.seed, originals), options.senders).run(
            range(options.start, options.start + options.cases)
        )
    print(account.table())
    for (family, kind, outcome), count in sorted(account.kinds.items()):
        print(f"  {family:10} {kind:18} {outcome:18} {count:8}")
    return 1 if account.findings else 0


if __name__ == "__main__":
    sys.exit(main())
