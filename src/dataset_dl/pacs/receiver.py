"""Receives what archives send after a C-MOVE: each is acknowledged once it is on the disk and recorded."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

from dataset_dl.engines.threads import Stopped
from dataset_dl.errors import NetworkError, StorageError
from dataset_dl.pacs import answers, commandsets, services
from dataset_dl.pacs.arriving import Arriving, meta
from dataset_dl.pacs.association import Association, Context, Message
from dataset_dl.pacs.commandsets import Command
from dataset_dl.pacs.intake import Counted, Intake, Refused
from dataset_dl.pacs.negotiation import accept
from dataset_dl.pacs.titles import Titles

_BACKLOG = 32
_POLL_SECONDS = 0.2
_IDLE_SECONDS = 300.0
# Another process may have the port for one download only.
_PORT_SECONDS = 60.0
# Everything but the services: who sends objects knows best what they are.
_NO_OBJECTS = (
    "1.2.840.10008.5.1.4.1.2.",
    "1.2.840.10008.5.1.4.31",
    "1.2.840.10008.3.",
    "1.2.840.10008.5.1.1.",
)


class PortTaken(NetworkError):
    """Another program listens at the port."""


class Receiver:
    """Listens for archives.

    Parameters
    ----------
    titles
        Its AE title, and where it listens.

    Raises
    ------
    PortTaken, NetworkError
        If it cannot listen there.

    Attributes
    ----------
    titles, port
        Where archives send to.
    """

    def __init__(self, titles: Titles) -> None:
        self.titles = titles
        self._intakes: dict[str, Intake] = {}
        self._lock = threading.Lock()
        self._open: set[Association] = set()
        self._is_closed = False
        try:
            self._listening = socket.create_server((titles.host, titles.port), backlog=_BACKLOG)
        except OSError as error:
            kind = PortTaken if error.errno == errno.EADDRINUSE else NetworkError
            raise kind(
                titles.receiver,
                f"The port {titles.port} cannot be used to receive what archives send: {error.strerror}.",
                "Is another download at work? DATASET_DL_RECEIVER_PORT sets another port, which the archive"
                " must know, too.",
            ) from None
        self._listening.settimeout(_POLL_SECONDS)
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._listen, daemon=True, name="receiver")
        self._thread.start()

    def await_instances(self, intake: Intake) -> None:
        """Take what is missing of a series, after any other intake that awaits the same instances.

        Raises
        ------
        Stopped
            If everything was ended before.
        """
        while not self._is_awaited(intake):
            intake.receiving.check()
            intake.receiving.pause(_POLL_SECONDS)

    def _is_awaited(self, intake: Intake) -> bool:
        with self._lock:
            if not self._intakes.keys().isdisjoint(intake.wanted):
                return False
            self._intakes.update(dict.fromkeys(intake.wanted, intake))
            return True

    def forget(self, intake: Intake) -> None:
        """Take nothing more of a series."""
        with self._lock:
            for uid in intake.wanted:
                if self._intakes.get(uid) is intake:
                    del self._intakes[uid]

    def close(self) -> None:
        """End every association, and listen no more."""
        self._is_closed = True
        with suppress(OSError):
            self._listening.close()
        with self._lock:
            several = list(self._open)
        for each in several:
            each.interrupt()
        self._thread.join(2 * _POLL_SECONDS)

    def _listen(self) -> None:
        while not self._is_closed:
            try:
                connection, _ = self._listening.accept()
            except TimeoutError:
                continue
            except OSError:
                # A connection that has ended already, or no more files for this process: both may pass.
                time.sleep(_POLL_SECONDS)
                continue
            connection.settimeout(_IDLE_SECONDS)
            threading.Thread(target=self._serve, args=(connection,), daemon=True, name="receiving").start()

    def _serve(self, connection: socket.socket) -> None:
        # An archive that leaves, or sends what is no DICOM, has no answer for its last instance, so it is not
        # taken for one that has come.
        with suppress(NetworkError, Stopped):
            association = accept(connection, _choose, self.titles.receiver)
            with self._lock:
                self._open.add(association)
            try:
                self._receive(association)
            finally:
                association.abort()
                with self._lock:
                    self._open.discard(association)

    def _receive(self, association: Association) -> None:
        arriving: list[tuple[Intake, Arriving]] = []

        def sink(context: Context, command: Command) -> Counted | _Nothing:
            uid = str(command.get("AffectedSOPInstanceUID", ""))
            with self._lock:
                intake = self._intakes.get(uid)
            if command.get("CommandField") != commandsets.C_STORE or intake is None:
                return _Nothing()
            made = intake.begin(meta(context.abstract, uid, context.syntax, association.name))
            arriving.append((intake, made))
            return Counted(made, intake)

        try:
            while not self._is_closed and (message := association.receive(sink)) is not None:
                kind = message.command.get("CommandField")
                if kind == commandsets.C_STORE:
                    status = _taken(*arriving.pop()) if arriving else answers.NOT_AUTHORISED
                    services.answer_store(association, message, status)
                elif kind == commandsets.C_ECHO:
                    _answer_echo(association, message)
                else:
                    return
        finally:
            for _, each in arriving:
                each.drop()


_sharing = threading.Lock()
# Those at work, and how many use each.
_shared: dict[Titles, Receiver] = {}
_users: Counter[Titles] = Counter()


def shared(titles: Titles, check: Callable[[], object]) -> Receiver:
    """Return the receiver of this process; `let_go` of it in the end.

    Parameters
    ----------
    titles
        Its AE title, and where it listens.
    check
        Called while another process has the port; ends the wait by raising.

    Raises
    ------
    NetworkError
        If it cannot listen there.
    """
    ends_at = time.monotonic() + _PORT_SECONDS
    while True:
        check()
        try:
            with _sharing:
                if titles not in _shared:
                    _shared[titles] = Receiver(titles)
                _users[titles] += 1
                return _shared[titles]
        except PortTaken:
            if time.monotonic() > ends_at:
                raise
        time.sleep(_POLL_SECONDS)


def let_go(titles: Titles) -> None:
    """Close the receiver of this process after its last user."""
    with _sharing:
        _users[titles] -= 1
        if not _users[titles]:
            _shared.pop(titles).close()


class _Nothing:
    """Takes what nobody has asked for."""

    def write(self, data: memoryview) -> None:
        """Forget the bytes."""


def _taken(intake: Intake, arriving: Arriving) -> int:
    try:
        intake.end(arriving, is_synced=True)
    except Refused:
        return answers.CANNOT_UNDERSTAND
    except (OSError, StorageError):
        return answers.OUT_OF_RESOURCES
    return answers.SUCCESS


def _answer_echo(association: Association, message: Message) -> None:
    answer = {
        "AffectedSOPClassUID": services.VERIFICATION,
        "CommandField": commandsets.C_ECHO | commandsets.RESPONSE,
        "MessageIDBeingRespondedTo": message.command.get("MessageID", 0),
        "Status": answers.SUCCESS,
    }
    association.send(message.context, answer)


def _choose(abstract: str, syntaxes: Sequence[str]) -> str | None:
    """Take each object in the first transfer syntax, which the archive prefers: so it is as it is stored."""
    if abstract != services.VERIFICATION and abstract.startswith(_NO_OBJECTS):
        return None
    return syntaxes[0] if syntaxes else None
