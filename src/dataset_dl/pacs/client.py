"""A client for the archives and transfers of a server: `dataset_dl.pacs.Client`."""

from __future__ import annotations

import base64
import io
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import requests

from dataset_dl.errors import NetworkError, SelectionError
from dataset_dl.network import NetworkSettings
from dataset_dl.network.rules import CONNECT_SECONDS
from dataset_dl.network.session import session
from dataset_dl.pacs.multipart import Body, boundary_of, split
from dataset_dl.pixels.unreadable import Unreadable

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_ANSWER_SECONDS = 600.0
_CHUNK_BYTES = 1 << 16


class Client:
    """Asks a server that `dataset-dl web --host` runs; its methods have the names of ADIT's client.

    Parameters
    ----------
    server_url
        Its address, like ``https://pacs.hospital.example:8443``.
    auth_token
        What ``dataset-dl accounts token`` printed.
    verify
        A file of certificate authorities for this server, besides those of the network settings.
    trial_protocol_id, trial_protocol_name
        Sent along whenever pseudonyms are asked for.
    """

    def __init__(
        self,
        server_url: str,
        auth_token: str,
        *,
        verify: str | Path | None = None,
        trial_protocol_id: str = "",
        trial_protocol_name: str = "",
    ) -> None:
        self._url = server_url.rstrip("/")
        network = NetworkSettings.gather(ca_bundle=verify) if verify else NetworkSettings.gather()
        self._session = session(network)
        self._session.headers["Authorization"] = f"Token {auth_token}"
        trial = {"trial_protocol_id": trial_protocol_id, "trial_protocol_name": trial_protocol_name}
        self._trial = {name: value for name, value in trial.items() if value}

    def __repr__(self) -> str:
        return f"Client({self._url!r})"

    def close(self) -> None:
        """Close its connections."""
        self._session.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()

    def nodes(self) -> list[dict[str, Any]]:
        """Return the nodes that the token may use, with what it may do there."""
        found: list[dict[str, Any]] = self._json("pacs/nodes")
        return found

    def query_patients(self, node: str, **conditions: str) -> list[dict[str, str]]:
        """Return patients of a node; conditions by keyword, like ``PatientID="P12*"``."""
        return self._query(node, "patients", conditions)

    def query_studies(self, node: str, **conditions: str) -> list[dict[str, str]]:
        """Return studies of a node; conditions by keyword, like ``StudyDate="20240101-20240131"``."""
        return self._query(node, "studies", conditions)

    def query_series(self, node: str, **conditions: str) -> list[dict[str, str]]:
        """Return series of a node; conditions by keyword, like ``StudyInstanceUID=…``."""
        return self._query(node, "series", conditions)

    def _query(self, node: str, level: str, conditions: Mapping[str, str]) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self._json(f"pacs/nodes/{quote(node)}/{level}", conditions)["rows"]
        return found

    def search_for_studies(self, node: str, query: Mapping[str, str] | None = None) -> list[Dataset]:
        """Return studies of a node by QIDO-RS, as data sets."""
        return self._search(node, "", query)

    def search_for_series(
        self, node: str, study_uid: str, query: Mapping[str, str] | None = None
    ) -> list[Dataset]:
        """Return series of a study by QIDO-RS, as data sets."""
        return self._search(node, f"/{study_uid}/series", query)

    def search_for_images(
        self, node: str, study_uid: str, series_uid: str, query: Mapping[str, str] | None = None
    ) -> list[Dataset]:
        """Return instances of a series by QIDO-RS, as data sets."""
        return self._search(node, f"/{study_uid}/series/{series_uid}/instances", query)

    def _search(self, node: str, path: str, query: Mapping[str, str] | None) -> list[Dataset]:
        from pydicom.dataset import Dataset

        rows = self._json(f"dicom-web/{quote(node)}/qidors/studies{path}", query)
        return [Dataset.from_json(row) for row in rows]

    def retrieve_study(self, node: str, study_uid: str, pseudonym: str = "") -> list[Dataset]:
        """Return all instances of a study; with a pseudonym if one is given."""
        return list(self.iter_study(node, study_uid, pseudonym))

    def retrieve_series(
        self, node: str, study_uid: str, series_uid: str, pseudonym: str = ""
    ) -> list[Dataset]:
        """Return all instances of a series; with a pseudonym if one is given."""
        return list(self.iter_series(node, study_uid, series_uid, pseudonym))

    def retrieve_image(
        self, node: str, study_uid: str, series_uid: str, image_uid: str, pseudonym: str = ""
    ) -> Dataset:
        """Return an instance; with a pseudonym if one is given."""
        path = f"/{study_uid}/series/{series_uid}/instances/{image_uid}"
        return next(self._retrieve(node, path, pseudonym))

    def iter_study(self, node: str, study_uid: str, pseudonym: str = "") -> Iterator[Dataset]:
        """Yield the instances of a study as they come.

        Raises
        ------
        NetworkError
            If not all of them come; those that were yielded are whole.
        """
        return self._retrieve(node, f"/{study_uid}", pseudonym)

    def iter_series(
        self, node: str, study_uid: str, series_uid: str, pseudonym: str = ""
    ) -> Iterator[Dataset]:
        """Yield the instances of a series as they come; see `iter_study`."""
        return self._retrieve(node, f"/{study_uid}/series/{series_uid}", pseudonym)

    def retrieve_study_metadata(self, node: str, study_uid: str, pseudonym: str = "") -> list[dict[str, Any]]:
        """Return the attributes of all instances of a study as DICOM JSON."""
        return self._metadata(node, f"/{study_uid}", pseudonym)

    def retrieve_series_metadata(
        self, node: str, study_uid: str, series_uid: str, pseudonym: str = ""
    ) -> list[dict[str, Any]]:
        """Return the attributes of all instances of a series as DICOM JSON."""
        return self._metadata(node, f"/{study_uid}/series/{series_uid}", pseudonym)

    def retrieve_image_metadata(
        self, node: str, study_uid: str, series_uid: str, image_uid: str, pseudonym: str = ""
    ) -> dict[str, Any]:
        """Return the attributes of an instance as DICOM JSON."""
        path = f"/{study_uid}/series/{series_uid}/instances/{image_uid}"
        return self._metadata(node, path, pseudonym)[0]

    def _metadata(self, node: str, path: str, pseudonym: str) -> list[dict[str, Any]]:
        address = f"dicom-web/{quote(node)}/wadors/studies{path}/metadata"
        found: list[dict[str, Any]] = self._json(address, self._asked(pseudonym))
        return found

    def _asked(self, pseudonym: str) -> dict[str, str]:
        return {"pseudonym": pseudonym, **self._trial} if pseudonym else {}

    def _retrieve(self, node: str, path: str, pseudonym: str) -> Iterator[Dataset]:
        from pydicom import dcmread

        address = f"dicom-web/{quote(node)}/wadors/studies{path}"
        response = self._get(address, self._asked(pseudonym), stream=True)
        with closing(response):
            try:
                boundary = boundary_of(response.headers.get("Content-Type", ""))
                part = b""
                for piece in split(response.iter_content(_CHUNK_BYTES), boundary):
                    if isinstance(piece, bytes):
                        part += piece
                    elif piece is None:
                        yield dcmread(io.BytesIO(part))
                        part = b""
            except (Unreadable, requests.RequestException) as error:
                raise NetworkError(
                    self._url, f"Not all of it came: {error}. What came before is whole.", "Ask again."
                ) from None

    def store_images(self, node: str, images: Iterable[Dataset]) -> Dataset:
        """Store instances in a node; return what became of each (PS3.18, 10.5.3).

        Raises
        ------
        SelectionError
            If the server refuses all of them.
        """
        from pydicom.dataset import Dataset

        boundary = secrets.token_hex(16)
        kind = f'multipart/related; type="application/dicom"; boundary="{boundary}"'
        body = Body([_encoded(each) for each in images], boundary)
        response = self._sent(
            "POST", f"dicom-web/{quote(node)}/stowrs/studies", data=body, headers={"Content-Type": kind}
        )
        if response.status_code not in (200, 202, 409):
            raise _refused(self._url, response)
        return Dataset.from_json(response.json())

    def create_transfer_job(
        self,
        source: str,
        target: str,
        studies: Iterable[Mapping[str, Any]],
        *,
        name: str = "",
        pseudonymise: bool = False,
        start: bool = True,
        **options: Any,
    ) -> dict[str, Any]:
        """Make a transfer job of studies.

        Parameters
        ----------
        source, target
            Nodes.
        studies
            Of each ``StudyInstanceUID``; also ``PatientID``, ``SeriesInstanceUIDs`` and ``pseudonym``.
        name, pseudonymise, start, **options
            See the call ``POST /api/transfers``.
        """
        body = {
            "source": source, "target": target, "studies": [dict(each) for each in studies], "name": name,
            "pseudonymise": pseudonymise, "start": start, **self._trial, **options,
        }  # fmt: skip
        made: dict[str, Any] = self._post("transfers", body)
        return made

    def create_batch_job(self, source: str, target: str, file: str | Path, **options: Any) -> dict[str, Any]:
        """Make a transfer job of a spreadsheet; return its tasks, the rows that are wrong, and the job."""
        path = Path(file)
        data = base64.b64encode(path.read_bytes()).decode()
        body = {"source": source, "target": target, "file": path.name, "data": data, **self._trial, **options}
        made: dict[str, Any] = self._post("transfers/batch", body)
        return made

    def transfer_jobs(self) -> list[dict[str, Any]]:
        """Return the transfer jobs that the token sees."""
        found: list[dict[str, Any]] = self._json("transfers")["jobs"]
        return found

    def transfer_job(self, number: int) -> dict[str, Any]:
        """Return a transfer job."""
        found: dict[str, Any] = self._json(f"transfers/{number}")
        return found

    def transfer_tasks(self, number: int, *, state: str = "") -> list[dict[str, Any]]:
        """Return all tasks of a transfer job."""
        found: list[dict[str, Any]] = []
        while True:
            after = str(found[-1]["id"]) if found else "0"
            page = self._json(f"transfers/{number}/tasks", {"state": state, "after": after, "limit": "1000"})
            found += page
            if len(page) < 1000:
                return found

    def act(self, number: int, action: str) -> dict[str, Any]:
        """Do something with a transfer job: verify, start, pause, resume, cancel, retry, restart, delete."""
        done: dict[str, Any] = self._post(f"transfers/{number}/{action}", {})
        return done

    def _json(self, path: str, parameters: Mapping[str, str] | None = None) -> Any:
        with closing(self._get(path, parameters)) as response:
            return response.json()

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        response = self._sent("POST", path, json=body)
        if not response.ok:
            raise _refused(self._url, response)
        return response.json()

    def _get(
        self, path: str, parameters: Mapping[str, str] | None, *, stream: bool = False
    ) -> requests.Response:
        response = self._sent("GET", path, params=parameters, stream=stream)
        if not response.ok:
            raise _refused(self._url, response)
        return response

    def _sent(self, method: str, path: str, **options: Any) -> requests.Response:
        try:
            return self._session.request(
                method, f"{self._url}/api/{path}", timeout=(CONNECT_SECONDS, _ANSWER_SECONDS), **options
            )
        except requests.RequestException as error:
            raise NetworkError(
                self._url,
                f"{self._url} does not answer ({type(error).__name__}); nothing is known to be done.",
            ) from None


def _refused(url: str, response: requests.Response) -> SelectionError | NetworkError:
    try:
        told = response.json()
        message, hint = str(told["error"]), str(told.get("hint") or "")
    except (ValueError, KeyError, TypeError):
        message, hint = f"{url} answered {response.status_code}.", ""
    if response.status_code >= 500:
        return NetworkError(url, message, hint)
    return SelectionError(url, message, hint)


def _encoded(dataset: Dataset) -> bytes:
    target = io.BytesIO()
    dataset.save_as(target, enforce_file_format=True)
    return target.getvalue()
