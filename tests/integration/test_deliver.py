"""Consumers beside a download and after it; series that are removed once they are taken; a bounded disk."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dataset_dl as dd
from dataset_dl.model.events import DeliveryFailed, Event, SeriesDelivered
from dataset_dl.model.series import Series
from dataset_dl.testing import LocalBucket
from support import plugin
from support.cli import Cli
from support.many import many_series


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBucket]:
    """24 series of 16 instances each, 0.6 MB a series."""
    with many_series(24, tmp_path_factory.mktemp("many")) as served:
        yield served


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the consumer of a stranger's package copies to."""
    plugin.install(tmp_path / "site", monkeypatch)
    return tmp_path / "copies"


def keys(bucket: LocalBucket, count: int = 24) -> list[str]:
    return [each.crdc_series_uuid for each in bucket.series][:count]


def taken(directory: Path) -> Counter[str]:
    """How often each series was taken."""
    return Counter(
        {
            path.name: len(path.read_text().splitlines())
            for path in directory.iterdir()
            if len(path.name) == 36
        }
    )


def instances(directory: Path) -> list[Path]:
    return list(directory.rglob("*.dcm"))


def test_consumers_take_each_series_beside_the_download(
    cli: Cli, store: LocalBucket, stranger: Path, engine: str
) -> None:
    arguments = (
        "idc", "download", *keys(store, 6), "--to", "data", "--then", f"copies:{stranger}?tag=1",
        "--endpoint-url", store.endpoint_url,
    )  # fmt: skip
    done = cli(*arguments)
    assert done.code == 0, done.err
    assert f"6 series delivered to copies:{stranger}." in done.out
    assert taken(stranger) == Counter(keys(store, 6))
    assert len(instances(cli.directory / "data")) == 6 * 16
    assert cli(*arguments).code == 0
    assert taken(stranger) == Counter(keys(store, 6))
    changed = cli("deliver", "data", "--to", f"copies:{stranger}?tag=2")
    assert changed.code == 0
    assert taken(stranger) == Counter(dict.fromkeys(keys(store, 6), 2))


def test_a_transient_failure_is_tried_again(cli: Cli, store: LocalBucket, stranger: Path) -> None:
    dd.download(keys(store, 3), cli.directory / "data", endpoint_url=store.endpoint_url, progress="none")
    assert cli("deliver", "data", "--to", f"copies:{stranger}?fails=once").code == 0
    assert taken(stranger) == Counter(keys(store, 3))


def test_other_failures_are_data_and_the_next_run_tries_again(
    cli: Cli, store: LocalBucket, stranger: Path
) -> None:
    arguments = ("idc", "download", *keys(store, 3), "--to", "data", "--endpoint-url", store.endpoint_url)
    done = cli(*arguments, "--then", f"copies:{stranger}?fails=always", "--json")
    assert done.code == 3
    assert "Every series was fetched and verified, but 3 deliveries failed" in done.err
    assert "the other side refuses it" in done.err
    failed = [each for each in done.events if each["event"] == "delivery_failed"]
    assert {each["cause"] for each in failed} == {"consumer"}
    assert len(done.events[-1]["delivery"]["failures"]) == 3
    full = cli("deliver", "data", "--to", f"copies:{stranger}?fails=full")
    assert (full.code, "The other disk is full. Make room." in full.err) == (5, True)


def test_a_consumer_that_kills_its_process_fails_one_series(
    cli: Cli, store: LocalBucket, stranger: Path
) -> None:
    dd.download(keys(store, 5), cli.directory / "data", endpoint_url=store.endpoint_url, progress="none")
    name = f"copies:{stranger}?fails=killed"
    done = cli("deliver", "data", "--to", name, "--retries", 9)
    assert (done.code, "ended on its own (signal 9)" in done.err) == (3, True), done.err
    assert cli("deliver", "data", "--to", name).code == 0
    assert taken(stranger) == Counter(keys(store, 5))


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("nobody", "There is no consumer “nobody”. Known are copies"),
        ("copies:x?colour=red", "The consumer copies has no option “colour”"),
        ("copies:x?", "is no consumer"),
        ("", "is no consumer"),
        ("copies:https://me:secret@host/P", "contains a password"),
    ],
)
def test_a_wrong_consumer_is_refused_before_anything_starts(
    cli: Cli, store: LocalBucket, stranger: Path, to: str, words: str
) -> None:
    for more in ((), ("--dry-run",)):
        done = cli("idc", "download", *keys(store, 1), "--to", "data", "--then", to, *more)
        assert (done.code, words in done.err) == (2, True), done.err
    assert not (cli.directory / "data").exists()


