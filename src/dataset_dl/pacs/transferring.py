"""From an archive to another one, to a directory, or into an archive file."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

from dataset_dl import configuration
from dataset_dl.destination.records import kept_plan
from dataset_dl.destination.tree import instance_directories
from dataset_dl.errors import SelectionError
from dataset_dl.pacs.nodes import Node, Nodes
from dataset_dl.scratch import written_whole

LAYOUT = "%PatientID/%StudyInstanceUID/%Modality_%SeriesInstanceUID"


class Target:
    """Where a transfer ends.

    Parameters
    ----------
    to
        The name of a node, a directory, or a file that ends in ``.zip``.

    Attributes
    ----------
    node
        The node; None for a directory or a file.
    path
        The directory or the file; None for a node.

    Raises
    ------
    SelectionError
        If it is none of these.
    """

    def __init__(self, to: str) -> None:
        self.node: Node | None = None
        self.path: Path | None = None
        known = Nodes().all()
        if to in known:
            node = known[to]
            self.node = node
        elif to.lower().endswith(".zip"):
            self.path = Path(to)
            if self.path.exists():
                raise SelectionError(
                    to, f"{to} is there already; nothing was started.", "Choose another name."
                )
            if not self.path.absolute().parent.is_dir():
                raise SelectionError(to, f"{to} has no directory to be in; nothing was started.")
        elif os.sep in to or Path(to).is_dir():
            self.path = Path(to)
        else:
            raise SelectionError(
                to,
                f"There is no node “{to}”, and no directory of this name; nothing was started.",
                f"A new directory is written ./{to}; `dataset-dl pacs nodes list` shows the nodes.",
            )

    @property
    def is_file(self) -> bool:
        """Whether it is an archive file."""
        return self.path is not None and self.path.suffix.lower() == ".zip"


def staging(address: str, to: str, via: Path | None = None) -> Path:
    """Return where instances are on their way; the same for the same transfer, so that it resumes.

    It is a directory of this transfer alone, also in one that the user names, so all of it may be removed.
    """
    digest = hashlib.blake2b(json.dumps([address, to]).encode(), digest_size=8).hexdigest()
    return (via or configuration.state_path() / "transfers") / f"transfer-{digest}"


_NEW = "-new"


def beside(place: Path, step: Mapping[str, str]) -> Path:
    """Return where files with pseudonyms are made before they are packed; other options have another place.

    So a transfer that was interrupted may be run again with another pseudonym.
    """
    digest = hashlib.blake2b(json.dumps(sorted(step.items())).encode(), digest_size=4).hexdigest()
    return place.with_name(f"{place.name}{_NEW}-{digest}")


def pack(download: Path, source: Path, target: Path) -> int:
    """Write all instances of a directory into a zip, which appears when it is whole, and remove them.

    Parameters
    ----------
    download
        The download that they come from.
    source
        Where they are: the download itself, or the directory of what a consumer made of it.
    target
        The zip.

    Returns
    -------
    int
        How many there are.
    """
    count = 0
    with written_whole(target) as unfinished:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for directory in instance_directories(source):
                for path in sorted((source / directory).glob("*.dcm")):
                    archive.write(path, f"{directory}/{path.name}")
                    count += 1
        kept = kept_plan(download)
        expected = sum(row.expected_instances for row in kept) if kept is not None else count
        if expected != count:
            raise SelectionError(
                str(target),
                f"{source} has {count:,} files, but {expected:,} were fetched, so {target} was not written.",
                f"Run the same command again; if that does not help, remove {source} before.",
            )
    for each in {download, source, *download.parent.glob(f"{download.name}{_NEW}*")}:
        shutil.rmtree(each, ignore_errors=True)
    return count
