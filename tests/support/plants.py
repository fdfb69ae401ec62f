"""Faults to plant: for each promise of docs/reliability.md, a change that breaks it and the tests that notice."""

from __future__ import annotations

from typing import NamedTuple


class Plant(NamedTuple):
    """A fault: the promise it breaks (its first words), what changes in which file, and the tests that must fail."""

    promise: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


PLANTS = (
    Plant(
        "Never “done” before it is",
        "destination/tree.py",
        "return found.instances == series.instanceCount and found.size_bytes == series.size_bytes",
        "return found.instances == series.instanceCount",
        ("tests/unit/test_transfer.py", "tests/unit/test_resume.py"),
    ),
    Plant(
        "The same command resumes",
        "transfer/mender.py",
        "missing = tuple(each.name for each in objects if each.name not in present)",
        "missing = tuple(each.name for each in objects)",
        ("tests/unit/test_resume.py",),
    ),
    Plant(
        "No request when nothing is missing",
        "transfer/run.py",
        "        if tally.missing.series:\n",
        "        if tally.missing.series or plan.series_count:\n",
        ("tests/unit/test_resume.py",),
    ),
    Plant(
        "The disk overrules the journal",
        "transfer/survey.py",
        "if trust and journal is not None and journal.holds(row):",
        "if journal is not None and journal.holds(row):",
        ("tests/unit/test_resume.py",),
    ),
    Plant(
        "A kill at any moment loses nothing",
        "destination/tree.py",
        "    for name in unfinished(directory, is_unfinished):\n",
        "    for name in unfinished(directory, is_unfinished)[:0]:\n",
        ("tests/integration/test_storm.py",),
    ),
    Plant(
        "However a caller's program ends",
        "engines/s5cmd/engine.py",
        "                process.stop()\n",
        "                pass\n",
        ("tests/integration/test_ends.py",),
    ),
    Plant(
        "Transient failures are retried",
        "transfer/verdicts.py",
        "return self.ended is not None or self.attempt < self._options.retries",
        "return self.ended is not None",
        ("tests/integration/test_faults.py", "-k", "tried_again or asked_again or mends"),
    ),
    Plant(
        "A stalled store is abandoned",
        "engines/s5cmd/listening.py",
        "        if now - alive_at >= stall_seconds:\n",
        "        if now - alive_at >= 1e9:\n",
        ("tests/integration/test_faults.py", "-k", "silent", "--timeout", "30"),
    ),
    Plant(
        "A large file goes on where it was cut",
        "engines/curl/large.py",
        "        self._done = self._read_list()\n",
        "        self._done: set[tuple[int, int]] = set()\n",
        (
            "tests/unit/engines/test_saving.py",
            "tests/integration/test_curl.py",
            "-k",
            "large or interruptions",
        ),
    ),
    Plant(
        "A crash of the engine is not a failed series",
        "engines/s5cmd/engine.py",
        "        elif code < 0 or code > 1:\n",
        "        elif code > 1_000_000:\n",
        ("tests/integration/test_faults.py", "-k", "killed"),
    ),
    Plant(
        "A disk that is full, unmounted or moved away",
        "destination/lock.py",
        "        if self._look() == self._identity:\n",
        "        if self._identity:\n",
        ("tests/integration/test_faults.py", "-k", "takes_no_more"),
    ),
    Plant(
        "With `--durable`, power loss",
        "destination/durable.py",
        "    os.fsync(descriptor)\n",
        "    os.fstat(descriptor)\n",
        ("tests/integration/test_durable.py", "-k", "outlasts"),
    ),
    Plant(
        "One writer per destination",
        "destination/lock.py",
        "            lock.acquire(timeout=timeout_seconds, poll_interval=0.02)\n",
        "            pass\n",
        ("tests/unit/test_destination.py",),
    ),
    Plant(
        "Nothing is written outside the destination",
        "plans/names.py",
        '        if component in ("", ".", ".."):\n',
        '        if component == "":\n',
        ("tests/unit/test_cage.py", "tests/unit/test_manifest.py", "tests/unit/index/test_planner.py"),
    ),
    Plant(
        "No part of a source is dropped silently",
        "manifest/contents.py",
        "        if reader.line_num != done + 1:\n",
        "        if reader.line_num < done:\n",
        ("tests/unit/test_accounting.py",),
    ),
    Plant(
        "An opened plan does not depend on its file",
        "plans/opening.py",
        "    copy_file(path, rows.path, name)\n",
        "    rows.path = path\n",
        ("tests/unit/test_plan_file.py", "tests/unit/test_plan_machine.py"),
    ),
    Plant(
        "A store that sends too much is abandoned",
        "transfer/watch.py",
        "        if written_bytes - self._finished_bytes < self._look_at_bytes:\n",
        "        if written_bytes >= 0:\n",
        ("tests/integration/test_lying_stores.py", "-k", "object_without_end", "--timeout", "60"),
    ),
    Plant(
        "Untrusted text cannot control your terminal",
        "wording.py",
        "    if text.isprintable():\n",
        "    if text:\n",
        ("tests/integration/test_blame.py", "-k", "stranger or one_line"),
    ),
    Plant(
        "An instance is sent when the archive says so",
        "pacs/answers.py",
        "return self.status is not None and (self.status == SUCCESS or self.is_warning)",
        "return self.status is None or self.status == SUCCESS or self.is_warning",
        ("tests/pacs/test_peers.py",),
    ),
    Plant(
        "An archive's instances are asked for by name",
        "pacs/intake.py",
        "        if expected is not None and identity.PatientID != expected and not self._node.any_patient_id:\n",
        "        if False:\n",
        ("tests/pacs/test_peers.py",),
    ),
    Plant(
        "Our receiver acknowledges what is on the disk",
        "pacs/receiver.py",
        "        return answers.OUT_OF_RESOURCES\n",
        "        return answers.SUCCESS\n",
        ("tests/pacs/test_foreign.py",),
    ),
    Plant(
        "What identifies a patient is in no byte of a pseudonymised file",
        "pseudonyms/walking.py",
        '            if is_dummy and vr in _FREE and action != "remove":\n',
        "            if False:\n",
        ("tests/pseudonyms/test_rewriting.py",),
    ),
    Plant(
        "A transfer job sends each instance once",
        "pacs/transfers/recording.py",
        "                instances.c.task == self._task,\n                    instances.c.target == address,\n",
        "                instances.c.task == -1,\n                    instances.c.target == address,\n",
        ("tests/pacs/test_transfers.py",),
    ),
    Plant(
        "Nobody does more than their rights",
        "web/app.py",
        "            if not subject or not person.may(right.verb, subject):\n",
        "            if False:\n",
        ("tests/pacs/test_served.py",),
    ),
    Plant(
        "A part belongs to one attempt at a time",
        "destination/lock.py",
        "        if (newer := self._newer()) is not None:\n",
        "        if (newer := self._newer()) is not None and not newer:\n",
        ("tests/cluster/test_attempts.py",),
    ),
    Plant(
        "Parts become one download or nothing",
        "cluster/writers.py",
        "    if cut is None or digest(rows) != cut.digest:\n",
        "    if cut is None:\n",
        ("tests/cluster/test_gather.py",),
    ),
)
