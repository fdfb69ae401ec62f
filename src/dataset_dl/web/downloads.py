"""Calls of the page that shows jobs."""

from __future__ import annotations

from typing import Any

from dataset_dl.errors import SelectionError
from dataset_dl.model.page import Call, Given
from dataset_dl.web.cohort import HOW, options_of
from dataset_dl.web.explore import ASKED
from dataset_dl.web.site import Asked, Site

_MOVES = ("pause", "resume", "cancel", "retry", "remove")


def jobs(site: Site, given: Given) -> list[dict[str, Any]]:
    """List the jobs, the newest first."""
    return [job.to_dict() for job in site.jobs.jobs()]


def job(site: Site, given: Given) -> dict[str, Any]:
    """Return a job."""
    return site.jobs.job(_number(given)).to_dict()


def add(site: Site, given: Given) -> dict[str, Any]:
    """Put the download of a cohort in the queue."""
    asked = Asked.of(given)
    destination = site.inside(given.text("to"))
    return site.jobs.add(asked.what, into=destination, where=asked.where, **options_of(given)).to_dict()


def check(site: Site, given: Given) -> dict[str, Any]:
    """Put work on a tree in the queue."""
    options = {"md5": True} if given.flag("md5") else {}
    return site.jobs.add_check(given.text("kind"), site.inside(given.text("to")), **options).to_dict()


def move(site: Site, given: Given) -> dict[str, Any]:
    """Pause, resume, cancel, retry or remove a job."""
    number, what = _number(given), given.text("move")
    if what not in _MOVES:
        raise SelectionError(what, f"A job cannot “{what}”.", f"It can {', '.join(_MOVES)}.")
    moved = getattr(site.jobs, what)(number)
    return {"id": number} if moved is None else moved.to_dict()


def _number(given: Given) -> int:
    return int(given.number("job", least=1, most=2**53))


CALLS = (
    Call("jobs", jobs, "The jobs, the newest first."),
    Call("jobs/{job}", job, "A job.", {"job": "Its number."}),
    Call("jobs", add, "Put the download of a cohort in the queue.", {**ASKED, **HOW}, "POST"),
    Call(
        "check",
        check,
        "Put work on a downloaded tree in the queue.",
        {"kind": "`verify`, `repair` or `update`.", "to": "The tree.", "md5": "Also compare MD5 sums."},
        "POST",
    ),
    Call(
        "jobs/{job}/{move}",
        move,
        "Change the state of a job.",
        {"job": "Its number.", "move": f"One of {', '.join(_MOVES)}."},
        "POST",
    ),
)
