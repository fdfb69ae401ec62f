"""The errors that a report calls for."""

from __future__ import annotations

from dataset_dl.errors import NetworkError, TransferIncomplete
from dataset_dl.model.outcome import Delivery, Report
from dataset_dl.wording import counted

# If every series fails this way, blame the network or the store.
_IN_THE_WAY = {"network", "server_error", "access_denied"}


def raise_for_report(report: Report) -> None:
    """Raise the error that a report calls for; return if everything is on disk.

    Raises
    ------
    NetworkError
        If nothing was fetched and every failure points at the network or the store.
    TransferIncomplete
        If a series failed, was not tried or is not in IDC.
    """
    if report.ok:
        return
    is_fetched = report.complete_series == report.series_count and not report.missing
    if is_fetched and report.delivery is not None and report.delivery.failures:
        raise _undelivered(report, report.delivery)
    if not report.failures:
        raise _lacking(report) if not report.untried_series else _untried(report)
    first = report.failures[0]
    causes = {each.cause for each in report.failures}
    unreachable = causes <= {"network"} or (report.stopped and causes <= _IN_THE_WAY)
    if report.fetched_series == 0 and unreachable:
        what = report.stopped or first.message
        raise NetworkError(
            str(report.destination),
            f"Nothing could be fetched: {what}.",
            "Check the network and the proxy, then run the same command again.",
        )
    untried = f" {report.stopped[0].upper()}{report.stopped[1:]}." if report.stopped else ""
    raise TransferIncomplete(
        f"{len(report.failures):,} of {report.series_count:,} series failed"
        f" (the first: {first.planned.title}, {first.cause}: {first.message});"
        f" {report.complete_series:,} are complete on disk.{untried}",
        "The same command resumes.",
        report=report,
    )


def _undelivered(report: Report, delivery: Delivery) -> TransferIncomplete:
    first, count = delivery.failures[0], len(delivery.failures)
    return TransferIncomplete(
        f"Every series was fetched and verified, but {counted(count, 'delivery')} failed (the first:"
        f" {first.consumer} with {first.SeriesInstanceUID or first.key}, {first.message});"
        f" {delivery.delivered + delivery.delivered_before:,} succeeded.",
        "The same command tries those again that failed.",
        report=report,
    )


def _untried(report: Report) -> TransferIncomplete:
    return TransferIncomplete(
        f"{report.untried_series:,} of {report.series_count:,} series were not tried"
        f" ({report.stopped or 'the download was ended'}); {report.complete_series:,} are complete on disk.",
        "The same command resumes.",
        report=report,
    )


def _lacking(report: Report) -> TransferIncomplete:
    from dataset_dl.destination.paths import files_of

    missing = len(report.missing)
    requested = report.series_count + missing
    others = f"the other {report.complete_series:,} are complete on disk"
    also_asked = report.also_asked
    who = f"Neither IDC nor {also_asked} has" if also_asked else "IDC does not have"
    for_whom = "" if also_asked else " for TCIA's own program"
    return TransferIncomplete(
        f"{who} {missing:,} of the {requested:,} series asked for"
        f" (the first: {report.missing[0]});"
        f" {others if report.series_count else 'there was nothing to download'}.",
        f"{files_of(report.destination).missing} lists them{for_whom};"
        " --skip-missing accepts that they are missing.",
        report=report,
    )
