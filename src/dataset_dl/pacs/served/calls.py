"""Calls for transfers: jobs, their tasks, and what can be done with them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dataset_dl.errors import SelectionError
from dataset_dl.model.page import Call, Forbidden, Given, Person, Place, Right
from dataset_dl.pacs.hours import check_hours
from dataset_dl.pacs.nodes import Node
from dataset_dl.pacs.served.fetching import node_of
from dataset_dl.pacs.served.records import log, name_of, store
from dataset_dl.pacs.transfers import batch
from dataset_dl.pacs.transfers.nouns import TransferJob, Wanted
from dataset_dl.pacs.transfers.steering import ACTIONS, Steering
from dataset_dl.pixels.identity import is_uid
from dataset_dl.wording import first_few

_RETRIEVES = "retrieve|retrieve-pseudonymised"
_MOST_TASKS, _MOST_STUDIES = 1000, 100_000
# What whoever verifies may also do with the jobs of others.
_BRAKES = ("pause", "cancel")
# What fetches nothing.
_ENDING = (*_BRAKES, "delete")
_TRIAL = ("trial-protocol-id", "trial-protocol-name")


def create(place: Place, given: Given) -> dict[str, Any]:
    """Make a job of studies."""
    source, target = _ends(given)
    several = given.plain("studies")
    if not isinstance(several, list) or not 0 < len(several) <= _MOST_STUDIES:
        raise SelectionError("studies", f"Name one to {_MOST_STUDIES:,} studies; nothing was created.")
    wanted, wrong = batch.together(map(_study, several), source.name, target.name)
    if wrong:
        said = first_few([f"entry {number}: {reason}" for number, reason in wrong], 3)
        raise SelectionError("studies", f"The list of studies is wrong: {said}; nothing was created.")
    return _created("selective", wanted, given)


def _study(given: Any) -> tuple[Mapping[str, str], list[str]]:
    """Return a study and its series."""
    if not isinstance(given, Mapping):
        raise SelectionError("studies", "A study is an object with StudyInstanceUID; nothing was created.")
    names = {"PatientID": "PatientID", "StudyInstanceUID": "StudyInstanceUID", "pseudonym": "Pseudonym"}
    values = {column: given.get(name, "") for name, column in names.items()}
    series = given.get("SeriesInstanceUIDs", [])
    uids = [values["StudyInstanceUID"], *(series if isinstance(series, list) else [None])]
    if not all(isinstance(each, str) for each in values.values()) or not all(
        isinstance(each, str) and is_uid(each) for each in uids
    ):
        raise SelectionError("studies", f"“{str(given)[:100]}” is no study; nothing was created.")
    return values, series


def create_batch(place: Place, given: Given) -> dict[str, Any]:
    """Make a job of a spreadsheet; or, with `check`, only say what is wrong with it."""
    source, target = _ends(given)
    try:
        data = base64.b64decode(given.text("data"), validate=True)
    except (binascii.Error, ValueError):
        raise SelectionError("data", "The spreadsheet must be in base64; nothing was created.") from None
    wanted, wrong = batch.looked_at(Path(given.text("file")), data, source.name, target.name)
    needs = batch.pseudonyms_of(wanted) and not given.flag("pseudonymise")
    told = {
        "tasks": len(wanted),
        "wrong": [{"row": row, "reason": reason} for row, reason in wrong],
        "needs_pseudonymise": needs,
    }
    if wrong or needs or given.flag("check"):
        return {**told, "job": None}
    return {**told, "job": _created("batch", wanted, given)}


def _ends(given: Given) -> tuple[Node, Node]:
    """Return source and target; refuse what a person may not, as if it were not there."""
    person = given.person
    source, target = node_of(given.text("source")), node_of(given.text("target"))
    # Options let more through, so they are for those who may have the originals.
    is_plain = given.flag("pseudonymise") and not given.plain("pseudonym_options")
    verb = _RETRIEVES if is_plain else "retrieve"
    if not person.may(verb, source.name) or not person.may("send", target.name):
        raise Forbidden(source.name, "There is nothing to transfer like that for you.")
    if source.target == target.target:
        raise SelectionError(target.name, f"{target.name} is where it comes from; nothing was created.")
    return source, target


def _created(kind: Any, wanted: list[Wanted], given: Given) -> dict[str, Any]:
    options: dict[str, Any] = {"transcode": True} if given.flag("transcode") else {}
    if given.flag("pseudonymise"):
        texts = {name: given.text(name.replace("-", "_"), "") for name in _TRIAL}
        more = given.plain("pseudonym_options") or {}
        if not isinstance(more, Mapping) or not all(isinstance(each, str) for each in more.values()):
            raise SelectionError("pseudonym_options", "Options of pseudonyms are texts; nothing was created.")
        options["pseudonymise"] = {**more, **{name: text for name, text in texts.items() if text}}
    elif any(each.pseudonym for each in wanted):
        raise SelectionError(
            "pseudonym", "Without pseudonymise the files would keep their names; nothing was created."
        )
    job = store().create(
        kind,
        wanted,
        owner=name_of(given.person),
        name=given.text("name", "")[:200],
        options=options,
        priority=0,
        hours=check_hours(given.text("hours", "")),
    )
    log(
        given.person,
        "create",
        f"job {job.id}",
        f"{wanted[0].source} to {wanted[0].target}, {job.tasks} tasks",
    )
    if given.flag("start"):
        return _acted(given.person, job.id, "start")
    return job.to_dict()


def jobs(place: Place, given: Given) -> dict[str, Any]:
    """List the jobs that a person sees; with `since`, those that changed after a change."""
    since = int(given.number("since", -1, least=-1, most=2**62))
    last, found = store().since(since)
    return {"last": last, "jobs": [job.to_dict() for job in found if _sees(given.person, job)]}


def _sees(person: Person, job: TransferJob) -> bool:
    """Whether a person sees a job: their own, or one of nodes that they verify for."""
    if person.is_owner:
        return True
    # A token may be allowed less than its person, and rights may have been revoked.
    verbs = f"{_RETRIEVES}|send" if job.owner == person.name else "verify"
    return all(person.may(verbs, each) for each in store().nodes_of(job.id))


def _job(given: Given) -> TransferJob:
    number = int(given.number("job", most=2**62))
    found = store().job(number)
    if not _sees(given.person, found):
        raise Forbidden(str(number), f"There is no transfer job {number}.")
    return found


def job(place: Place, given: Given) -> dict[str, Any]:
    """Tell what a job is, and how far."""
    return _job(given).to_dict()


def tasks(place: Place, given: Given) -> list[dict[str, Any]]:
    """List tasks of a job."""
    found = store().tasks(
        _job(given).id,
        state=given.text("state", ""),
        after=int(given.number("after", 0, most=2**62)),
        since=int(given.number("since", -1, least=-1, most=2**62)),
        limit=int(given.number("limit", 100, least=1, most=_MOST_TASKS)),
    )
    return [each.to_dict() for each in found]


def instances(place: Place, given: Given) -> list[dict[str, Any]]:
    """List instances of a task, with what the target answered."""
    number, found = int(given.number("task", most=2**62)), _job(given)
    if store().task(number).job != found.id:
        raise Forbidden(str(number), f"There is no transfer task {number}.")
    return store().instances(number, after=given.text("after", ""))


def act(place: Place, given: Given) -> dict[str, Any]:
    """Do something with a job."""
    return _acted(given.person, _job(given).id, given.text("action"))


def _acted(person: Person, number: int, action: str) -> dict[str, Any]:
    pairs = store().ends_of(number)
    if not person.is_owner:
        step = store().job(number).options.get("pseudonymise")
        # As when it was made: options let more through.
        is_plain = step is not None and (action in _ENDING or not set(step) - set(_TRIAL))
        verb = _RETRIEVES if is_plain else "retrieve"
        for source, target in pairs:
            # Rights may have changed since the job was made.
            may_move = person.may(verb, source) and person.may("send", target)
            may_verify = person.may("verify", source) and person.may("verify", target)
            is_allowed = may_verify if action == "verify" else may_move
            if not (is_allowed or (may_verify and action in _BRAKES)):
                raise Forbidden(str(number), f"There is no transfer job {number} with which you may do that.")
    steering = Steering(store(), name_of(person))
    done = steering.act(number, action)
    return {"id": number, "is_deleted": True} if done is None else done.to_dict()


def prioritise(place: Place, given: Given) -> dict[str, Any]:
    """Give a job another priority."""
    found = _job(given)
    if not given.person.is_owner and not _verifies(given.person, store().nodes_of(found.id)):
        raise Forbidden(str(found.id), f"There is no transfer job {found.id} with which you may do that.")
    number = int(given.number("priority", least=-1000, most=1000))
    return Steering(store(), name_of(given.person)).prioritise(found.id, number).to_dict()


def _verifies(person: Person, several: Iterable[str]) -> bool:
    return all(person.may("verify", each) for each in several)


def logged(place: Place, given: Given) -> list[dict[str, Any]]:
    """List who did what."""
    limit = int(given.number("limit", 500, least=1, most=10_000))
    return [each._asdict() for each in store().logged(limit)]


_JOB = {"job": "The number of a job."}
_PAGE = {"after": "Behind this one.", "limit": "At most so many."}
_MAKING = {
    "source": "The node to fetch from.", "target": "The node to send to.", "name": "What it is called.",
    "pseudonymise": "Whether files get pseudonyms on their way.",
    "pseudonym_options": "Options like {\"allowed\": \"SR\"}; see the consumer pseudonyms.",
    "transcode": "Whether files may be converted.",
    "trial_protocol_id": "The new ClinicalTrialProtocolID.",
    "trial_protocol_name": "The new ClinicalTrialProtocolName.",
    "hours": "When it may run, like 20:00-06:00.", "start": "Whether to start it at once.",
}  # fmt: skip
_MOVING = (Right(_RETRIEVES, "source"), Right("send", "target"))
# Jobs are seen by those who made them, so each call looks at the job.
_TRANSFERS = (Right(f"{_RETRIEVES}|send|verify"),)
CALLS: tuple[Call, ...] = (
    Call(
        "transfers", create, "Make a job of studies.",
        {**_MAKING, "studies": "PatientID, StudyInstanceUID, SeriesInstanceUIDs and pseudonym of each."},
        method="POST", rights=_MOVING,
    ),
    Call(
        "transfers/batch", create_batch, "Make a job of a spreadsheet.",
        {**_MAKING, "file": "What it is called.", "data": "The spreadsheet, in base64.",
         "check": "Whether only to say what is wrong with it."},
        method="POST", rights=_MOVING,
    ),
    Call(
        "transfers", jobs, "The jobs.", {"since": "Only those that changed after this change."},
        rights=_TRANSFERS,
    ),
    Call("transfers/log", logged, "Who did what, the latest first.", {"limit": "At most so many."}),
    Call("transfers/{job}", job, "A job.", _JOB, rights=_TRANSFERS),
    Call(
        "transfers/{job}/tasks", tasks, "Tasks of a job.",
        {**_JOB, **_PAGE, "state": "Only those in this state.", "since": "Only those that changed later."},
        rights=_TRANSFERS,
    ),
    Call(
        "transfers/{job}/tasks/{task}/instances", instances, "Instances of a task, and the answer for each.",
        {**_JOB, "task": "The number of a task.", "after": "Behind this one."}, rights=_TRANSFERS,
    ),
    Call(
        "transfers/{job}/priority", prioritise, "Give a job another priority.",
        {**_JOB, "priority": "A higher one comes first."}, method="POST", rights=_TRANSFERS,
    ),
    Call(
        "transfers/{job}/{action}", act, f"Do something with a job: {', '.join(ACTIONS)}.",
        {**_JOB, "action": "What to do."}, method="POST", rights=_TRANSFERS,
    ),
)  # fmt: skip
