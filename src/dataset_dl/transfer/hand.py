"""A process that runs a consumer: takes series from standard input, and answers each on standard output.

`crew.Processes` starts it. Its first line names the consumer; each further line is a series. When standard
input ends, its parent is gone, and so is it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from dataset_dl.destination.consumers import ConsumerRequest
from dataset_dl.transfer.crew import work


def main() -> None:
    """Carry out the orders on standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # So that nothing half-written is left.
    signal.signal(signal.SIGTERM, lambda *signalled: sys.exit(1))
    # What the consumer prints must not be taken for an answer.
    answers = os.dup(1)
    os.dup2(2, 1)
    orders = json.loads(sys.stdin.buffer.readline())
    from dataset_dl.doors import CONSUMERS

    make = CONSUMERS.find(orders["name"])
    assert make is not None, "its parent has found it"
    consumer = make(
        ConsumerRequest(orders["name"], orders["where"], Path(orders["destination"]), orders["options"])
    )
    for line in work(consumer, iter(sys.stdin.buffer.readline, b"")):
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(answers, rest) :]


if __name__ == "__main__":
    main()
