"""IDC as a source: check rows that come from files, and credit the data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dataset_dl.duck import Database, quote
from dataset_dl.errors import SelectionError
from dataset_dl.model.plan import Rights
from dataset_dl.model.series import PlannedSeries
from dataset_dl.plans.columns import FILES
from dataset_dl.plans.file import PlanFile
from dataset_dl.sources.idc import rights
from dataset_dl.sources.idc.versions import with_earlier
from dataset_dl.store.addresses import IDC_BUCKETS


class _Idc:
    """Implements `sources.protocol.Source`."""

    def rows(self, address: str) -> Iterable[PlannedSeries]:
        raise SelectionError(address, f"{address} is planned with the tables of IDC.")

    def problems(self, rows: PlanFile) -> Iterator[tuple[int, str]]:
        unsized = [series.key for series in rows.unsized() if series.scheme == "s3" and series.files is None]
        earlier = with_earlier(Database(), unsized, [])[1] if unsized else set()
        is_dicom = f"coalesce(regexp_full_match(files, {quote(FILES.pattern)}), true)"
        buckets = "|".join(bucket.replace(".", "\\.") for bucket in IDC_BUCKETS)
        doubtful = Database().run(
            "SELECT file_row_number + 1, address, key, instanceCount, files, SeriesInstanceUID IS NULL,"
            f" NOT {is_dicom},"
            f" regexp_extract(address, '^s3://({buckets})/', 1) FROM {rows.numbered_sql}"
            " WHERE lower(split_part(address, '://', 1)) = 's3' AND NOT coalesce("
            "SeriesInstanceUID IS NOT NULL AND instanceCount IS NOT NULL AND size_bytes IS NOT NULL"
            f" AND regexp_full_match(address, 's3://({buckets})/[0-9a-f-]{{36}}/\\*') AND {is_dicom}"
            " AND contains(address, '/' || key || '/'), false) ORDER BY 1"
        )
        for number, address, key, count, files, is_nameless, is_strange, bucket in doubtful:
            named = bucket or address.removeprefix("s3://").partition("/")[0]
            if is_nameless:
                yield number, "it names no SeriesInstanceUID"
            elif address != f"s3://{named}/{key}/*":
                yield number, f"{address} is not the address of the series {key}"
            elif not bucket:
                yield number, f"{named} is not a bucket of IDC"
            elif is_strange:
                yield number, "its files are not written as NAME.dcm:BYTES/NAME.dcm:BYTES"
            elif count is None and files is None and key not in earlier:
                yield number, "it has no instanceCount, and its series is not of an earlier IDC version"

    def rights(self, rows: PlanFile) -> Rights:
        found = rights.sorted_shares(rows.shares())
        works = rights.works(share.source_DOI for share in found if share.source_DOI)
        return Rights(rights.licences_text(found, works), rights.bibtex(works))


IDC = _Idc()