def test_functions_are_consumers(store: LocalBucket, tmp_path: Path) -> None:
    seen: list[str] = []

    def look(series: Series) -> None:
        assert all(path.is_file() for path in series.paths)
        seen.append(series.planned.key)

    options = {"endpoint_url": store.endpoint_url, "progress": "none"}
    report = dd.download(keys(store, 4), tmp_path / "data", then=look, **options)  # type: ignore[arg-type]
    assert report.delivery is not None
    assert (report.delivery.delivered, sorted(seen)) == (4, sorted(keys(store, 4)))
    again = dd.deliver(tmp_path / "data", to=[look])
    assert (again.delivered, again.delivered_before, len(seen)) == (0, 4, 4)
    with pytest.raises(dd.SelectionError, match="named twice"):
        dd.deliver(tmp_path / "data", to=[look, look])


def test_what_is_not_complete_is_not_delivered(store: LocalBucket, tmp_path: Path) -> None:
    dd.download(keys(store, 2), tmp_path / "data", endpoint_url=store.endpoint_url, progress="none")
    instances(tmp_path / "data")[0].unlink()
    with pytest.raises(dd.DeliveryIncomplete, match=r"are not complete, .* and were not delivered") as raised:
        dd.deliver(tmp_path / "data", to=print)
    assert raised.value.delivery.delivered == 1


def test_evicted_series_are_used_and_not_missing(
    cli: Cli, store: LocalBucket, stranger: Path, engine: str
) -> None:
    download = ("idc", "download", *keys(store, 6), "--to", "data", "--endpoint-url", store.endpoint_url)
    done = cli(*download, "--then", f"copies:{stranger}", "--evict")
    assert done.code == 0, done.err
    assert "6 series delivered to" in done.out
    assert "6 removed since" in done.out
    assert [path.name for path in (cli.directory / "data").iterdir()] == [".dataset-dl"]
    again = cli(*download, "--then", f"copies:{stranger}", "--evict")
    assert again.code == 0
    assert "6 delivered before, 6 removed since" in again.out
    assert taken(stranger) == Counter(keys(store, 6))
    updated = cli("idc", "diff", "data", "--update", "--endpoint-url", store.endpoint_url)
    assert updated.code == 0, updated.err
    assert not instances(cli.directory / "data")
    verified = cli("idc", "verify", "data")
    assert (verified.code, "6 series were delivered and removed since" in verified.out) == (0, True)
    # Another consumer, or none, needs them again.
    changed = cli(*download, "--then", f"copies:{stranger}?tag=2", "--evict")
    assert changed.code == 0
    assert taken(stranger) == Counter(dict.fromkeys(keys(store, 6), 2))
    assert cli(*download).code == 0
    assert len(instances(cli.directory / "data")) == 6 * 16
    assert "were delivered" not in cli("idc", "verify", "data").out


def test_evicting_leaves_what_is_not_its_own(cli: Cli, store: LocalBucket, tmp_path: Path) -> None:
    """Several series share a directory, and a file of the user is in it."""
    target, layout = tmp_path / "data", "%collection_id"
    dd.download(keys(store, 3), target, endpoint_url=store.endpoint_url, progress="none", layout=layout)
    notes = target / "prostatex" / "notes.txt"
    notes.write_text("mine")
    dd.deliver(dd.plan(keys(store, 1), into=target, layout=layout), to=print, evict=True)
    assert len(instances(target)) == 2 * 16
    assert cli("idc", "verify", target).code == 0
    dd.deliver(target, to=print, evict=True)
    assert [path.name for path in (target / "prostatex").iterdir()] == ["notes.txt"]
    assert cli("idc", "verify", target).code == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--evict"], "but none is named"),
        (["--then", "copies:x", "--disk-budget", "1GB"], "holds only if series are evicted"),
        (["--then", "copies:x", "--evict", "--disk-budget", "much"], "“much” is no number of bytes"),
        (["--then", "copies:x", "--evict", "--disk-budget", "100 kB"], "smaller than the largest series"),
    ],
)
def test_wrong_budgets_are_refused_before_anything_starts(
    cli: Cli, store: LocalBucket, stranger: Path, options: list[str], words: str
) -> None:
    done = cli("idc", "download", *keys(store), "--to", "data", *options)
    assert (done.code, words in done.err) == (2, True), done.err
    assert not (cli.directory / "data").exists()


