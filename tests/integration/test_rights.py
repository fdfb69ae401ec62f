"""What may be done with the data, and how to give credit for it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote

import pytest

import dataset_dl as dd
from dataset_dl import IDCClient
from dataset_dl.sources.idc import rights
from dataset_dl.testing import LocalBucket
from support import web
from support.cli import Cli

PET_DOI = "10.7937/k9/tcia.2015.zpukhckb"


def restricted_collection() -> str:
    return str(dd.query(
        "SELECT collection_id AS id FROM idc_index GROUP BY 1"
        " HAVING bool_and(license_short_name LIKE 'CC BY-NC%') ORDER BY sum(series_size_MB) LIMIT 1"
    ).id[0])  # fmt: skip


def test_a_download_leaves_licences_and_citations(bucket: LocalBucket, tmp_path: Path) -> None:
    plan = dd.plan([str(each.SeriesInstanceUID) for each in bucket.series], into=tmp_path)
    dd.download(plan, endpoint_url=bucket.endpoint_url)
    page = (tmp_path / ".dataset-dl" / "LICENSES.md").read_text(encoding="utf-8")
    size_mb = f"{plan.size_bytes / 1e6:,.1f}"
    assert "| credit the source | qin_pet_phantom | 4 |" in page
    assert f"| {size_mb} | [QIN PET Phantom](https://doi.org/{PET_DOI}) |" in page
    works = (tmp_path / ".dataset-dl" / "CITATIONS.bib").read_text(encoding="utf-8")
    assert PET_DOI in works
    assert rights.IDC_DOI in works


def test_what_is_not_for_commercial_use_stands_first_and_is_marked() -> None:
    plan = dd.plan(["nlst", restricted_collection()])
    found = rights.shares(plan)
    assert found[0].collection_id == restricted_collection()
    assert sum(share.series_count for share in found) == plan.series_count
    assert sum(share.size_bytes for share in found) == plan.size_bytes
    text = rights.licences_text(found, rights.works(str(share.source_DOI) for share in found))
    first = next(line for line in text.splitlines() if line.startswith("| **"))
    assert "no commercial use" in first
    assert text.index(first) < text.index("| nlst |")


def test_every_work_of_idc_can_be_cited() -> None:
    dois = dd.query("SELECT DISTINCT source_DOI AS doi FROM idc_index").doi
    works = rights.works(dois)
    assert len(works) == len(dois) + 1
    for work in works:
        entry, item = rights.cited(work, "bibtex"), json.loads(rights.cited(work, "json"))
        assert entry.count("{") == entry.count("}")
        assert 1990 < item["issued"]["date-parts"][0][0] < 2100
        assert item["author"][0].get("literal") or item["author"][0]["family"]
        assert item["title"]
        assert not {"<", "&amp;"} & set(work.citation.split())


def test_a_licence_as_a_filter(cli: Cli) -> None:
    name = restricted_collection()
    free = cli(
        "idc", "download", name, "qin_pet_phantom", "--to", "d", "--license", "cc by", "--dry-run", "--json"
    )
    assert [each["collection_id"] for each in free.json["licenses"]] == ["qin_pet_phantom"]
    both = cli("idc", "download", name, "qin_pet_phantom", "--to", "d", "--dry-run")
    assert "credit the source; no commercial use" in both.out
    assert cli("idc", "manifest", name, "-o", "p.csv", "--license", "CC BY-NC").code == 0
    unknown = cli("idc", "manifest", name, "-o", "q.csv", "--license", "MIT")
    assert unknown.code == 2
    assert "There are CC BY 3.0, CC BY 4.0" in unknown.err


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """A DOI service on loopback that knows one work; what it was asked is in the list."""
    asked: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            doi, accept = unquote(self.path).lstrip("/"), str(self.headers["Accept"])
            asked.append((doi, accept))
            known = doi == PET_DOI
            body = '{"DOI": "x"}' if "json" in accept else "Beichel, R. (2015). Größe."
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", accept.partition(";")[0])
            self.end_headers()
            self.wfile.write(body.encode())

    with web.serving(Handler) as address:
        monkeypatch.setenv("DATASET_DL_DOI_URL", address)
        yield asked


def test_the_doi_service_is_asked_and_the_tables_help_out(service: list[tuple[str, str]]) -> None:
    first, idc = dd.cite("qin_pet_phantom")
    assert first == "Beichel, R. (2015). Größe."
    assert idc.startswith("Fedorov, A.")
    assert [doi for doi, _ in service] == [PET_DOI, rights.IDC_DOI]
    assert service[0][1].startswith("text/x-bibliography; style=apa")
    assert json.loads(dd.cite("qin_pet_phantom", style="json")[0]) == {"DOI": "x"}
    assert dd.cite("qin_pet_phantom", style="bibtex", offline=True)[0].startswith("@misc{10_7937")
    with pytest.raises(dd.PlanError, match="apa, bibtex or json"):
        dd.cite("qin_pet_phantom", style="mla")  # type: ignore[arg-type]


def test_without_the_service_a_sentence_says_so(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DATASET_DL_DOI_URL", "http://127.0.0.1:9")
    with caplog.at_level(logging.WARNING):
        assert dd.cite("qin_pet_phantom")[0].startswith("Beichel, R., Ulrich, E. J.")
    assert "taken from the tables of IDC" in caplog.text
    outcome = cli(
        "idc", "cite", "qin_pet_phantom", "--style", "json", env={"DATASET_DL_DOI_URL": "http://127.0.0.1:9"}
    )
    assert outcome.code == 0
    assert outcome.json[0]["DOI"] == PET_DOI
    assert outcome.err.count("\n") == 1
    assert "taken from the tables" in outcome.err


def test_the_client_of_idc_index_asks_it_too(service: list[tuple[str, str]]) -> None:
    client = IDCClient()
    client.index = dd.query("SELECT * FROM idc_index WHERE collection_id = 'qin_pet_phantom'")
    assert client.citations_from_selection(collection_id="qin_pet_phantom") == ["Beichel, R. (2015). Größe."]
    found = client.citations_from_selection(
        collection_id="qin_pet_phantom", citation_format=IDCClient.CITATION_FORMAT_JSON
    )
    assert found == [{"DOI": "x"}]
    with pytest.raises(ValueError, match="No data found"):
        client.citations_from_selection(collection_id="none")
