"""What is released: the sdist has all that a builder or a tester needs, the wheel what a user needs and no more."""

from __future__ import annotations

import email
import email.message
import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import dataset_dl

ROOT = Path(__file__).resolve().parents[2]
VERSION = dataset_dl.__version__
NAME = f"dataset_dl-{VERSION}"
# Of the platform that holds the repository, and of who commits to it; the rest goes into the sdist.
NOT_RELEASED = (".ci/", ".github/", ".pre-commit-config.yaml")
# The sdist's own.
ADDED = {"PKG-INFO"}


def build(source: Path, into: Path, kind: str) -> Path:
    """The file that hatchling builds of a tree, as bin/setup has installed it: no network is asked."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(into)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, text=True)
    (built,) = into.iterdir()
    return built


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("sdist"), "sdist")


@pytest.fixture(scope="module")
def unpacked(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(into, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return into / NAME


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("wheel"), "wheel")


def files_of(tree: Path) -> set[str]:
    return {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def metadata(wheel: Path) -> email.message.Message:
    return email.message_from_bytes(contents(wheel)[f"{NAME}.dist-info/METADATA"])


def test_the_sdist_is_complete(unpacked: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("git knows which files belong to the project, and this is no checkout")
    # What is not added yet counts as well: a new file is missed before it is committed, not after.
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    project = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    released = {name for name in project if not name.startswith(NOT_RELEASED)}
    assert files_of(unpacked) - ADDED == released
    for name in released:
        assert (unpacked / name).read_bytes() == (ROOT / name).read_bytes(), name
        assert os.access(unpacked / name, os.X_OK) == os.access(ROOT / name, os.X_OK), name


def test_the_sdist_gives_the_same_wheel(unpacked: Path, wheel: Path, tmp_path: Path) -> None:
    again = contents(build(unpacked, tmp_path, "wheel"))
    first = contents(wheel)
    record = f"{NAME}.dist-info/RECORD"  # of the same lines, perhaps in another order
    assert sorted(again.pop(record).splitlines()) == sorted(first.pop(record).splitlines())
    assert again == first


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = contents(wheel).keys()
    package = {name for name in names if name.startswith("dataset_dl/")}
    assert {name.split("/")[0] for name in names - package} == {f"{NAME}.dist-info"}
    assert "dataset_dl/py.typed" in package
    sums = {name for name in package if name.endswith("/SHA256SUMS")}
    assert len(sums) == 1
    source = {f"dataset_dl/{name}" for name in files_of(ROOT / "src" / "dataset_dl")}
    assert package - sums == {name for name in source if "__pycache__" not in name}
    assert not [name for name in names if "test_" in name or "conftest" in name]


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    said = metadata(wheel)
    assert (said["Name"], said["Version"]) == (project["name"], VERSION)
    assert said["License-Expression"] == project["license"]
    assert said["Requires-Python"] == project["requires-python"]
    assert sorted(said.get_all("Classifier", [])) == sorted(project["classifiers"])
    assert said.get_all("Provides-Extra") == list(project["optional-dependencies"])
    always = [each for each in said.get_all("Requires-Dist", []) if "extra ==" not in each]
    assert len(always) == len(project["dependencies"])
    licences = {
        "LICENSE",
        *(path.relative_to(ROOT).as_posix() for path in ROOT.glob("third_party/*/LICENSE*")),
    }
    assert len(licences) > 3
    assert set(said.get_all("License-File", [])) == licences
    for name in licences:
        stored = contents(wheel)[f"{NAME}.dist-info/licenses/{name}"]
        assert stored == (ROOT / name).read_bytes()


def test_every_python_that_is_named_is_tested() -> None:
    # noxfile.py needs nox to be imported and is read here as what it is: a list in a text.
    text = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {each.rsplit(" ", 1)[1] for each in project["classifiers"] if "Python :: 3." in each}
    assert "3.11" in named
    for version in named:
        assert f'"{version}"' in text


def test_the_wheel_installs_and_runs(wheel: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(fresh)], check=True)
    python = fresh / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    command += ["--disable-pip-version-check", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    # The dependencies are lent from here; the checkout is not, since a .pth file in a lent directory is not read.
    purelib = sysconfig.get_path("purelib", vars={"base": str(fresh), "platbase": str(fresh)})
    (Path(purelib) / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")

    # Nothing of the checkout may be found by chance.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def said(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True, text=True)
        return done.stdout

    assert said(fresh / "bin" / "dataset-dl", "--version") == f"dataset-dl, version {VERSION}\n"
    assert said(python, "-m", "dataset_dl", "--version") == f"dataset-dl, version {VERSION}\n"
    place = Path(said(python, "-c", "import dataset_dl; print(dataset_dl.__file__)").strip())
    assert place == Path(purelib) / "dataset_dl" / "__init__.py"
    (sums,) = (name for name in contents(wheel) if name.endswith("/SHA256SUMS"))
    room = sums.removesuffix("/SHA256SUMS").replace("/", ".")
    code = f"from {room}.binary import known_checksums; print(*known_checksums().values())"
    assert "linux-x86_64" in said(python, "-c", code)
