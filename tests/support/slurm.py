"""A real Slurm on this machine: munge, slurmctld and three slurmds, started by a test and ended by it."""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

_START_SECONDS = 60.0
NODES = ("node1", "node2", "node3")

# No cgroups and no systemd: processes are found by their parents. Every node has one core, so an array spreads.
_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge.sock,cred_expire=5
CredType=cred/munge
SlurmctldPort={ports[0]}
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1
MpiDefault=none
ReturnToService=2
SlurmdTimeout=8
KillWait=5
MinJobAge=600
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{nodes}
PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def is_here() -> bool:
    return all(map(shutil.which, ("munged", "slurmctld", "slurmd", "sbatch"))) and os.geteuid() == 0


class Slurm:
    """A running Slurm.

    Attributes
    ----------
    root
        Its directory.
    environment
        Variables that make its commands use it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {
            **os.environ,
            "SLURM_CONF": str(root / "slurm.conf"),
        }
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        ports = _free_ports(1 + len(NODES))
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={platform.node()} NodeAddr=127.0.0.1 Port={port} CPUs=1 State=UNKNOWN"
            for name, port in zip(NODES, ports[1:], strict=True)
        )
        for name in ("state", *(f"spool-{each}" for each in NODES)):
            (self.root / name).mkdir(parents=True)
        (self.root / "slurm.conf").write_text(
            _CONF.format(host=platform.node(), root=self.root, ports=ports, nodes=nodes)
        )
        key = self.root / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        self._run(
            "munged", ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={self.root}/munge.sock",
             f"--pid-file={self.root}/munged.pid", f"--log-file={self.root}/munged.log", f"--seed-file={self.root}/munged.seed"],
        )  # fmt: skip
        _until((self.root / "munge.sock").exists, "munged")
        self._run("slurmctld", ["slurmctld", "-D", "-f", self.environment["SLURM_CONF"]])
        for name in NODES:
            self.start_node(name)
        _until(
            lambda: self.ask("sinfo", "-h", "-N", "-p", "low", "-o", "%t").split() == ["idle"] * len(NODES),
            "slurmd",
        )

    def start_node(self, name: str) -> None:
        """Start the slurmd of a node."""
        self._run(name, ["slurmd", "-D", "-N", name, "-f", self.environment["SLURM_CONF"]])

    def kill_daemon(self, name: str) -> None:
        """Kill the slurmd of a node; what runs there goes on, and Slurm takes the node for lost."""
        daemon = self._daemons.pop(name)
        daemon.kill()
        daemon.wait()

    def processes(self, task: str) -> list[psutil.Process]:
        """Return the processes of a task of an array job, like ``1_3``, the script first."""
        job, _, index = task.partition("_")
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                variables = process.environ()
                if variables.get("SLURM_CONF") != self.environment["SLURM_CONF"]:
                    continue  # another Slurm has such jobs, too
                if (variables.get("SLURM_ARRAY_JOB_ID"), variables.get("SLURM_ARRAY_TASK_ID")) == (
                    job,
                    index,
                ):
                    found.append(process)
        return sorted(found, key=lambda process: process.create_time())

    def node_of(self, task: str) -> str:
        """Return the node that a task runs on."""
        return self.ask("squeue", "-h", "-j", task, "-o", "%N").strip()

    def ask(self, *command: str) -> str:
        """Run a command of Slurm, and return what it prints."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=60
        )
        return done.stdout if done.returncode == 0 else f"{done.stdout}{done.stderr}"

    def states(self, job: str) -> dict[int, str]:
        """Return the state of each task of an array job, by its index."""
        lines = self.ask("squeue", "-h", "-r", "-t", "all", "-j", job, "-o", "%K %T").splitlines()
        return {
            int(index): state
            for index, state in (line.split() for line in lines if len(line.split()) == 2)
            if index.isdigit()
        }

    def wait(self, job: str, seconds: float = 150.0) -> dict[int, str]:
        """Wait until no task of a job is waiting or running."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            states = self.states(job)
            if states and all(each in _ENDS for each in states.values()):
                return states
            time.sleep(0.3)
        raise AssertionError(
            f"the job did not end: {self.states(job)}\n{self.ask('squeue', '-a')}\n{self.logs()}"
        )

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in self.root.glob("*.log"))

    def stop(self) -> None:
        self.ask("scancel", "-u", "root")
        for daemon in self._daemons.values():
            daemon.send_signal(signal.SIGTERM)
        for daemon in self._daemons.values():
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(10)
            daemon.kill()
        for process in psutil.process_iter(["environ"]):
            with suppress(psutil.Error):
                if (process.info["environ"] or {}).get("SLURM_CONF") == self.environment[
                    "SLURM_CONF"
                ] and process.pid != os.getpid():
                    process.kill()

    def _run(self, name: str, command: list[str]) -> None:
        log = (self.root / f"{name}.out").open("ab")
        with log:
            self._daemons[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment, cwd=self.root,
                start_new_session=True,
            )  # fmt: skip


_ENDS = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY"}


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        several = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in several:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in several]


def _until(holds: object, what: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"{what} does not start"
        time.sleep(0.1)


@contextmanager
def running(root: Path, variables: Mapping[str, str] | None = None) -> Iterator[Slurm]:
    """Run Slurm for a while."""
    slurm = Slurm(root)
    slurm.environment.update(variables or {})
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()
