"""Labels that XNAT keeps as they are, and addresses of projects."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataset_dl as dd
from dataset_dl.xnat.names import Labels
from dataset_dl.xnat.project import Account, Project, find_account
from support.plans import row


@given(st.lists(st.text(min_size=1, max_size=80), min_size=1, max_size=8, unique_by=str.lower))
def test_patients_stay_apart(patients: list[str]) -> None:
    labels = Labels()
    found = [labels.subject_of(row(0)._replace(PatientID=each)) for each in patients]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", each) for each in found)
    assert len({each.lower() for each in found}) == len(patients)


def test_plain_values_stay_as_they_are() -> None:
    series = row(0)._replace(PatientID="TCGA-02-0001", StudyInstanceUID="1.2.840", collection_id="tcga_gbm")
    labels = Labels("%collection_id-%PatientID", "%PatientID_%StudyInstanceUID")
    assert labels.subject_of(series) == "tcga_gbm-TCGA-02-0001"
    assert labels.session_of(series) == "TCGA-02-0001_1_2_840"
    assert Labels().subject_of(series._replace(PatientID=None)) == "unknown"
    long = Labels().session_of(series._replace(StudyInstanceUID="1." + "2" * 62))
    assert len(long) == 64


def test_what_xnat_would_mix_is_refused() -> None:
    labels = Labels()
    labels.subject_of(row(0)._replace(PatientID="abc"))
    with pytest.raises(dd.SelectionError, match="abc and ABC would both become the subject"):
        labels.subject_of(row(1)._replace(PatientID="ABC"))


@given(st.text(max_size=60))
def test_an_address_is_a_project_or_is_refused(text: str) -> None:
    try:
        found = Project.of(text)
    except dd.SelectionError:
        return
    assert Project.of(str(found)) == found


def test_accounts_are_for_their_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pytest.TempPathFactory
) -> None:
    project = Project.of("https://xnat.test/context/P")
    assert (project.url, project.host, project.name) == ("https://xnat.test/context", "xnat.test", "P")
    netrc = tmp_path / "netrc"  # type: ignore[operator]
    netrc.write_text("machine xnat.test login of-netrc password n3trc\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("XNAT_USER", "of-environment")
    monkeypatch.setenv("XNAT_PASS", "s3cret")
    for host, user in (("", "of-environment"), ("https://xnat.test/context/", "of-environment"),
                       ("https://other.test", "of-netrc")):  # fmt: skip
        monkeypatch.setenv("XNAT_HOST", host)
        account = find_account(project)
        assert account.user == user
        assert "s3cret" not in repr(account) and "n3trc" not in repr(account)
    monkeypatch.setenv("XNAT_HOST", "http://10.0.0.1:8080")
    assert str(Project.of("WARD")) == "http://10.0.0.1:8080/WARD"
    with pytest.raises(TypeError, match="is not pickled"):
        Account("a", "b").__reduce__()
