"""`IDCClient`: the client of idc-index on top of our verbs; long because it covers all of that class."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self, Unpack, cast

from dataset_dl.destination.disk import absolute
from dataset_dl.destination.paths import keep_outside
from dataset_dl.duck import Database, quote, unlocked_session
from dataset_dl.errors import InsufficientDiskSpace, SelectionError
from dataset_dl.manifest.commands import Places
from dataset_dl.model.selection import Condition
from dataset_dl.sources.idc import catalog, clinical, instances, listing
from dataset_dl.sources.idc.releases import cache_directory
from dataset_dl.sources.idc.resolve import present
from dataset_dl.sources.idc.tables import (
    clinical_directory,
    idc_version,
    parquet,
    table_sql,
    tables,
)
from dataset_dl.store.addresses import KNOWN_BUCKETS, at_store
from dataset_dl.verbs.download import download
from dataset_dl.verbs.options import DownloadOptions, PlanOptions, network_of, settings_of, spelled_out
from dataset_dl.verbs.plan import plan, plan_quietly

if TYPE_CHECKING:
    import pandas as pd

    from dataset_dl.model.outcome import DownloadProgress
    from dataset_dl.model.plan import Plan

_log = logging.getLogger(__name__)


def _idc_index() -> ModuleType:
    """Import idc-index, and undo that importing it configures logging for the whole process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    import idc_index.index

    root.handlers[:] = handlers
    root.setLevel(level)
    module: ModuleType = idc_index.index
    return module


_theirs = _idc_index()
_ENDPOINT_URL = "https://s3.amazonaws.com"
# The table whose name in idc-index differs from its name in IDC.
_MAIN = {"index": "idc_index"}
# The most specific parameter decides, as in idc-index.
_PARAMETERS = {
    "crdc_series_uuid": "crdc_series_uuid",
    "sopInstanceUID": "SOPInstanceUID",
    "seriesInstanceUID": "SeriesInstanceUID",
    "studyInstanceUID": "StudyInstanceUID",
    "patientId": "PatientID",
    "collection_id": "collection_id",
}


class Collection(str):
    """A collection: its identifier as a string, with its properties as attributes.

    Attributes
    ----------
    id, name, subjects, series, instances, size_bytes, modalities, cancer_types, licenses, DOI
        As in `dataset_dl.collections`.
    """

    id: str
    name: str
    subjects: int
    series: int
    instances: int
    size_bytes: int
    modalities: str
    cancer_types: str
    licenses: str
    DOI: str


