"""Array jobs for the scheduler that is there, from templates that anybody may copy and change."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dataset_dl.errors import PlanError, SelectionError, StorageError
from dataset_dl.process import run_to_end
from dataset_dl.scratch import written_whole

TEMPLATES = Path(__file__).with_name("templates")
# Which file is the template of a scheduler, and how values are written there.
FORMS: Mapping[str, tuple[str, Callable[[str], str]]] = {
    "slurm": ("slurm.sh", str),
    "kubernetes": ("kubernetes.yaml", json.dumps),
    "aws-batch": ("aws-batch.json", json.dumps),
}
_FIELD = re.compile(r"\{\{(?P<name>[a-z_0-9]+)(?: (?P<variable>[A-Z_]+))?\}\}")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?")
# What AWS Batch allows for an array.
_BATCH_SIZES = range(2, 10_001)
_BATCH_ATTEMPTS = 10
_BATCH_SECONDS = 60
_SUBMIT_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Request:
    """An array job that downloads the parts of a plan.

    Attributes
    ----------
    plan, destination
        The plan, which is cut, and the shared destination, as the machines see them.
    parts
        How many parts the plan has.
    at_once
        How many of them run at the same time.
    name
        The name of the job: small letters, digits and ``-``.
    cpus, memory_mib
        What a part gets: cores, and MiB.
    time_limit_seconds, grace_seconds
        After how long a part is ended, and how long before that it gets SIGTERM.
    restarts
        How often a part is begun again.
    logs
        The directory of its logs, with Slurm.
    image, volume, mount, queue
        With containers: the image, the volume or its claim, and where it is mounted; the queue of AWS Batch.
    options
        Further options of `idc download`.
    """

    plan: str
    destination: str
    parts: int
    at_once: int
    name: str = "dataset-dl"
    cpus: int = 2
    memory_mib: int = 2048
    time_limit_seconds: int = 24 * 3600
    grace_seconds: int = 120
    restarts: int = 5
    logs: str = ""
    image: str = ""
    volume: str = ""
    mount: str = ""
    queue: str = ""
    options: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.grace_seconds >= self.time_limit_seconds:
            raise SelectionError(
                "grace",
                f"A part would be told to end {self.grace_seconds} s before its end, but it only has"
                f" {self.time_limit_seconds} s; nothing was submitted.",
                "Give it more time (--time-limit), or less notice (--grace).",
            )
        if not _NAME.fullmatch(self.name):
            raise SelectionError(
                self.name,
                f"“{self.name}” cannot be the name of a job; nothing was submitted.",
                "Use small letters, digits and -, at most 52 of them.",
            )


def filled(form: str, template: str, request: Request, program: Sequence[str]) -> str:
    """Fill a template in.

    Parameters
    ----------
    form
        ``slurm``, ``kubernetes`` or ``aws-batch``; anything else is a script for a shell.
    template
        Its text, with fields like ``{{parts}}``.
    request
        What fills the fields.
    program
        How the machines call dataset-dl.

    Raises
    ------
    PlanError
        If the template has a field that does not exist, or the scheduler cannot run so many parts.
    SelectionError
        If a field has no value.
    """
    _check(form, request)
    if form == "aws-batch" and request.parts not in _BATCH_SIZES:
        raise PlanError(
            "parts",
            f"An array of AWS Batch has {_BATCH_SIZES[0]} to {_BATCH_SIZES[-1]:,} parts, not"
            f" {request.parts:,}; nothing was submitted.",
            "Cut the plan into another number of parts.",
        )
    command = [
        *program, "idc", "download", request.plan, "--to", request.destination, *request.options,
    ]  # fmt: skip
    hours, rest = divmod(request.time_limit_seconds, 3600)
    values = {
        "at_once": min(request.at_once, request.parts),
        "attempts": request.restarts + 1,
        "command": shlex.join(command),
        "cpus": request.cpus,
        "grace_seconds": request.grace_seconds,
        "image": request.image,
        "logs": request.logs.replace("%", "%%"),
        "memory": f"{request.memory_mib}Mi",
        "memory_mib": request.memory_mib,
        "mount": request.mount,
        "name": request.name,
        "parts": request.parts,
        "queue": request.queue,
        "restarts": request.restarts,
        "time_limit": f"{hours}:{rest // 60:02}:{rest % 60:02}",
        "time_limit_seconds": request.time_limit_seconds,
        "volume": request.volume,
    }
    write = FORMS[form][1] if form in FORMS else str

    def value(match: re.Match[str]) -> str:
        name, variable = match["name"], match["variable"]
        if name == "index_from_0" and variable:
            part = f'"$(({variable} + 1))/{request.parts}"'
            line = f"{shlex.join(command)} --part {part} --take-over"
            if form == "aws-batch":
                # AWS Batch begins no job again that it has ended for its time.
                line = f"timeout -s TERM {request.time_limit_seconds - request.grace_seconds} {line}"
            line = f"exec {line}"
            # Kubernetes replaces $(NAME) in arguments, and $$ by $.
            return write(line.replace("$", "$$") if form == "kubernetes" else line)
        if name not in values or variable:
            raise PlanError(
                name, f"The template has a field “{match[0]}” that does not exist; nothing was submitted.",
                f"There are {', '.join(sorted(values))}.",
            )  # fmt: skip
        found = values[name]
        if found == "":
            raise SelectionError(
                name, f"The template needs {name}; nothing was submitted.", f"Give it with --{name}."
            )
        return write(found) if isinstance(found, str) else str(found)

    return _FIELD.sub(value, template)


def _check(form: str, request: Request) -> None:
    """Refuse what a scheduler would misread.

    Raises
    ------
    PlanError
        If it would.
    """
    if form == "slurm" and re.search(r'["\\\x00-\x1f]', request.logs):
        raise PlanError(
            request.logs,
            f"Slurm cannot write to {request.logs!r}, because of the quotation marks, backslashes or control"
            " characters in the name; nothing was submitted.",
            "Rename the plan; its logs stand beside it.",
        )
    if form == "aws-batch" and request.time_limit_seconds < _BATCH_SECONDS:
        raise PlanError(
            "time_limit",
            f"AWS Batch gives a job {_BATCH_SECONDS} s or more, not {request.time_limit_seconds}; nothing was"
            " submitted.",
            "Give a longer --time-limit.",
        )
    if form == "aws-batch" and request.restarts + 1 > _BATCH_ATTEMPTS:
        raise PlanError(
            "restarts",
            f"AWS Batch begins a part {_BATCH_ATTEMPTS} times at most; nothing was submitted.",
            f"Give --restarts {_BATCH_ATTEMPTS - 1} or less.",
        )
    if form in ("kubernetes", "aws-batch") and request.mount:
        for path in (request.plan, request.destination):
            if not PurePosixPath(path).is_relative_to(request.mount):
                raise PlanError(
                    path,
                    f"{path} is not below {request.mount}, where the volume is in the container, so it would"
                    " be lost with the container; nothing was submitted.",
                    "Give --to and --plan-path as the containers see them.",
                )


def template_of(form: str) -> str:
    """Return the text of a template that comes with this package; ``array`` is for any other scheduler."""
    name = FORMS[form][0] if form in FORMS else "array.sh"
    return (TEMPLATES / name).read_text(encoding="utf-8")


def program() -> list[str]:
    """Return how machines that share this file system call dataset-dl."""
    found = Path(sys.argv[0])
    if found.name == "dataset-dl" and found.is_file():
        return [str(found.absolute())]
    return [sys.executable, "-m", "dataset_dl"]


def submit_to_slurm(script: str, path: Path, logs: Path) -> str:
    """Write the script and submit it; return what sbatch says.

    Raises
    ------
    StorageError
        If the script or the directory of the logs cannot be written.
    PlanError
        If there is no Slurm, or it refuses.
    """
    if (sbatch := shutil.which("sbatch")) is None:
        raise PlanError(
            "sbatch",
            "There is no sbatch on this machine, so nothing was submitted.",
            "Run this on a machine that submits jobs, or use --print.",
        )
    try:
        logs.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as unfinished:
            unfinished.write_text(script, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            str(path), f"{path} cannot be written: {error.strerror}; nothing was submitted."
        ) from None
    try:
        answer = run_to_end([sbatch, str(path)], environment=os.environ, timeout_seconds=_SUBMIT_SECONDS)
    except (OSError, TimeoutError) as error:
        raise PlanError(
            "sbatch", f"sbatch did not answer ({error}).", "squeue says whether the job was submitted."
        ) from None
    if answer.returncode != 0:
        raise PlanError(
            "sbatch",
            f"Slurm refuses the job ({' '.join((answer.stderr or answer.stdout).split())}).",
            f"The script is in {path}.",
        )
    return answer.stdout.strip()