class Sampler:
    """Measures what lies below a directory, again and again."""

    def __init__(self, directory: Path) -> None:
        self.most_bytes = 0
        self._directory = directory
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ends.wait(0.002):
            found = 0
            for directory, below, names in os.walk(self._directory):
                if ".dataset-dl" in below:
                    below.remove(".dataset-dl")
                for name in names:
                    try:
                        found += (Path(directory) / name).stat().st_size
                    except OSError:
                        continue
            self.most_bytes = max(self.most_bytes, found)


def largest(store: LocalBucket) -> int:
    return max(each.expected_bytes for each in store.series)


def test_many_series_go_through_a_small_disk(
    store: LocalBucket, stranger: Path, tmp_path: Path, engine: str
) -> None:
    target, bound = tmp_path / "data", 3 * largest(store)
    with Sampler(target) as sampled:
        report = dd.download(
            keys(store), target, then=f"copies:{stranger}?slow=0.05", evict=True, disk_budget=bound,
            endpoint_url=store.endpoint_url, progress="none",
        )  # fmt: skip
    assert report.ok
    assert report.delivery is not None
    assert (report.delivery.delivered, report.delivery.evicted_series) == (24, 24)
    assert taken(stranger) == Counter(keys(store))
    assert 0 < sampled.most_bytes <= bound
    assert not instances(target)


def test_a_loop_bounds_the_disk_and_goes_on_where_it_was(
    store: LocalBucket, tmp_path: Path, engine: str
) -> None:
    target, bound = tmp_path / "data", 3 * largest(store)
    options = {
        "evict": True, "disk_budget": bound, "endpoint_url": store.endpoint_url,
    }  # fmt: skip
    seen: list[str] = []
    with Sampler(target) as sampled:
        for series in dd.stream(keys(store), target, **options):  # type: ignore[arg-type]
            assert len(series.paths) == 16
            seen.append(series.planned.key)
            time.sleep(0.01)
            if len(seen) == 10:
                break
        # It had begun with the tenth.
        seen += [series.planned.key for series in dd.stream(keys(store), target, **options)]  # type: ignore[arg-type]
    assert sorted(set(seen)) == sorted(keys(store))
    assert len(seen) == 25
    assert sampled.most_bytes <= bound
    assert not list(dd.stream(keys(store), target, **options))  # type: ignore[arg-type]
    others = dd.stream(keys(store, 2), target, consumer="second epoch", **options)  # type: ignore[arg-type]
    assert len(list(others)) == 2


def test_a_budget_full_of_failures_ends_in_a_sentence(
    cli: Cli, store: LocalBucket, stranger: Path, engine: str
) -> None:
    done = cli(
        "idc", "download", *keys(store), "--to", "data", "--endpoint-url", store.endpoint_url,
        "--then", f"copies:{stranger}?fails=always", "--evict", "--disk-budget", f"{3 * largest(store)}",
    )  # fmt: skip
    assert done.code == 3
    assert "the disk budget is full of series that failed or that no consumer took" in done.err, done.err


def test_killed_and_resumed_each_series_is_consumed(
    store: LocalBucket, stranger: Path, tmp_path: Path
) -> None:
    target, bound = tmp_path / "data", 3 * largest(store)
    script = tmp_path / "run.py"
    script.write_text(
        "import dataset_dl as dd\n"
        f"dd.download({keys(store)!r}, {str(target)!r}, then={f'copies:{stranger}?slow=0.02'!r}, evict=True,\n"
        f"    disk_budget={bound}, endpoint_url={store.endpoint_url!r}, progress='none')\n"
    )
    pause = random.Random(5)
    with Sampler(target) as sampled:
        for _ in range(4):
            child = subprocess.Popen([sys.executable, script])
            time.sleep(0.8 + pause.random())
            child.send_signal(signal.SIGKILL)
            child.wait()
        subprocess.run([sys.executable, script], check=True, timeout=120)
    counts = taken(stranger)
    assert set(counts) == set(keys(store))
    # A process that was killed between its work and the receipt repeats it; each kill can do that to those at work.
    assert counts.total() <= 24 + 4 * 2 * (os.cpu_count() or 1)
    assert sampled.most_bytes <= bound + largest(store)
    assert not instances(target)