class IDCClient(_theirs.IDCClient):  # type: ignore[name-defined, misc]
    """The client of idc-index 0.13: same methods, arguments and results.

    Constructing one costs nothing: a frame like `index` is read on first access. Downloads resume, are
    verified on disk, and raise if something is missing. Network settings are those of the rest of this
    package.

    Parameters
    ----------
    **options
        As for `dataset_dl.download`, for every download of this client.
    """

    @spelled_out(DownloadOptions)
    def __init__(self, **options: Unpack[DownloadOptions]) -> None:
        # Not the constructor of idc-index, which reads every table into memory.
        self._options = options
        # Identity, shape and columns of each frame when it was read from its published file.
        self._unchanged: dict[str, tuple[int, tuple[int, int], tuple[str, ...]]] = {}
        self.sm_index: pd.DataFrame | None = None
        self.sm_instance_index: pd.DataFrame | None = None
        self.clinical_index: pd.DataFrame | None = None

    @classmethod
    def client(cls) -> Self:
        """The client that this process shares."""
        if "_client" not in cls.__dict__:
            cls._client = cls()
        mine: Self = cls._client
        return mine

    @cached_property
    def index(self) -> pd.DataFrame:
        """The main index, with the columns of idc-index; takes 1 GB of memory."""
        import pandas as pd

        frame = pd.read_parquet(parquet("idc_index"))
        frame["crdc_series_uuid"] = frame["series_aws_url"].str.split("/").str[3]
        frame["series_size_MB"] = frame["series_size_MB"].astype(float)
        return self._read("index", frame)

    @cached_property
    def prior_versions_index(self) -> pd.DataFrame:
        """The series of earlier IDC versions."""
        import pandas as pd

        return self._read("prior_versions_index", pd.read_parquet(self.prior_versions_index_path))

    @cached_property
    def prior_versions_index_path(self) -> Path:
        """The Parquet file of that table."""
        return parquet("prior_versions_index")

    @cached_property
    def collection_summary(self) -> pd.DataFrame:
        """Modalities and size in MB of each collection."""
        import pandas as pd

        rows = Database().run(
            "SELECT collection_id, Modality, sum(series_size_MB) AS series_size_MB FROM"
            f" read_parquet({quote(str(parquet('idc_index')))}, file_row_number = true)"
            " GROUP BY collection_id, Modality ORDER BY min(file_row_number)"
        )
        return rows.to_pandas().groupby("collection_id").agg(
            {"Modality": pd.Series.unique, "series_size_MB": "sum"}
        )  # fmt: skip

    @cached_property
    def idc_version(self) -> str:
        """The IDC version of the tables, like ``v25``."""
        return self.get_idc_version()

    @staticmethod
    def get_idc_version() -> str:
        """The same as a method, as in idc-index."""
        return f"v{idc_version()}"

    @cached_property
    def indices_data_dir(self) -> str:
        """The directory of fetched tables."""
        return str(cache_directory())

    @cached_property
    def idc_data_dir(self) -> str:
        """The directory of the clinical tables of this IDC version."""
        return str(cache_directory().parent.parent / self.idc_version)

    @cached_property
    def indices_overview(self) -> dict[str, dict[str, Any]]:
        """Each table that IDC publishes: description, whether it is installed, address, file and schema."""
        return self._discover_available_indices(refresh=True)

    @cached_property
    def s5cmdPath(self) -> str:
        """The program that moves the files."""
        from dataset_dl.engines.s5cmd.binary import require

        return str(require().path)

    @cached_property
    def _duckdb_conn(self) -> Any:
        return unlocked_session()

    def _discover_available_indices(self, refresh: bool = False) -> dict[str, dict[str, Any]]:
        if not refresh:
            return self.indices_overview
        # The method of idc-index reads this attribute, which would call us again.
        self.__dict__.setdefault("indices_overview", {})
        found: dict[str, dict[str, Any]] = super()._discover_available_indices(refresh=True)
        for name, table in found.items():
            path = tables()[_MAIN.get(name, name)].parquet_path
            table |= {"installed": path is not None, "file_path": None if path is None else str(path)}
        return found

    def fetch_index(self, index_name: str) -> None:
        """Fetch a table that is not installed, verify it, and set it as the attribute of its name.

        As in idc-index, a name that IDC does not publish only logs an error.

        Raises
        ------
        NetworkError
            If it cannot be fetched.
        """
        import pandas as pd

        if index_name not in self.indices_overview:
            _log.error("Index %s is not available and can not be fetched.", index_name)
            return
        path = catalog.fetch(_MAIN.get(index_name, index_name), network_of(self._options))
        if self.__dict__.get(index_name) is None and index_name not in ("index", "prior_versions_index"):
            setattr(self, index_name, self._read(index_name, pd.read_parquet(path)))
        self.refresh_indices_overview()

    @property
    def clinical_data_dir(self) -> str | None:
        """The directory with a folder for each clinical table; None if they are not installed."""
        return str(clinical_directory()) if clinical.is_here() else None

    def get_clinical_table(self, table_name: str) -> pd.DataFrame | None:
        """Return a clinical table as a frame; the clinical tables are fetched if they are not installed.

        As in idc-index, an unknown name returns None and logs an error.

        Raises
        ------
        NetworkError
            If the tables cannot be fetched.
        """
        import pandas as pd

        clinical.fetch(network_of(self._options))
        folder = clinical_directory() / table_name
        if not folder.is_dir():
            _log.error("Table %s is not found in %s.", table_name, folder)
            return None
        return pd.read_parquet(folder)

    def get_collections(self) -> list[Collection]:
        """Return every collection of IDC, as strings with attributes."""
        found = []
        for row in listing.collections():
            collection = Collection(row.id)
            for name, value in row._asdict().items():
                setattr(collection, name, value)
            found.append(collection)
        return found

    def get_download_manifest(
        self,
        collection_id: str,
        filters: Mapping[str, object] | None = None,
        layout: str | None = None,
    ) -> list[dict[str, Any]]:
        """List what a download would fetch, one item for each series.

        Parameters
        ----------
        collection_id
            A collection in any spelling; patients, studies and series also work.
        filters
            Column of the main index → value or values that it must have.
        layout
            Template of the directories.

        Returns
        -------
        list of dict
            ``target_path`` (directory below the destination), ``aws_url``, and the columns of
            `PlannedSeries`.
        """
        rows = plan(collection_id, where=filters, layout=layout)
        return [
            {"target_path": row.directory, "aws_url": row.series_aws_url, **row.to_dict()} for row in rows
        ]

    def get_series_file_URLs(
        self,
        seriesInstanceUID: str,
        source_bucket_location: str = "aws",
    ) -> list[str]:
        """Return the addresses of the files of a series, as the store lists them."""
        from dataset_dl.engines.choice import chooser
        from dataset_dl.transfer.fleet import Fleet

        options = self._at(source_bucket_location)
        (series,) = plan(where={"SeriesInstanceUID": seriesInstanceUID})
        network = network_of(options)
        found = Fleet(chooser(settings_of(options), network)).objects([series]).get(series.key, [])
        folder = at_store(series.address, network).removesuffix("*")
        return [f"{folder}{each.name}" for each in found]

    def citations_from_selection(
        self,
        collection_id: str | list[str] | None = None,
        patientId: str | list[str] | None = None,
        studyInstanceUID: str | list[str] | None = None,
        seriesInstanceUID: str | list[str] | None = None,
        citation_format: str = _theirs.IDCClient.CITATION_FORMAT_APA,
    ) -> list[Any]:
        """Return citations for a selection from the DOI service: strings, or dicts for the JSON format.

        Raises
        ------
        NetworkError
            If the service cannot be reached.
        ValueError
            If nothing is selected.
        """
        from dataset_dl.sources.idc import doi
        from dataset_dl.sources.idc.rights import IDC_DOI

        chosen = self._safe_filter_by_selection(
            self.index, collection_id, patientId, studyInstanceUID, seriesInstanceUID, None, None
        )
        works = [*chosen["source_DOI"].unique().tolist(), IDC_DOI]
        found = []
        for work, text in zip(
            works, doi.citations(works, citation_format, network_of(self._options)), strict=True
        ):
            if text is None:
                _log.warning("The DOI service has no citation for %s.", work)
            else:
                found.append(json.loads(text) if citation_format == self.CITATION_FORMAT_JSON else text)
        return found

    def _read(self, name: str, frame: pd.DataFrame) -> pd.DataFrame:
        """Return a frame, and remember that it is unchanged since it was read from its file."""
        self._unchanged[name] = _look_of(frame)
        return frame

    def sql_query(self, sql_query: str) -> pd.DataFrame:
        """Run SQL over the tables, by the names that idc-index gives them.

        If the frame of a table was replaced, or its rows or columns were added or removed, the query reads
        the frame; otherwise it reads the published file. It misses values changed in place: assign a changed
        copy.

        Raises
        ------
        duckdb.Error
            If the statement is invalid.
        """
        connection = self._duckdb_conn
        for name, table in self.indices_overview.items():
            frame = self.__dict__.get(name)
            if frame is not None and self._unchanged.get(name) != _look_of(frame):
                connection.execute(f'DROP VIEW IF EXISTS "{name}"')
                connection.register(name, _as_arrow(frame))
            elif table["file_path"]:
                connection.unregister(name)
                connection.execute(
                    f'CREATE OR REPLACE VIEW "{name}" AS FROM read_parquet({quote(table["file_path"])})'
                )
        answer: pd.DataFrame = connection.query(sql_query).to_df()
        return answer

    def download_from_selection(
        self,
        downloadDir: str | Path,
        dry_run: bool = False,
        collection_id: str | list[str] | None = None,
        patientId: str | list[str] | None = None,
        studyInstanceUID: str | list[str] | None = None,
        seriesInstanceUID: str | list[str] | None = None,
        sopInstanceUID: str | list[str] | None = None,
        crdc_series_uuid: str | list[str] | None = None,
        quiet: bool = True,
        show_progress_bar: bool = True,
        use_s5cmd_sync: bool = False,
        dirTemplate: str | None = _theirs.IDCClient.DOWNLOAD_HIERARCHY_DEFAULT,
        source_bucket_location: str = "aws",
        analysis_result_id: str | list[str] | None = None,
        analysis_results: str = "include",
    ) -> None:
        """Download a selection, resume an earlier download of it, and verify every series.

        Parameters as in idc-index. `use_s5cmd_sync` and `quiet` have no effect: it always resumes, and
        errors include the output of s5cmd.

        Raises
        ------
        ValueError
            If nothing is selected (`SelectionError`), or a parameter has no such value.
        TypeError
            If an identifier is neither a string nor a list.
        IDCClientInsufficientDiskSpaceError
            If there is not enough space.
        DatasetDlError
            If the download does not end with everything on disk.
        """
        options = self._at(source_bucket_location)
        if analysis_results not in ("include", "exclude", "only"):
            raise ValueError("analysis_results must be one of 'include', 'exclude' or 'only'")
        given = {
            "crdc_series_uuid": crdc_series_uuid,
            "sopInstanceUID": sopInstanceUID,
            "seriesInstanceUID": seriesInstanceUID,
            "studyInstanceUID": studyInstanceUID,
            "patientId": patientId,
            "collection_id": collection_id,
            "analysis_result_id": analysis_result_id,
        }
        for name, value in given.items():
            if value is not None and not isinstance(value, str | list):
                raise TypeError(f"{name} must be a string or list of strings")
        where = self._analysis_conditions(given, analysis_results)
        chosen = next((name for name in _PARAMETERS if given[name] is not None), None)
        if chosen is None and not where:
            hint = "Give a collection, a patient, a study or a series."
            raise SelectionError("", "Nothing was asked for.", hint)
        target = self._check_create_directory(downloadDir)
        layout = self._layout(dirTemplate, target)
        try:
            if chosen is None:
                made = self._planned(where=where, layout=layout, into=target)
            else:
                made = self._plan_of(_PARAMETERS[chosen], given[chosen] or [], where, layout, target)
        except SelectionError as error:
            raise _as_of_idc_index(error, analysis_result_id, analysis_results) from None
        self._fetch(made, options, dry_run=dry_run, show=show_progress_bar)

    def download_from_manifest(
        self,
        manifestFile: str | Path,
        downloadDir: str | Path,
        quiet: bool = True,
        validate_manifest: bool = True,
        show_progress_bar: bool = True,
        use_s5cmd_sync: bool = False,
        dirTemplate: str | None = _theirs.IDCClient.DOWNLOAD_HIERARCHY_DEFAULT,
        progress_callback: Callable[[float, float, str, str], object] | None = None,
    ) -> None:
        """Download the series of a manifest, of any kind that `dataset_dl.plan` reads.

        Parameters as in idc-index; a manifest is always validated, and a download always resumes.

        Raises
        ------
        FileNotFoundError
            If the manifest does not exist.
        ValueError
            If the manifest is invalid (`ManifestError`).
        IDCClientInsufficientDiskSpaceError
            If there is not enough space.
        DatasetDlError
            If the download does not end with everything on disk.
        """
        if not Path(manifestFile).exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(manifestFile))
        target = self._check_create_directory(downloadDir)
        layout = self._layout(dirTemplate, target)
        made = self._planned(Path(manifestFile), layout=layout, into=target, skip_missing=True)
        self._fetch(made, self._at("aws"), show=show_progress_bar, progress_callback=progress_callback)
        if made.missing:
            raise SelectionError(
                made.missing[0],
                f"{len(made.missing):,} series of {manifestFile} are in no IDC version, or in a bucket that"
                " IDC never had (the first:"
                f" {made.missing[0]}); the other {made.series_count:,} were downloaded and checked.",
            )

    @staticmethod
    def _planned(what: Any = (), **options: Any) -> Plan:
        """Make a plan; like idc-index, log what it leaves out."""
        # As in idc-index, series outside IDC's buckets do not exist, and the template replaces the
        # directories of a manifest.
        places = Places(absolute(options.pop("into")), ignored=True, buckets=KNOWN_BUCKETS)
        made, _ = plan_quietly(what, places, cast(PlanOptions, options))
        for note in made.notes:
            _log.warning("%s", note)
        return made

    def _plan_of(
        self, column: str, requested: str | list[str], where: list[Condition], layout: str, target: str
    ) -> Plan:
        """Make the plan of the series with some values in a column; unknown values are only logged."""
        values = [requested] if isinstance(requested, str) else requested
        if column == "SOPInstanceUID":
            files = {file.identifier for file in instances.named(Database(), values)}
            missing = set(values) - files
            if not files:
                what = f"No data found for the SOPInstanceUIDs {values}.{instances.hint_of_unknown()}"
                raise SelectionError(values[0] if values else "", what)
            made = self._planned(sorted(files), where=where, layout=layout, into=target)
        elif column == "crdc_series_uuid":
            made = self._planned(values, where=where, layout=layout, into=target, skip_missing=True)
            missing = set(made.missing)
            if not made.series_count:
                raise _no_data(column, values)
        else:
            known = present(Database(), table_sql(), column, values)
            missing = set(values) - set(known)
            if not known:
                raise _no_data(column, values)
            chosen = Condition(column, "=", tuple(known))
            made = self._planned(where=[chosen, *where], layout=layout, into=target)
        for value in sorted(missing):
            _log.warning("IDC has no %s %s; it was left out.", column, value)
        return made

    @staticmethod
    def _analysis_conditions(given: Mapping[str, Any], kind: str) -> list[Condition]:
        """Return the conditions that select the wanted analysis results."""
        identifiers = given["analysis_result_id"]
        if identifiers is not None and kind == "exclude":
            raise ValueError("analysis_result_id cannot be used when analysis_results is 'exclude'")
        if identifiers is not None:
            values = [identifiers] if isinstance(identifiers, str) else identifiers
            known = present(Database(), table_sql(), "analysis_result_id", values)
            if not known:
                what = f"No data found for the analysis_result_id with the values {values}."
                raise SelectionError("analysis_result_id", what)
            return [Condition("analysis_result_id", "=", tuple(known))]
        if kind == "include":
            return []
        return [Condition("analysis_result_id", "=" if kind == "exclude" else "!=", ("",))]

    def _at(self, source_bucket_location: str) -> DownloadOptions:
        """Return the options of this client for one of the two stores."""
        if source_bucket_location not in ("aws", "gcs"):
            raise ValueError("source_bucket_location must be either 'aws' or 'gcs'")
        options = DownloadOptions(**self._options)
        if source_bucket_location == "gcs":
            options["store"] = "gcs"
        elif _theirs.aws_endpoint_url != _ENDPOINT_URL:
            options.setdefault("endpoint_url", _theirs.aws_endpoint_url)
        return options

    def _layout(self, template: str | None, target: str) -> str:
        """Convert a template of idc-index, which allows fewer columns and characters, to one of ours."""
        if template is None:
            return "."
        self._generate_sql_concat_for_building_directory(template, target)
        return "/".join(part for part in template.split("/") if part) or "."

    def _fetch(
        self,
        made: Plan,
        options: DownloadOptions,
        *,
        dry_run: bool = False,
        show: bool = True,
        progress_callback: Callable[[float, float, str, str], object] | None = None,
    ) -> None:
        assert made.into is not None
        if not made.series_count:
            return
        self._validate_disk_space(str(made.into), made.size_bytes / 1e6)
        if dry_run:
            counts = made.series_count, made.size_bytes
            _log.info("Dry run: %d series, %d bytes; nothing was fetched.", *counts)
            return

        def call_back(progress: DownloadProgress) -> None:
            if progress_callback is not None:
                progress_callback(progress.completed_bytes, progress.total_bytes, "B", "Downloading data")

        # Users of idc-index read the whole directory as data, so our records must be elsewhere.
        keep_outside(absolute(made.into))
        try:
            download(
                made,
                progress="auto" if show else "none",
                progress_callback=call_back if show and progress_callback else None,
                **options,
            )
        except InsufficientDiskSpace as error:
            sizes = [self._format_size(each / 1e6) for each in (error.needed_bytes, error.free_bytes)]
            raise _theirs.IDCClientInsufficientDiskSpaceError(*sizes, message=str(error)) from error


