"""Series into a project of XNAT: each instance exactly once, whatever happens on the way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.responses import Response

import dataset_dl as dd
from dataset_dl.plans.file import PlanFile
from dataset_dl.testing.xnat import LocalXnat
from dataset_dl.testing.xnat_store import Session, Store, instances_of
from dataset_dl.xnat.standing import standings
from support.archives import TWO_STUDIES, exactly_once, uids_of
from support.series import downloaded


@pytest.fixture
def data(tmp_path: Path) -> Path:
    downloaded(tmp_path / "data", TWO_STUDIES)
    return tmp_path / "data"


def to(xnat: LocalXnat, **options: str) -> str:
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return f"xnat:{xnat.url}/WARD" + (f"?{query}" if query else "")


def test_each_study_is_a_session_of_the_archive(xnat: LocalXnat, data: Path) -> None:
    delivery = dd.deliver(data, to=to(xnat))
    assert (delivery.delivered, delivery.ok) == (3, True)
    assert exactly_once(xnat, uids_of(data))
    sessions = {each.label: each for each in xnat.store.archive}
    assert set(sessions) == {"1_2_1", "1_2_2"}
    assert {each.subject for each in xnat.store.archive} == {"P-1", "P_2-" + sessions["1_2_2"].subject[-8:]}
    assert len(sessions["1_2_1"].scans) == 2
    assert any("2 sessions confirmed in the archive of WARD" in each for each in delivery.summaries)
    assert xnat.most_at_once_of_a_session == 1
    # The bytes are those of the files.
    sums = {hashlib.md5(path.read_bytes()).hexdigest() for path in data.rglob("*.dcm")}
    assert {each.md5 for session in xnat.store.archive for each in session.instances()} == sums


def test_a_second_run_sends_nothing(xnat: LocalXnat, data: Path) -> None:
    dd.deliver(data, to=to(xnat))
    before = len(xnat.requests)
    again = dd.deliver(data, to=to(xnat))
    assert (again.delivered, again.delivered_before) == (0, 3)
    assert not [each for each in xnat.requests[before:] if each.startswith("POST")]


@pytest.mark.parametrize("of", ["import", "commit"])
@pytest.mark.parametrize("fault", ["lost once", "500 once", "409 once", "423 once", "400 once", "503 once"])
def test_passing_failures_pass(xnat: LocalXnat, data: Path, of: str, fault: str) -> None:
    xnat.faults[of] = fault
    delivery = dd.deliver(data, to=to(xnat))
    assert delivery.ok
    assert exactly_once(xnat, uids_of(data))


def test_a_session_that_ends_in_the_middle_begins_anew(xnat: LocalXnat, data: Path) -> None:
    downloaded(data, [("P-9", f"1.9.{n}", f"1.9.{n}.1", 2) for n in range(6)])

    class Expiring(dict[str, str]):
        count = 0

        def get(self, key: str, default: str = "") -> str:  # type: ignore[override]
            if key == "login":
                self.count += 1
                return "expired" if self.count % 7 == 0 else ""
            return default

    xnat.faults = Expiring()
    assert dd.deliver(data, to=to(xnat)).ok
    assert exactly_once(xnat, uids_of(data))


def test_a_page_is_no_answer(xnat: LocalXnat, data: Path) -> None:
    xnat.faults["import"] = "html"
    with pytest.raises(dd.DeliveryIncomplete, match="a page that is not XNAT's interface"):
        dd.deliver(data, to=to(xnat), retries=0)
    xnat.faults.clear()
    assert dd.deliver(data, to=to(xnat)).ok
    assert exactly_once(xnat, uids_of(data))


def test_what_is_dropped_is_never_committed(xnat: LocalXnat, data: Path) -> None:
    lost = "1.2.1.2.1"
    xnat.store.drops = {lost}
    with pytest.raises(dd.DeliveryIncomplete, match=rf"2 of 3 instances; {lost}"):
        dd.deliver(data, to=to(xnat), retries=0)
    assert [each.label for each in xnat.store.archive] == ["1_2_2"]
    xnat.store.drops = set()
    assert dd.deliver(data, to=to(xnat)).ok
    assert exactly_once(xnat, uids_of(data))


def test_a_script_that_changes_uids_loses_nothing(xnat: LocalXnat, data: Path) -> None:
    xnat.store.changes_uids = True
    assert dd.deliver(data, to=to(xnat)).ok
    assert len(instances_of(xnat.store.archive)) == 12
    for path in (data / ".dataset-dl").glob("journal*"):
        path.unlink()
    assert dd.deliver(data, to=to(xnat)).ok
    assert len(instances_of(xnat.store.archive)) == 12 and not xnat.store.prearchive


def test_a_session_of_another_subject_or_study_stays_as_it_is(xnat: LocalXnat, tmp_path: Path) -> None:
    for number, (patient, study) in enumerate([("P-1", "1.2.1"), ("P-2", "1.2.2"), ("p-1", "1.2.1")]):
        data = tmp_path / str(number)
        downloaded(data, [(patient, study, f"{study}.{number}", 2)])
        delivery = dd.deliver(
            data, to=to(xnat, session="one-%25PatientID", existing="append"), check=False, retries=0
        )
        assert delivery.ok, delivery.failures
    assert {(each.subject, each.label) for each in xnat.store.archive} == {
        ("P-1", "one-P-1"), ("P-2", "one-P-2"), ("P-1", "one-p-1"),
    }  # fmt: skip
    data = tmp_path / "other"
    downloaded(data, [("P-1", "1.2.9", "1.2.9.1", 2)])
    with pytest.raises(dd.DeliveryIncomplete, match=r"of the subject P-1 and the study 1\.2\.1"):
        dd.deliver(data, to=to(xnat, session="one-%25PatientID", existing="append"), retries=0)
    assert not xnat.store.prearchive


def test_a_series_in_several_parts_is_confirmed_as_a_whole(
    xnat: LocalXnat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    (row,) = downloaded(data, [("P-1", "1.2.1", "1.2.1.1", 4)])
    sizes = {path.name: path.stat().st_size for path in (data / row.directory).iterdir()}
    parts = [
        row._replace(key=f"{row.key[:-1]}{number}", instanceCount=2, size_bytes=sum(sizes[n] for n in names),
                     files="/".join(f"{name}:{sizes[name]}" for name in names),
                     address=f"s3://idc-open-data/{row.key[:-1]}{number}/*")
        for number, names in enumerate((("0.dcm", "1.dcm"), ("2.dcm", "3.dcm")))
    ]  # fmt: skip
    plan = PlanFile.of(parts).plan(data)
    with monkeypatch.context() as patched:
        patched.setattr(Store, "commit", losing("1.2.1.1.1"))
        with pytest.raises(dd.DeliveryIncomplete, match=r"lacks 1 of 4 instances of the series 1\.2\.1\.1"):
            dd.deliver(plan, to=to(xnat), retries=0)
    xnat.store.archive.clear()
    assert dd.deliver(plan, to=to(xnat)).delivered == 2
    assert exactly_once(xnat, uids_of(data))
    assert len(xnat.store.archive) == 1


def losing(uid: str) -> Callable[..., Session]:
    """A commit in which an instance is lost."""
    original = Store.commit

    def commit(self: Store, session: Session, *, overwrites: bool) -> Session:
        for scan in session.scans.values():
            scan.files.pop(f"{uid}.dcm", None)
        return original(self, session, overwrites=overwrites)

    return commit


def test_a_series_without_a_study_is_refused(xnat: LocalXnat, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (row,) = downloaded(data, [("P-1", "1.2.1", "1.2.1.1", 1)])
    plan = PlanFile.of([row._replace(StudyInstanceUID=None)]).plan(data)
    with pytest.raises(dd.DeliveryIncomplete, match="has no StudyInstanceUID in the plan"):
        dd.deliver(plan, to=to(xnat))
    assert not xnat.store.prearchive


def test_a_wrong_password_is_tried_once(xnat: LocalXnat, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XNAT_PASS", "wr0ng")
    with pytest.raises(dd.SelectionError, match="does not accept the user ward"):
        dd.deliver(data, to=to(xnat))
    assert len(xnat.requests) == 1


def test_a_project_that_is_not_there(xnat: LocalXnat, data: Path) -> None:
    where = f"xnat:{xnat.url}/NEW"
    with pytest.raises(dd.SelectionError, match="has no project NEW"):
        dd.deliver(data, to=where)
    assert not xnat.store.prearchive
    assert dd.deliver(data, to=f"{where}?create=yes").ok
    assert {each.project for each in xnat.store.archive} == {"NEW"}
    with pytest.raises(dd.SelectionError, match="does not make the project new"):
        dd.deliver(data, to=f"xnat:{xnat.url}/new?create=yes")


def test_what_lands_elsewhere_is_said(xnat: LocalXnat, data: Path) -> None:
    project = xnat.store.projects.pop("WARD")
    xnat.store.projects = Vanishing(project)
    with pytest.raises(dd.DeliveryIncomplete, match="/prearchive/projects/Unassigned/"):
        dd.deliver(data, to=to(xnat), retries=0)
    assert not xnat.store.archive


class Vanishing(dict[str, dict[str, dict[str, bytes]]]):
    """Projects that one can see, and that imports do not find."""

    def __init__(self, project: dict[str, dict[str, bytes]]) -> None:
        super().__init__()
        self._project = project

    def __contains__(self, name: object) -> bool:
        import inspect

        return all(frame.function != "receive" for frame in inspect.stack()[:6])

    def __getitem__(self, name: str) -> dict[str, dict[str, bytes]]:
        return self._project


@pytest.mark.parametrize("existing", ["error", "skip", "append", "replace"])
def test_a_session_that_exists(xnat: LocalXnat, tmp_path: Path, existing: str) -> None:
    first, more = tmp_path / "first", tmp_path / "more"
    downloaded(first, [("P-1", "1.2.1", "1.2.1.1", 4)])
    downloaded(more, [("P-1", "1.2.1", "1.2.1.1", 6), ("P-1", "1.2.1", "1.2.1.2", 3)])
    dd.deliver(first, to=to(xnat))
    delivery = dd.deliver(more, to=to(xnat, existing=existing), evict=True, check=False)
    if existing == "error":
        assert not delivery.ok
        assert all(
            "has the session 1_2_1 in its archive already" in each.message for each in delivery.failures
        )
        assert exactly_once(xnat, uids_of(first))
    elif existing == "skip":
        assert delivery.ok
        assert exactly_once(xnat, uids_of(first))
        assert len(list(more.rglob("*.dcm"))) == 9, "what is not in XNAT is not removed"
    else:
        assert delivery.ok, delivery.failures
        assert len(instances_of(xnat.store.archive)) == 9
        assert not list(more.rglob("*.dcm"))
        assert exactly_once(
            xnat, {f"1.2.1.1.{n}" for n in range(1, 7)} | {f"1.2.1.2.{n}" for n in range(1, 4)}
        )


def test_a_session_that_vanished_is_sent_again(xnat: LocalXnat, data: Path) -> None:
    # Several series of one session: what the first one begins must not stand for the others.
    downloaded(data, [*TWO_STUDIES, *(("P-1", "1.2.1", f"1.2.1.{n}", 1) for n in range(3, 40))])
    dd.deliver(data, to=to(xnat))
    xnat.store.archive.clear()
    assert dd.deliver(data, to=to(xnat)).delivered == 40
    assert exactly_once(xnat, uids_of(data))


def test_what_the_prearchive_lost_is_sent_again(xnat: LocalXnat, data: Path) -> None:
    xnat.faults["commit"] = "500"
    assert not dd.deliver(data, to=to(xnat), check=False, retries=0).ok
    xnat.faults.clear()
    lost = next(each for each in xnat.store.prearchive if each.label == "1_2_1")
    next(iter(lost.scans.values())).files.popitem()
    assert dd.deliver(data, to=to(xnat), retries=0).delivered == 1
    assert exactly_once(xnat, uids_of(data))


def test_old_receipts_do_not_stand_for_what_is_gone(xnat: LocalXnat, data: Path) -> None:
    dd.deliver(data, to=to(xnat))
    xnat.store.archive.clear()
    xnat.store.drops = {"1.2.1.2.1"}
    assert not dd.deliver(data, to=to(xnat), check=False, retries=0).ok
    xnat.store.drops = set()
    kept = uids_of(data)
    assert dd.deliver(data, to=to(xnat), evict=True).ok
    assert exactly_once(xnat, kept)


def test_another_version_in_the_prearchive_is_replaced(xnat: LocalXnat, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for data in (old, new):
        downloaded(data, [("P-1", "1.2.1", "1.2.1.1", 1)])
    (path,) = new.rglob("*.dcm")
    path.write_bytes(path.read_bytes()[:-1] + b"z")
    xnat.faults["commit"] = "500 once"
    assert not dd.deliver(old, to=to(xnat), check=False, retries=0).ok
    assert dd.deliver(new, to=to(xnat)).ok
    (instance,) = xnat.store.archive[0].instances()
    assert instance.md5 == hashlib.md5(path.read_bytes()).hexdigest()


def test_a_study_of_two_patients_is_no_session(xnat: LocalXnat, tmp_path: Path) -> None:
    downloaded(tmp_path, [("P-1", "1.2.1", "1.2.1.1", 1), ("P-2", "1.2.1", "1.2.1.2", 1)])
    with pytest.raises(dd.SelectionError, match="would both become the session"):
        dd.deliver(tmp_path, to=to(xnat))
    assert dd.deliver(tmp_path, to=to(xnat, session="%25PatientID_%25StudyInstanceUID")).ok
    assert {each.subject for each in xnat.store.archive} == {"P-1", "P-2"}


def test_a_series_that_was_skipped_may_be_appended_later(xnat: LocalXnat, tmp_path: Path) -> None:
    first, more = tmp_path / "first", tmp_path / "more"
    downloaded(first, [("P-1", "1.2.1", "1.2.1.1", 2)])
    downloaded(more, [("P-1", "1.2.1", "1.2.1.2", 3)])
    dd.deliver(first, to=to(xnat))
    skipped = dd.deliver(more, to=to(xnat, existing="skip"))
    assert "confirmed" not in " ".join(skipped.summaries)
    assert dd.deliver(more, to=to(xnat, existing="skip")).delivered == 0
    assert dd.deliver(more, to=to(xnat, existing="append")).delivered == 1
    assert exactly_once(xnat, uids_of(tmp_path))


def test_another_subject_for_a_session_is_refused(xnat: LocalXnat, data: Path) -> None:
    dd.deliver(data, to=to(xnat))
    with pytest.raises(dd.DeliveryIncomplete, match=r"of the subject P(-1|_2-)"):
        dd.deliver(data, to=to(xnat, subject="X-%25PatientID"), retries=0)


def test_files_of_another_series_are_not_sent(xnat: LocalXnat, data: Path) -> None:
    paths = sorted(data.rglob("*.dcm"))
    size = paths[0].stat().st_size
    assert paths[4].stat().st_size == size
    paths[0].write_bytes(paths[4].read_bytes())
    with pytest.raises(dd.DeliveryIncomplete, match=r"belongs to the series 1\.2\.1\.2"):
        dd.deliver(data, to=to(xnat), retries=0)
    assert [each.label for each in xnat.store.archive] == ["1_2_2"]


def test_a_project_is_looked_for_before_anything(xnat: LocalXnat, data: Path) -> None:
    with pytest.raises(dd.SelectionError, match="has no project NONE"):
        dd.deliver(data, to=[f"xnat:{xnat.url}/NONE", f"zips:{data.parent / 'zips'}"])
    assert not (data.parent / "zips").exists()


@pytest.mark.parametrize("rows", ["null", "5"])
def test_a_listing_that_is_none(
    xnat: LocalXnat, data: Path, monkeypatch: pytest.MonkeyPatch, rows: str
) -> None:
    body = f'{{"ResultSet":{{"Result":{rows}}}}}'
    monkeypatch.setattr(
        "dataset_dl.testing.xnat.Lists.list_prearchive",
        lambda *_: Response(body, media_type="application/json"),
    )
    with (
        LocalXnat("WARD", password=xnat.password) as other,
        pytest.raises(dd.NetworkError, match="not XNAT's"),
    ):
        monkeypatch.setenv("XNAT_HOST", other.url)
        dd.deliver(data, to=to(other))


def test_a_later_run_archives_what_waits_in_the_prearchive(xnat: LocalXnat, data: Path) -> None:
    kept = uids_of(data)
    assert dd.deliver(data, to=to(xnat, into="prearchive"), evict=True).ok
    assert {row.state for row in standings(data)} == {"uploaded"}
    assert dd.deliver(data, to=to(xnat), evict=True).ok
    assert {row.state for row in standings(data)} == {"confirmed"}
    assert exactly_once(xnat, kept)


def test_into_the_prearchive(xnat: LocalXnat, data: Path) -> None:
    assert dd.deliver(data, to=to(xnat, into="prearchive")).ok
    assert not xnat.store.archive
    assert set(instances_of(xnat.store.prearchive)) == uids_of(data)


def test_manifests_are_kept_with_the_project(xnat: LocalXnat, data: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "cohort.tcia"
    manifest.write_text("ListOfSeriesToDownload=\n1.2.1.1\n")
    dd.deliver(data, to=to(xnat, manifest=str(manifest)))
    files = xnat.store.projects["WARD"]["TCIA"]
    assert files["cohort.tcia"] == manifest.read_bytes()
    filled = files["cohort-filled.csv"].decode().splitlines()
    assert len(filled) == 4 and all(line.endswith("confirmed") for line in filled[1:])


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("xnat:https://host.test", "names no project"),
        ("xnat:ftp://host.test/P", "names no project"),
        ("xnat:http://host.test/P", "has no TLS"),
        ("xnat:https://host.test/a.b", "names no project"),
        ("xnat:https://ward:key@host.test/P", "contains a password"),
        ("xnat:https://host.test/P", "no account"),
        ("xnat:{url}/WARD?existing=perhaps", "no value for existing"),
        ("xnat:{url}/WARD?colour=red", "has no option"),
        ("xnat:{url}/WARD?session=%25Modality", "no template for the session"),
        ("xnat:{url}/WARD?session=%25PatientID", "would both become the session"),
        ("xnat:{url}/WARD?subject=a.b%25PatientID", "no template for the subject"),
    ],
)
def test_a_wrong_request_is_refused_before_anything(
    xnat: LocalXnat, data: Path, where: str, words: str, tmp_path: Path
) -> None:
    downloaded(data, [*TWO_STUDIES, ("P-1", "1.2.3", "1.2.3.1", 1)])
    with pytest.raises(dd.SelectionError, match=words):
        dd.deliver(data, to=where.format(url=xnat.url))
    assert not xnat.store.prearchive and not xnat.store.archive


def test_the_password_is_nowhere(xnat: LocalXnat, data: Path) -> None:
    xnat.faults["import"] = "500"
    delivery = dd.deliver(data, to=to(xnat), check=False, retries=1)
    assert "s3cret" not in json.dumps(delivery.to_dict(), default=str)
    for path in (data / ".dataset-dl").rglob("*"):
        assert path.is_dir() or b"s3cret" not in path.read_bytes()
