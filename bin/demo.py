"""Serve a local bucket, download from it with the command line, and open one of the files; or show the page.

With --web, the page of `dataset-dl web` explores all of IDC, and downloads from the local bucket.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from pydicom import dcmread

from dataset_dl.testing import LocalBucket

COLLECTION = "qin_pet_phantom"
ROOT = Path(__file__).resolve().parents[1]
PROGRAM = Path(sysconfig.get_path("scripts")) / "dataset-dl"


def main() -> int:
    """Run the demonstration; return its exit code."""
    return show_page(sys.argv[2:]) if sys.argv[1:2] == ["--web"] else download()


def show_page(options: list[str]) -> int:
    """Open the page, with a local bucket behind it; further options go to `dataset-dl web`."""
    print(
        "demo: the page explores all of IDC; the local bucket has the 44 series of qin_pet_phantom",
        flush=True,
    )
    target = ROOT / "demo-data" / "page"
    target.mkdir(parents=True, exist_ok=True)
    with LocalBucket(COLLECTION, directory=ROOT / "demo-data" / "bucket") as bucket:
        own = {
            "DATASET_DL_ENDPOINT_URL": bucket.endpoint_url,
            "DATASET_DL_STATE": str(ROOT / "demo-data" / "state"),
        }
        try:
            return subprocess.run(
                [PROGRAM, "web", "--root", target, *options], env={**os.environ, **own}, check=False
            ).returncode
        except KeyboardInterrupt:
            return 0


def download() -> int:
    """Download the collection; return the exit code of the download."""
    print("demo: creating a local bucket with the 44 series of qin_pet_phantom (246 MB, made-up pixels)")
    target = ROOT / "demo-data" / "download"
    shutil.rmtree(target, ignore_errors=True)
    with LocalBucket(COLLECTION, directory=ROOT / "demo-data" / "bucket") as bucket:
        command = ["idc", "download", COLLECTION, "--to", "demo-data/download"]
        command += ["--endpoint-url", bucket.endpoint_url]
        print("\n$ dataset-dl " + " ".join(command), flush=True)
        code = subprocess.run([PROGRAM, *command], cwd=ROOT, check=False).returncode
    files = sorted(target.rglob("*.dcm"))
    if code == 0 and files:
        dataset = dcmread(files[0])
        print(f"\n{len(files):,} files; the first one, read with pydicom:\n  {files[0].relative_to(ROOT)}")
        for name in ("PatientID", "Modality", "SeriesInstanceUID", "SOPInstanceUID"):
            print(f"  {name:18} {dataset[name].value}")
        print(f"  {'pixel_array':18} {dataset.pixel_array.shape} {dataset.pixel_array.dtype}")
    return code


if __name__ == "__main__":
    sys.exit(main())