def _no_data(column: str, values: list[str]) -> SelectionError:
    what = f"No data found for the {column} with the values {values}."
    return SelectionError(values[0] if values else "", what)


def _as_of_idc_index(error: SelectionError, analysis_result_id: Any, analysis_results: str) -> SelectionError:
    """Word an empty selection as idc-index does if analysis results are the reason."""
    if error.reference != "analysis_result_id":
        return error
    if analysis_result_id is not None:
        what = f"No series from analysis_result_id {analysis_result_id} found in the selection."
    elif analysis_results == "only":
        what = "None of the series in the selection belong to analysis results."
    else:
        what = "All series in the selection belong to analysis results."
    return SelectionError("analysis_result_id", f"{what} Nothing was started.")


def _look_of(frame: pd.DataFrame) -> tuple[int, tuple[int, int], tuple[str, ...]]:
    """Return identity, shape and columns of a frame, to notice changes without reading its values."""
    return id(frame), frame.shape, tuple(map(str, frame.columns))


def _as_arrow(frame: pd.DataFrame) -> Any:
    """Convert a frame to Arrow, which DuckDB reads a hundred times faster; fall back to the frame itself."""
    import pyarrow

    try:
        return pyarrow.Table.from_pandas(frame, preserve_index=False)
    except pyarrow.ArrowException:  # columns of mixed types
        return frame
