"""The commands: what they print, and with which code they end."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dataset_dl as dd
from dataset_dl.cluster.submitting import FORMS, Request, filled, template_of
from dataset_dl.destination import paths
from dataset_dl.engines.curl.engine import CurlEngine
from dataset_dl.engines.s5cmd.engine import S5cmdEngine
from dataset_dl.testing import LocalBucket
from dataset_dl.verbs import parts
from support.cli import Cli


@pytest.fixture
def cut(cli: Cli, saved: Path, tmp_path: Path) -> Path:
    done = cli("cluster", "split", saved, "-n", 3, "-o", "cut.parquet")
    assert done.code == 0, done.err
    return tmp_path / "cut.parquet"


def test_a_plan_is_split(cli: Cli, saved: Path) -> None:
    done = cli("cluster", "split", saved, "-n", 2)
    assert done.code == 0
    assert re.search(r"^1/2 +[12] +\d+ +[\d.]+ MB", done.out, re.MULTILINE), done.out
    assert re.search(
        r"3 series, 14\.\d MB in 2 parts; at 100 MB/s the longest takes .* × the average", done.err
    ), done.err
    rows = json.loads(cli("cluster", "split", saved, "-n", 3, "--format", "json").out)
    assert [each["series"] for each in rows] == [1, 1, 1]
    listed = list(csv.DictReader(io.StringIO(cli("cluster", "split", saved, "-n", 3, "--format", "csv").out)))
    assert [each["part"] for each in listed] == ["1/3", "2/3", "3/3"]
    # An object costs its time at the rate of a machine: 243 objects of 100 s are 6.75 hours.
    hours = ("--rate", 1, "--object-ms", 100_000, "--hours", 2.5)
    rows = json.loads(cli("cluster", "split", saved, *hours, "--format", "json").out)
    assert len(rows) == 3
    assert all(each["seconds"] == pytest.approx(8100, rel=0.01) for each in rows)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Give either -n or --hours"),
        (("-n", 2, "--hours", 3), "Give either -n or --hours"),
        (("-n", 2, "-o", "cut.csv"), "Use a name that ends in .parquet"),
        (("-n", 0), "0 is not in the range"),
        (("--hours", "nan"), "is not"),
        (("-n", 3, "--rate", "inf"), "is not a finite number"),
        (("-n", 3, "--object-ms", "nan"), "is not"),
        (("--hours", 1e-12), "there can be 100,000; nothing was cut"),
    ],
)
def test_what_cannot_be_split(cli: Cli, saved: Path, arguments: tuple[object, ...], words: str) -> None:
    done = cli("cluster", "split", saved, *arguments)
    assert done.code == 2
    assert words in done.err


def test_from_split_to_gather(cli: Cli, cut: Path, bucket: LocalBucket) -> None:
    to = ("--to", "data", "--endpoint-url", bucket.endpoint_url)
    done = cli("idc", "download", cut, "--part", "2/3", "--to", "data", "--dry-run")
    assert done.code == 0
    assert re.search(r"^total +1 +81", done.out, re.MULTILINE)
    assert cli("idc", "download", cut, "--part", "2/3", *to).code == 0
    done = cli("cluster", "status", "data")
    assert done.code == 0
    assert re.search(r"^1/3 +waiting", done.out, re.MULTILINE)
    assert re.search(r"^2/3 +complete +1 +1 of 1", done.out, re.MULTILINE)
    assert "3 parts: 2 waiting, 1 complete." in done.out
    assert cli("cluster", "gather", "data").code == 3
    assert cli("idc", "download", cut, "--part", "1/3", *to, "--json").code == 0
    assert (
        cli(
            "idc", "download", cut, "--part", "3/3", "--to", "data", "--endpoint-url", "http://127.0.0.1:9"
        ).code
        == 4
    )
    done = cli("cluster", "status", "data", "--format", "json")
    assert done.code == 3
    third = done.json[2]
    assert (third["state"], third["attempt"]) == ("failed", 1)
    assert "127.0.0.1:9" in third["message"]
    assert "go on when they are begun again" in cli("cluster", "status", "data").out
    assert cli("idc", "download", cut, "--part", "3/3", *to).code == 0
    done = cli("cluster", "gather", "data", "--json")
    assert done.code == 0
    assert (done.json["ok"], done.json["series_count"]) == (True, 3)
    assert cli("idc", "verify", "data").code == 0
    done = cli("cluster", "gather", "data")
    assert (done.code, "3 of 3 series are complete" in done.out) == (0, True)
    assert cli("cluster", "status", "data").code == 2
    assert cli("cluster", "gather", ".").code == 2


@pytest.mark.parametrize("part", ["4/3", "0/3", "x", "1/4"])
def test_a_part_that_does_not_exist(cli: Cli, cut: Path, part: str) -> None:
    done = cli("idc", "download", cut, "--part", part, "--to", "data")
    assert done.code == 2
    assert "nothing was started" in done.err
    assert not (cut.parent / "data").exists()


@pytest.mark.parametrize("option", [("--take-over",), ("--shared-rate", 5)])
def test_options_that_are_about_a_part(cli: Cli, cut: Path, option: tuple[object, ...]) -> None:
    done = cli("idc", "download", cut, "--to", "data", *option)
    assert done.code == 2
    assert "Only a part of a plan" in done.err


def test_all_parts_together_keep_to_a_rate(bucket: LocalBucket, tmp_path: Path, engine: str) -> None:
    """Each takes an equal share of it, and more when others have ended."""
    plan = dd.plan([each.crdc_series_uuid for each in bucket.series[:4]])
    total_mbps = plan.size_bytes / 2 / 1e6 / 2
    shares: list[float] = []
    dd.download(plan, tmp_path, part="2/2", endpoint_url=bucket.endpoint_url, progress="none")
    other = paths.files_of(tmp_path, "2-of-2-attempt-1").folder / "holder.json"
    other.write_text("{}")  # as if it was still running
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "_FIRST_SECONDS", 0.3)
        patch.setattr(parts, "_SHARE_SECONDS", 0.3)
        for kind in (S5cmdEngine, CurlEngine):
            patch.setattr(kind, "limit", noting(kind.limit, shares))
        events = dd.download_events(
            plan, tmp_path, part="1/2", endpoint_url=bucket.endpoint_url, shared_rate_mbps=total_mbps
        )
        began = time.monotonic()
        for _ in events:
            if time.monotonic() - began > 1:
                other.unlink(missing_ok=True)
    assert shares == [pytest.approx(total_mbps)], "it began with the half"
    assert time.monotonic() - began > 2 * 0.8, "no faster than the rate allows"
    assert dd.verify(tmp_path, progress="none").ok


def noting(limit: Callable[[Any, float], None], shares: list[float]) -> Callable[[Any, float], None]:
    def noted(engine: Any, rate_mbps: float) -> None:
        shares.append(rate_mbps)
        limit(engine, rate_mbps)

    return noted


def test_slurm_is_printed_as_it_would_be_submitted(cli: Cli, cut: Path) -> None:
    done = cli(
        "cluster", "submit", cut, "--to", "data", "--slurm", "--print", "--at-once", 2, "--time-limit", 1.5,
        "--shared-rate", 200, "--", "--durable",
    )  # fmt: skip
    assert done.code == 0
    assert "#SBATCH --array=1-3%2" in done.out
    assert "#SBATCH --time=1:30:00" in done.out
    assert f"idc download {cut} --to {cut.parent / 'data'} --durable --shared-rate 200 --part" in done.out
    assert "{{" not in done.out
    assert "Nothing was submitted" in done.err


def test_any_other_scheduler_has_a_template(cli: Cli, cut: Path, tmp_path: Path) -> None:
    done = cli("cluster", "submit", cut, "--to", "data", "--show-template")
    assert len(done.out.splitlines()) <= 10
    own = tmp_path / "own.sh"
    own.write_text(done.out.replace('index="$INDEX"', 'index="$LSB_JOBINDEX"') + "# {{name}}\n")
    done = cli("cluster", "submit", cut, "--to", "data", "--template", own, "--name", "mirror")
    assert done.code == 0
    assert 'index="$LSB_JOBINDEX"' in done.out
    assert done.out.endswith("# mirror\n")
    own.write_text("{{nonsense}}")
    done = cli("cluster", "submit", cut, "--to", "data", "--template", own)
    assert done.code == 2
    assert "a field “{{nonsense}}” that does not exist" in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--kubernetes",), "The template needs image"),
        (("--aws-batch", "--image", "i", "--mount", "/", "--volume", "v", "--to", "/x"), "needs queue"),
        (("--slurm", "--name", "Not a name"), "cannot be the name of a job"),
        (("--slurm", "--kubernetes"), "slurm and kubernetes are several schedulers"),
        (("--slurm", "--print", "--grace", "7200", "--time-limit", "1"), "told to end 7200 s before its end"),
        (("--slurm", "--print", "--time-limit", "nan"), "is not"),
        (("--slurm", "--print", "--shared-rate", "inf"), "is not a finite number"),
        (("--slurm", "--print", "--", "--nonsense"), "No such option"),
        (("--slurm", "--print", "--", "--to", "elsewhere"), "would make other downloads of the parts"),
        (("--slurm", "--print", "--", "--part", "1/2"), "would make other downloads of the parts"),
        (("--slurm", "--print", "--", "another_collection"), "would make other downloads of the parts"),
        (("--kubernetes", "--image", "i", "--volume", "v", "--mount", "/data"), "is not below /data"),
        (("--aws-batch", "--restarts", "10"), "begins a part 10 times at most"),
    ],
)
def test_what_is_lacking_is_said(cli: Cli, cut: Path, arguments: tuple[str, ...], words: str) -> None:
    done = cli("cluster", "submit", cut, "--to", "data", *arguments)
    assert done.code == 2
    assert words in done.err


@pytest.mark.parametrize("name", ['a"b', "a\nb", "a\\b"])
def test_a_name_that_slurm_would_misread_is_refused(cli: Cli, cut: Path, name: str) -> None:
    plan = cut.rename(cut.with_name(f"{name}.parquet"))
    done = cli("cluster", "submit", plan, "--to", "data", "--slurm", "--print")
    assert done.code == 2
    assert "Slurm cannot write to" in done.err


def test_a_percent_sign_is_none_of_slurms(cli: Cli, cut: Path) -> None:
    plan = cut.rename(cut.with_name("a%j.parquet"))
    done = cli("cluster", "submit", plan, "--to", "data", "--slurm", "--print")
    assert f'--output="{plan.parent}/a%%j.logs/%A_%a.log"' in done.out


def test_a_template_that_is_no_text(cli: Cli, cut: Path, tmp_path: Path) -> None:
    (tmp_path / "own").write_bytes(b"\xff\xfe\x00")
    done = cli("cluster", "submit", cut, "--to", "data", "--template", "own")
    assert done.code == 2
    assert "cannot be read" in done.err


def test_a_plan_that_is_not_cut_is_not_submitted(cli: Cli, saved: Path) -> None:
    done = cli("cluster", "submit", saved, "--to", "data", "--slurm")
    assert done.code == 2
    assert "is not cut into parts" in done.err


def test_there_is_no_slurm(cli: Cli, cut: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    done = cli("cluster", "submit", cut, "--to", "data", "--slurm")
    assert done.code == 2
    assert "There is no sbatch on this machine" in done.err


@pytest.mark.parametrize("form", [*FORMS, "array"])
def test_names_cannot_break_out_of_a_template(form: str) -> None:
    odd = 'it\'s $(touch x) "y" `z`; a b'
    request = Request(
        plan=odd,
        destination=odd,
        parts=3,
        at_once=2,
        logs="/logs",
        image=odd,
        volume=odd,
        mount=odd,
        queue=odd,
    )
    text = filled(form, template_of(form), request, ["dataset-dl"])
    if form == "aws-batch":
        document = json.loads(text)
        assert document["jobDefinition"]["containerProperties"]["image"] == odd
        text = document["jobDefinition"]["containerProperties"]["command"][2]
    elif form == "kubernetes":
        import yaml

        (container,) = yaml.safe_load(text)["spec"]["template"]["spec"]["containers"]
        assert container["image"] == odd
        # Kubernetes makes one of two, and leaves what is in brackets alone then.
        text = re.sub(r"\$\$", "$", container["args"][0])
    import shlex

    line = next(each for each in text.splitlines() if "idc download" in each)
    words = shlex.split(line.removesuffix("&"))
    assert words[words.index("download") + 1] == odd
    assert words[words.index("--to") + 1] == odd
