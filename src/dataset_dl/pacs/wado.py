"""The way on which instances come from an archive by WADO-RS."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress

import urllib3

from dataset_dl.engines.receiving import Receiving
from dataset_dl.engines.threads import Failed
from dataset_dl.model.outcome import PASSING_CAUSES
from dataset_dl.network import NetworkSettings
from dataset_dl.pacs import multipart
from dataset_dl.pacs.arriving import Arriving
from dataset_dl.pacs.dicomweb import DicomWeb, NotGiven, NotTaken
from dataset_dl.pacs.intake import Intake, Refused
from dataset_dl.pacs.nodes import Node
from dataset_dl.pixels.unreadable import Unreadable

# Instances that have come and are written, while the next one comes.
_WRITERS, _MOST_WAITING = 2, 8
# After so many passing failures in a row, it is not for the instances.
_MOST_FAILED = 3


class Wado:
    """By WADO-RS: a whole series in one body, or single instances."""

    def __init__(self, node: Node, network: NetworkSettings, receiving: Receiving) -> None:
        self._node = node
        self._network = network
        self._receiving = receiving

    def fetch(self, intake: Intake) -> None:
        """Fetch what an intake lacks; see `ways.Way`."""
        row = intake.row
        study, series = str(row.StudyInstanceUID), str(row.SeriesInstanceUID)
        with closing(DicomWeb(self._node, self._network)) as web:
            if intake.is_whole and not intake.arrived_count:
                # One instance that an archive cannot give may be why it gives none.
                with suppress(NotTaken, NotGiven):
                    self._take(web, intake, study, series, "")
                    return
            self._take_singly(web, intake, study, series)

    def _take_singly(self, web: DicomWeb, intake: Intake, study: str, series: str) -> None:
        """Take one instance after the other; those that the archive cannot give keep no other from coming."""
        failed: dict[str, Failed] = {}
        in_a_row = 0
        for uid in _from_anywhere(sorted(intake.missing)):
            self._receiving.check()
            try:
                self._take(web, intake, study, series, uid)
                in_a_row = 0
                continue
            except NotTaken as error:
                failed[uid] = Failed("access_denied", error.message.rstrip("."))
            except NotGiven as error:
                failed[uid] = Failed("server_error", error.message.rstrip("."))
            except Failed as error:
                failed[uid] = error
            in_a_row = in_a_row + 1 if failed[uid].cause in PASSING_CAUSES else 0
            if in_a_row == _MOST_FAILED:
                break
        if failed:
            raise _failure(failed)

    def _take(self, web: DicomWeb, intake: Intake, study: str, series: str, uid: str) -> None:
        try:
            with closing(web.retrieve(study, series, uid)) as response:
                boundary = multipart.boundary_of(response.headers.get("Content-Type", ""))
                # Undoing a compression that is not there would copy everything once more.
                is_packed = "Content-Encoding" in response.headers
                chunks = self._receiving.chunks(response, is_decoded=is_packed)
                with closing(multipart.split(chunks, boundary)) as pieces:
                    _take_parts(intake, pieces)
        except Unreadable as error:
            raise Failed("truncated", f"{self._node.name} sent no whole series: {error}") from None
        except (urllib3.exceptions.HTTPError, TimeoutError) as error:
            raise Failed("truncated", f"the connection broke off ({type(error).__name__})") from None


def _from_anywhere(uids: Sequence[str]) -> Sequence[str]:
    """Begin with any: the first ones may fail each time, and nothing after them would ever come."""
    begin = random.randrange(len(uids)) if uids else 0
    return [*uids[begin:], *uids[:begin]]


def _failure(failed: Mapping[str, Failed]) -> Failed:
    """Return why instances are lacking, naming one; it passes if any of the reasons may."""
    uid = min(failed, key=lambda uid: (failed[uid].cause not in PASSING_CAUSES, uid))
    more = f" and {len(failed) - 1:,} more" if len(failed) > 1 else ""
    return Failed(failed[uid].cause, f"{failed[uid].words}; it lacks {uid}{more}")


def _take_parts(intake: Intake, pieces: Iterable[multipart.Piece]) -> None:
    """Take the parts of a body; what has come is written while the next comes."""
    arriving: Arriving | None = None
    with ThreadPoolExecutor(_WRITERS, thread_name_prefix="writing") as pool:
        writing: deque[Future[None]] = deque()
        try:
            for piece in pieces:
                if isinstance(piece, bytes):
                    assert arriving is not None, "the bytes of a part follow its headers"
                    arriving.write(piece)
                elif piece is None:
                    assert arriving is not None, "a part ends after it began"
                    writing.append(pool.submit(_end, intake, arriving))
                    arriving = None
                    if len(writing) > _MOST_WAITING:
                        writing.popleft().result()
                else:
                    arriving = intake.begin()
        finally:
            if arriving is not None:
                arriving.drop()
        for each in writing:
            each.result()


def _end(intake: Intake, arriving: Arriving) -> None:
    # An instance that is refused is named in the end, by the intake.
    with suppress(Refused):
        intake.end(arriving)
