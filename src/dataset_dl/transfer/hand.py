"""A process that runs a consumer: takes series from standard input, and answers each on standard output.

`crew.Processes` starts it. Its first line names the consumer; each further line is a series. When standard
input ends, its parent is gone, and so is it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from dataset_dl.destination.consumers import ConsumerRequest
from dataset_dl.process.python import end_on_signal
from dataset_dl.transfer.crew import work


def main() -> None:
    """Carry out the orders on standard input."""
    end_on_signal()
    # What the consumer prints must not be taken for an answer, nor may it read what is meant for this loop.
    answers, tasks = os.dup(1), os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    orders = json.loads(tasks.readline())
    from dataset_dl.doors import CONSUMERS

    make = CONSUMERS.find(orders["name"])
    assert make is not None, "its parent has found it"
    consumer = make(
        ConsumerRequest(orders["name"], orders["where"], Path(orders["destination"]), orders["options"])
    )
    for line in work(consumer, iter(tasks.readline, b"")):
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(answers, rest) :]


if __name__ == "__main__":
    main()
