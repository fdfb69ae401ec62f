"""The services of DIMSE that archives are asked for: C-ECHO, C-FIND, C-GET, C-MOVE and C-STORE."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dataset_dl.errors import NetworkError, SelectionError
from dataset_dl.pacs import commandsets
from dataset_dl.pacs.answers import PENDING, SUCCESS, Answer, Numbers
from dataset_dl.pacs.association import Association, Context, Message, Sink
from dataset_dl.pacs.commandsets import RESPONSE, Command
from dataset_dl.wording import visible

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

VERIFICATION = "1.2.840.10008.1.1"
STUDY_FIND, STUDY_MOVE, STUDY_GET = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_LOOK_SECONDS = 0.5


def echo(association: Association) -> None:
    """Ask whether the peer listens (C-ECHO).

    Raises
    ------
    NetworkError
        If it does not.
    SelectionError
        If it refuses.
    """
    context = _context(association, VERIFICATION, "C-ECHO")
    answer = _asked(
        association, context, {"AffectedSOPClassUID": VERIFICATION, "CommandField": commandsets.C_ECHO}
    )
    if answer.command.get("Status") != SUCCESS:
        raise SelectionError(
            association.name, f"{association.name} answers C-ECHO with {_answer(answer.command)}."
        )


def store(association: Association, context: Context, uid: str, data: Any) -> Answer:
    """Send an instance (C-STORE).

    Parameters
    ----------
    association, context
        The context for the instance's class and transfer syntax.
    uid
        Its SOPInstanceUID.
    data
        The bytes of its data set.

    Raises
    ------
    NetworkError
        If there is no answer.
    """
    command = {
        "AffectedSOPClassUID": context.abstract,
        "CommandField": commandsets.C_STORE,
        "Priority": commandsets.MEDIUM,
        "AffectedSOPInstanceUID": uid,
    }
    answer = _asked(association, context, command, data).command
    told = answer.get("AffectedSOPInstanceUID") or uid
    if told != uid:
        association.abort()
        raise NetworkError(
            association.name, f"{association.name} answers for {visible(told)[:70]} in place of {uid}."
        )
    return _answer(answer)


def find(association: Association, identifier: Dataset) -> Iterator[Dataset]:
    """Query (C-FIND, study root).

    Raises
    ------
    NetworkError
        If it does not answer to the end.
    SelectionError
        If it refuses the query.
    """
    message_id = _begun(association, STUDY_FIND, commandsets.C_FIND, "C-FIND", identifier)
    while True:
        message = _received(association, message_id, commandsets.C_FIND)
        status = message.command.get("Status")
        if status in PENDING:
            try:
                yield read(message.data, message.context.syntax)
            except GeneratorExit:
                # The other answers would come in place of what is asked next.
                association.abort()
                raise
            continue
        if status == 0xB001:
            raise SelectionError(
                association.name,
                f"{association.name} has more matches than it tells of, so none was taken.",
                "Ask for less, for example for fewer days.",
            )
        if status != SUCCESS:
            raise SelectionError(
                association.name, f"{association.name} refuses the query: {_answer(message.command)}."
            )
        return


def get(
    association: Association,
    identifier: Dataset,
    sink: Callable[[Context, Command], Sink | None],
    taken: Callable[[Command], int],
) -> Numbers:
    """Ask for instances in this association (C-GET, study root).

    Parameters
    ----------
    association
        One with contexts for what may come.
    identifier
        What is asked for.
    sink
        Returns what takes the data set of an instance.
    taken
        Called when one has come; returns the status to answer with.

    Raises
    ------
    NetworkError
        If the archive leaves in the midst.
    """
    _begun(association, STUDY_GET, commandsets.C_GET, "C-GET", identifier)
    while True:
        message = association.receive(
            lambda context, command: (
                sink(context, command) if command.get("CommandField") == commandsets.C_STORE else None
            )
        )
        if message is None:
            raise _ended(association)
        if message.command.get("CommandField") == commandsets.C_STORE:
            answer_store(association, message, taken(message.command))
        elif (numbers := _numbers(message, commandsets.C_GET)) is not None:
            return numbers


def move(
    association: Association, identifier: Dataset, destination: str, told: Callable[[bool], None]
) -> Numbers:
    """Ask an archive to send instances to an AE title (C-MOVE, study root).

    Parameters
    ----------
    association, identifier
        As for `get`.
    destination
        The AE title, which the archive must know.
    told
        Called with True when the archive says that it is at work, and with False while it says nothing, which
        it may; ends the wait by raising.

    Raises
    ------
    NetworkError
        If the archive leaves in the midst.
    """
    message_id = _begun(
        association, STUDY_MOVE, commandsets.C_MOVE, "C-MOVE", identifier, MoveDestination=destination
    )
    while True:
        while not association.is_readable(_LOOK_SECONDS):
            told(False)
        message = _received(association, message_id, commandsets.C_MOVE)
        if (numbers := _numbers(message, commandsets.C_MOVE)) is not None:
            return numbers
        told(True)


def answer_store(association: Association, message: Message, status: int) -> None:
    """Answer a C-STORE."""
    answer = {
        "AffectedSOPClassUID": message.command.get("AffectedSOPClassUID", ""),
        "CommandField": commandsets.C_STORE | RESPONSE,
        "MessageIDBeingRespondedTo": message.command.get("MessageID", 0),
        "Status": status,
        "AffectedSOPInstanceUID": message.command.get("AffectedSOPInstanceUID", ""),
    }
    association.send(message.context, answer)


def written(identifier: Dataset, syntax: str) -> bytes:
    """Return a data set in a transfer syntax without compression."""
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, syntax == IMPLICIT
    write_dataset(file, identifier)
    return bytes(file.getvalue())


def read(data: bytes, syntax: str) -> Dataset:
    """Return the data set of an answer.

    Raises
    ------
    NetworkError
        If it cannot be read.
    """
    from pydicom.filereader import read_dataset

    try:
        return read_dataset(io.BytesIO(data), syntax == IMPLICIT, True)
    except Exception as error:  # pydicom raises whatever strange bytes lead to
        raise NetworkError("", f"An answer cannot be read ({type(error).__name__}).") from None


def _asked(
    association: Association, context: Context, command: Mapping[str, Any], data: Any = None
) -> Message:
    message_id = association.next_message_id()
    association.send(context, {**command, "MessageID": message_id}, data)
    return _received(association, message_id, int(command["CommandField"]))


def _begun(
    association: Association, abstract: str, service: int, name: str, identifier: Dataset, **more: str
) -> int:
    """Send a request with an identifier; return its MessageID."""
    context = _context(association, abstract, name)
    message_id = association.next_message_id()
    command = {
        "AffectedSOPClassUID": abstract,
        "CommandField": service,
        "MessageID": message_id,
        "Priority": commandsets.MEDIUM,
        **more,
    }
    association.send(context, command, written(identifier, context.syntax))
    return message_id


def _received(association: Association, message_id: int, service: int) -> Message:
    """Wait for the answer to a message; one to another message would be taken for it."""
    message = association.receive()
    if message is None:
        raise _ended(association)
    answered = message.command.get("CommandField"), message.command.get("MessageIDBeingRespondedTo")
    if answered != (service | RESPONSE, message_id):
        association.abort()
        raise NetworkError(association.name, f"{association.name} answers a question that was not asked.")
    return message


def _numbers(message: Message, service: int) -> Numbers | None:
    """Return what the last answer says; None for one that says that it goes on."""
    command = message.command
    status = command.get("Status")
    if command.get("CommandField") != service | RESPONSE or status is None or status in PENDING:
        return None
    return Numbers(
        status,
        command.get("NumberOfCompletedSuboperations"),
        command.get("NumberOfFailedSuboperations"),
        command.get("NumberOfWarningSuboperations"),
        str(_answer(command)),
    )


def _context(association: Association, abstract: str, service: str) -> Context:
    context = association.context(abstract)
    if context is None:
        raise SelectionError(association.name, f"{association.name} does not offer {service}.")
    return context


def _answer(command: Command) -> Answer:
    return Answer(command.get("Status"), visible(str(command.get("ErrorComment", "")))[:200])


def _ended(association: Association) -> NetworkError:
    return NetworkError(
        association.name,
        f"{association.name} ended the association before it had answered.",
        "The same command goes on.",
    )
