"""Why a request failed: the status and the body of Google's response → a cause. Pure."""

from __future__ import annotations

import re

from dataset_dl.aignostics.addresses import GsAddress
from dataset_dl.engines.threads import Failed
from dataset_dl.errors import NetworkError
from dataset_dl.model.outcome import Cause
from dataset_dl.wording import visible

_CODE = re.compile(rb"<Code>([A-Za-z]{1,60})</Code>")
_DETAILS = re.compile(rb"<(?:Details|Message)>([^<]{1,300})</(?:Details|Message)>")
_PASSING = (408, 429)
# Codes that tell of the key or of the clock, not of the object.
_OF_THE_KEY = {
    "SignatureDoesNotMatch": "the store does not accept the signature: is the key still valid?",
    "InvalidSecurity": "the store does not accept the signature: is the key still valid?",
    "AuthenticationRequired": "the store does not accept the signature: is the key still valid?",
    "ExpiredToken": "the signature had expired when it came: is the clock of this machine right?",
    "RequestTimeTooSkewed": "the clock of this machine is wrong",
    "RequestNotYetValid": "the signature is of the future: is the clock of this machine right?",
}


class Refused(Failed):
    """The store refused a request.

    Attributes
    ----------
    cause, words
        For the report.
    passing
        Whether another try may help.
    code
        Google's word for it; empty if there is none.
    """

    def __init__(self, cause: Cause, words: str, *, passing: bool, code: str = "") -> None:
        super().__init__(cause, words)
        self.passing = passing
        self.code = code

    @property
    def is_expired(self) -> bool:
        """Whether a new signature may help."""
        return self.code == "ExpiredToken"

    @property
    def is_for_all(self) -> bool:
        """Whether every other request would be refused, too."""
        return self.code in _OF_THE_KEY


def refusal(status: int, body: bytes, address: GsAddress, email: str) -> Refused:
    """Return what a response other than 200 and 206 means, in words with the object and the account."""
    found = _CODE.search(body)
    code = found[1].decode() if found else ""
    name = str(address) if address.key else f"gs://{address.bucket}"
    if code in _OF_THE_KEY:
        words = f"{_OF_THE_KEY[code]} ({name}, {email}, {code})"
        return Refused("access_denied", words, passing=False, code=code)
    told = f" ({code})" if code else ""
    if status in (404, 410):
        what = f"there is no bucket {address.bucket}" if code == "NoSuchBucket" else f"{name} does not exist"
        return Refused("not_found", what, passing=False, code=code)
    if status in (401, 403):
        words = f"{email} may not read {name}{told}"
        return Refused("access_denied", words, passing=False, code=code)
    if status == 412:
        return Refused("altered", f"{name} was replaced while it was fetched", passing=False, code=code)
    if status in _PASSING or status >= 500:
        return Refused("server_error", f"the store answered {status}{told}", passing=True, code=code)
    if 300 <= status < 400:
        words = f"{status} came in place of {name}; a sign-in page of your network may have answered"
        return Refused("network", words, passing=False, code=code)
    details = _DETAILS.search(body)
    more = f": {visible(details[1].decode(errors='replace'))}" if details else ""
    return Refused("unknown", f"the store answered {status}{told} for {name}{more}", passing=False, code=code)


def no_store(endpoint: str) -> NetworkError:
    """Return the error for an endpoint that answers with something else."""
    host = endpoint.partition("://")[2]
    return NetworkError(
        host,
        f"{host} answers, but not as Google Cloud Storage does.",
        "A sign-in page of your network may have answered: sign in, or have the address allowed.",
    )