def test_events_say_what_was_delivered(store: LocalBucket, tmp_path: Path) -> None:
    seen: list[Event] = []

    def refuses(series: Series) -> None:
        if series.planned.key == keys(store)[0]:
            raise ValueError("this one is not wanted")

    report = dd.download(
        keys(store, 2), tmp_path / "data", then=refuses, check=False, observers=[seen.append],
        endpoint_url=store.endpoint_url, progress="none",
    )  # fmt: skip
    assert not report.ok
    (failed,) = [event for event in seen if isinstance(event, DeliveryFailed)]
    assert (failed.key, failed.message, failed.run_id) == (
        keys(store)[0], "this one is not wanted", report.run_id,
    )  # fmt: skip
    assert [event.key for event in seen if isinstance(event, SeriesDelivered)] == [keys(store)[1]]


def test_a_plan_that_does_not_fit_fits_with_a_budget(
    cli: Cli, store: LocalBucket, stranger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataset_dl.destination import disk

    monkeypatch.setattr(disk, "free_bytes", lambda path: 25_000_000)
    arguments = ("idc", "download", *keys(store), "--to", "data", "--dry-run")
    assert cli(*arguments).code == 5
    budget = ("--then", f"copies:{stranger}", "--evict", "--disk-budget", "2MB")
    assert cli(*arguments, *budget[:-1], "1kB").code == 2
    done = cli(*arguments, *budget)
    assert (done.code, "fits; nothing was fetched" in done.out) == (0, True), done.err


def test_nothing_is_removed_through_a_link(store: LocalBucket, tmp_path: Path) -> None:
    target, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    dd.download(keys(store, 1), target, endpoint_url=store.endpoint_url, progress="none")
    (target / "prostatex").rename(elsewhere)
    (target / "prostatex").symlink_to(elsewhere)
    with pytest.raises(dd.StorageError, match="symbolic link"):
        dd.deliver(target, to=print, evict=True)
    assert len(instances(elsewhere)) == 16


def test_functions_of_one_name_have_receipts_of_their_own(store: LocalBucket, tmp_path: Path) -> None:
    dd.download(keys(store, 2), tmp_path / "data", endpoint_url=store.endpoint_url, progress="none")

    def made(number: int) -> Callable[[Series], object]:
        def consumer(series: Series) -> object:
            return {"number": number}

        return consumer

    assert dd.deliver(tmp_path / "data", to=made(1)).delivered == 2
    assert dd.deliver(tmp_path / "data", to=made(1)).delivered == 0
    assert dd.deliver(tmp_path / "data", to=made(2)).delivered == 2
    with pytest.raises(dd.SelectionError, match="has no name that a receipt could carry"):
        dd.deliver(tmp_path / "data", to=lambda series: None)
    with pytest.raises(dd.ManifestError, match="No download went to"):
        dd.deliver(tmp_path / "nowhere", to=print)


def test_whatever_a_function_does_is_data(store: LocalBucket, tmp_path: Path) -> None:
    dd.download(keys(store, 2), tmp_path / "data", endpoint_url=store.endpoint_url, progress="none")

    def leaves(series: Series) -> None:
        sys.exit("enough")

    def strange(series: Series) -> object:
        return {("a", 1): object()}

    for consumer in (leaves, strange):
        delivery = dd.deliver(tmp_path / "data", to=consumer, check=False)
        assert (delivery.delivered, len(delivery.failures)) == (0, 2)


@pytest.mark.parametrize("how", ["reads", "forks"])
def test_a_consumer_may_read_and_start_others(cli: Cli, store: LocalBucket, stranger: Path, how: str) -> None:
    dd.download(keys(store, 2), cli.directory / "data", endpoint_url=store.endpoint_url, progress="none")
    assert cli("deliver", "data", "--to", f"copies:{stranger}?fails={how}").code == 0
    assert taken(stranger) == Counter(keys(store, 2))


def test_a_receipt_does_not_count_if_its_product_is_gone(cli: Cli, store: LocalBucket) -> None:
    dd.download(keys(store, 1), cli.directory / "data", endpoint_url=store.endpoint_url, progress="none")
    assert cli("deliver", "data", "--to", "thumbnails:made").code == 0
    for path in (cli.directory / "made").glob("thumbnails.*"):
        path.unlink()
    done = cli("deliver", "data", "--to", "thumbnails:made")
    assert (done.code, "1 series delivered" in done.out) == (0, True), done.err
