"""Citations from the DOI service, in a format chosen by content negotiation."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from dataset_dl.network.rules import plain_words
from dataset_dl.network.session import session
from dataset_dl.network.settings import NetworkSettings

DOI_URL = "https://doi.org"
ACCEPT = {
    "apa": "text/x-bibliography; style=apa; locale=en-US",
    "bibtex": "application/x-bibtex",
    "json": "application/vnd.citationstyles.csl+json",
}
_RETRIES = 1


def citations(dois: Iterable[str], accept: str, network: NetworkSettings) -> Iterator[str | None]:
    """Request the citation of each DOI in turn; None if the service has none.

    Parameters
    ----------
    dois
        Like ``10.7937/tcia.hmq8-j677``.
    accept
        The media type: one of `ACCEPT`, or another that https://citation.crosscite.org lists.
    network
        How to reach the service.

    Raises
    ------
    NetworkError
        If the service cannot be reached.
    """
    base = (os.environ.get("DATASET_DL_DOI_URL") or DOI_URL).rstrip("/")
    with session(network, retries=_RETRIES) as requesting:
        for doi in dois:
            with plain_words(base):
                answer = requesting.get(f"{base}/{quote(doi)}", headers={"Accept": accept})
                answer.encoding = "utf-8"  # the service does not always declare it
                is_page = answer.headers.get("Content-Type", "").startswith("text/html")
                yield answer.text.strip() if answer.ok and not is_page else None
