"""Kubernetes and AWS Batch: their documents by their own models, and their semantics by a scripted executor.

No real cluster ran them; the executors do what the documentation of Kubernetes (Job: completionMode Indexed,
backoffLimitPerIndex, podFailurePolicy) and of AWS Batch (array jobs, retryStrategy.evaluateOnExit) says.
"""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import botocore.session
import kubernetes_validate
import pytest
import yaml
from botocore.validate import ParamValidator

from dataset_dl.cluster import gather, status
from dataset_dl.testing import LocalBucket
from support.cli import PROGRAM, Cli

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def cut(cli: Cli, saved: Path, tmp_path: Path) -> Path:
    assert cli("cluster", "split", saved, "-n", 3, "-o", "cut.parquet").code == 0
    return tmp_path / "cut.parquet"


def environment(variable: str, index: int) -> dict[str, str]:
    return {**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", variable: str(index)}


class Executor:
    """Runs the container of an index until it succeeds, is given up, or has failed too often.

    Parameters
    ----------
    strike
        Called with the index, the attempt and the process of each attempt, and may end it.
    """

    def __init__(self, variable: str, attempts: int, strike: Any) -> None:
        self.variable = variable
        self.attempts = attempts
        self.strike = strike
        self.codes: dict[int, list[int]] = {}

    def run(self, command: list[str], indexes: range, verdict: Any) -> dict[int, str]:
        ends = {}
        for index in indexes:
            ends[index] = "failed"
            for attempt in range(1, self.attempts + 1):
                with tempfile.TemporaryFile() as log:
                    process = subprocess.Popen(
                        command, env=environment(self.variable, index), start_new_session=True,
                        stdout=log, stderr=log,
                    )  # fmt: skip
                    try:
                        self.strike(index, attempt, process)
                        code = process.wait(60)
                    except BaseException as error:
                        os.killpg(process.pid, signal.SIGKILL)
                        log.seek(0)
                        error.add_note(f"it ended with {process.wait()}: {log.read().decode()}")
                        raise
                # A container that a signal has ended has the exit code 128 + its number.
                code = 128 - code if code < 0 else code
                self.codes.setdefault(index, []).append(code)
                if code == 0:
                    ends[index] = "succeeded"
                    break
                if verdict(code) == "give up":
                    break
        return ends


def nothing(index: int, attempt: int, process: subprocess.Popen[bytes]) -> None:
    pass


def kubernetes(cli: Cli, cut: Path, endpoint_url: str, to: Path) -> dict[str, Any]:
    done = cli(
        "cluster", "submit", cut, "--to", to, "--kubernetes", "--image", "registry/dataset-dl:1",
        "--volume", "mirror", "--mount", to.parent, "--at-once", 2, "--restarts", 3,
        "--", "--endpoint-url", endpoint_url, "--workers", 4, "--max-rate", 1, "--retries", 2,
    )  # fmt: skip
    assert done.code == 0, done.err
    found = yaml.safe_load(done.out)
    assert isinstance(found, dict)
    return found


def verdict_of(policy: dict[str, Any]) -> Any:
    def verdict(code: int) -> str:
        for rule in policy["rules"]:
            codes = rule.get("onExitCodes")
            if codes and codes["operator"] == "In" and code in codes["values"]:
                return "give up" if rule["action"] == "FailIndex" else "again"
        return "again"

    return verdict


def test_kubernetes_accepts_the_job(cli: Cli, cut: Path, tmp_path: Path) -> None:
    job = kubernetes(cli, cut, "http://store", tmp_path / "to")
    kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)
    spec = job["spec"]
    assert (spec["completions"], spec["parallelism"], spec["completionMode"]) == (3, 2, "Indexed")
    # podFailurePolicy is allowed only then.
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    broken = json.loads(json.dumps(job))
    broken["spec"]["completions"] = "three"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, kubernetes_validate.latest_version(), strict=True)


def test_an_indexed_job_is_killed_and_evicted(
    cli: Cli, cut: Path, bucket: LocalBucket, tmp_path: Path
) -> None:
    job = kubernetes(cli, cut, bucket.endpoint_url, tmp_path / "to")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    command = [*container["command"], *(argument.replace("$$", "$") for argument in container["args"])]

    def strike(index: int, attempt: int, process: subprocess.Popen[bytes]) -> None:
        if attempt == 1 and index < 2:
            until_it_writes(tmp_path / "to", index + 1, process)
            # The container is killed for its memory, or the pod is evicted.
            os.kill(process.pid, signal.SIGKILL if index == 0 else signal.SIGTERM)

    executor = Executor("JOB_COMPLETION_INDEX", job["spec"]["backoffLimitPerIndex"] + 1, strike)
    ends = executor.run(command, range(3), verdict_of(job["spec"]["podFailurePolicy"]))
    assert ends == {0: "succeeded", 1: "succeeded", 2: "succeeded"}
    assert executor.codes == {0: [137, 0], 1: [130, 0], 2: [0]}
    assert gather(tmp_path / "to").ok


