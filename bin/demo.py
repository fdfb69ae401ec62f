"""Serve a local bucket, download from it with the command line, and open one of the files."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from pydicom import dcmread

from dataset_dl.testing import LocalBucket

COLLECTION = "qin_pet_phantom"
ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run the demonstration; return the exit code of the download."""
    print("demo: creating a local bucket with the 44 series of qin_pet_phantom (246 MB, made-up pixels)")
    target = ROOT / "demo-data" / "download"
    shutil.rmtree(target, ignore_errors=True)
    with LocalBucket(COLLECTION, directory=ROOT / "demo-data" / "bucket") as bucket:
        command = ["idc", "download", COLLECTION, "--to", "demo-data/download"]
        command += ["--endpoint-url", bucket.endpoint_url]
        print("\n$ dataset-dl " + " ".join(command), flush=True)
        program = Path(sysconfig.get_path("scripts")) / "dataset-dl"
        code = subprocess.run([program, *command], cwd=ROOT, check=False).returncode
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