def until_it_writes(target: Path, part: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        found = status(target) if target.exists() else []
        if len(found) >= part and found[part - 1].size_bytes > 0:
            return
        time.sleep(0.1)
    raise AssertionError("it never began")


def test_a_wrong_request_is_not_repeated(cli: Cli, cut: Path, bucket: LocalBucket, tmp_path: Path) -> None:
    job = kubernetes(cli, cut, bucket.endpoint_url, tmp_path / "to")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    command = [
        *container["command"],
        container["args"][0].replace("$$", "$").replace("--retries 2", "--retries 200"),
    ]
    executor = Executor("JOB_COMPLETION_INDEX", 4, nothing)
    assert executor.run(command, range(1), verdict_of(job["spec"]["podFailurePolicy"])) == {0: "failed"}
    assert executor.codes == {0: [2]}


def batch(cli: Cli, cut: Path, endpoint_url: str, to: Path) -> dict[str, Any]:
    done = cli(
        "cluster", "submit", cut, "--to", to, "--aws-batch", "--image", "registry/dataset-dl:1",
        "--volume", "fs-0123456789abcdef0", "--mount", to.parent, "--queue", "spot", "--restarts", 3,
        "--", "--endpoint-url", endpoint_url, "--max-rate", 1,
    )  # fmt: skip
    assert done.code == 0, done.err
    return dict(done.json)


def test_aws_batch_accepts_the_definition_and_the_job(cli: Cli, cut: Path, tmp_path: Path) -> None:
    document = batch(cli, cut, "http://store", tmp_path / "to")
    model = botocore.session.get_session().get_service_model("batch")
    for name, operation in (("jobDefinition", "RegisterJobDefinition"), ("job", "SubmitJob")):
        shape = model.operation_model(operation).input_shape
        report = ParamValidator().validate(document[name], shape)
        assert not report.has_errors(), report.generate_report()
        broken = {**document[name], "nonsense": 1}
        assert ParamValidator().validate(broken, shape).has_errors()
    assert document["job"]["arrayProperties"]["size"] == 3


def test_an_array_of_aws_batch_loses_its_spot_instance(
    cli: Cli, cut: Path, bucket: LocalBucket, tmp_path: Path
) -> None:
    document = batch(cli, cut, bucket.endpoint_url, tmp_path / "to")
    definition = document["jobDefinition"]
    rules = definition["retryStrategy"]["evaluateOnExit"]

    def verdict(code: int) -> str:
        for rule in rules:  # the first that matches counts; a container that ended has a reason, too
            if fnmatch.fnmatch(str(code), rule.get("onExitCode", "*")):
                return {"EXIT": "give up", "RETRY": "again"}[rule["action"]]
        return "again"

    def strike(index: int, attempt: int, process: subprocess.Popen[bytes]) -> None:
        if (index, attempt) == (1, 1):
            until_it_writes(tmp_path / "to", 2, process)
            os.kill(process.pid, signal.SIGTERM)

    executor = Executor("AWS_BATCH_JOB_ARRAY_INDEX", definition["retryStrategy"]["attempts"], strike)
    ends = executor.run(definition["containerProperties"]["command"], range(3), verdict)
    assert set(ends.values()) == {"succeeded"}
    assert executor.codes == {0: [0], 1: [130, 0], 2: [0]}
    assert gather(tmp_path / "to").ok
    # A full disk is not repeated.
    assert verdict(5) == "give up"
    assert verdict(3) == verdict(4) == verdict(137) == "again"
    shutil.rmtree(tmp_path / "to")


def test_a_part_of_aws_batch_ends_before_its_time_and_is_begun_again(
    cli: Cli, cut: Path, bucket: LocalBucket, tmp_path: Path
) -> None:
    """A job that AWS Batch itself has ended for its time would not be."""
    document = batch(cli, cut, bucket.endpoint_url, tmp_path / "to")
    definition = document["jobDefinition"]
    seconds = definition["timeout"]["attemptDurationSeconds"]
    *shell, line = definition["containerProperties"]["command"]
    assert f"timeout -s TERM {seconds - 120} " in line
    command = [
        *shell,
        line.replace(f"TERM {seconds - 120} ", "TERM 4 ").replace("--max-rate 1", "--max-rate 0.8"),
    ]
    executor = Executor("AWS_BATCH_JOB_ARRAY_INDEX", 9, nothing)
    assert executor.run(command, range(1), lambda code: "again") == {0: "succeeded"}
    assert set(executor.codes[0][:-1]) == {124}
    assert status(tmp_path / "to")[0].state == "complete"
    done = cli("cluster", "submit", cut, "--to", tmp_path / "to", "--aws-batch", "--image", "i", "--volume", "v",
               "--mount", "/", "--queue", "q", "--time-limit", "0.01", "--grace", "1")  # fmt: skip
    assert (done.code, "60 s or more, not 36" in done.err) == (2, True), done.err


def test_an_array_of_one_is_none_for_aws_batch(cli: Cli, saved: Path) -> None:
    assert cli("cluster", "split", saved, "-n", 1, "-o", "one.parquet").code == 0
    done = cli(
        "cluster", "submit", "one.parquet", "--to", "/to", "--aws-batch", "--image", "i", "--volume", "v",
        "--mount", "/", "--plan-path", "/one.parquet", "--queue", "q",
    )  # fmt: skip
    assert done.code == 2
    assert "An array of AWS Batch has 2 to 10,000 parts, not 1" in done.err
