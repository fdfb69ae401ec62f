"""The tests on each Python that is supported, and the files of a release: see docs/howto/release.md."""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
PROJECT = nox.project.load_toml("pyproject.toml")

nox.options.default_venv_backend = "venv"
nox.options.envdir = ".cache/nox"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests"]
# What is not installed is skipped, and nox fetches none: the one who tests chooses the Pythons.
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the unit tests; with "-- all" every test, with other arguments what they say to pytest."""
    # The pip of an older Python's venv knows no dependency groups, so nox reads them.
    session.install(
        "--editable", ".[aignostics,metrics,preview,testing]", *nox.project.dependency_groups(PROJECT, "dev")
    )
    arguments = session.posargs or ["tests/unit"]
    if arguments[0] == "all":
        arguments = arguments[1:]
    # As in bin/test, which also installs the proxy and the browser that the whole needs.
    spread = ("--numprocesses", "auto", "--dist", "loadfile", "--no-loadscope-reorder")
    session.run("python", "-m", "pytest", *spread, *arguments)


@nox.session
def dist(session: nox.Session) -> None:
    """Build sdist and wheel into dist/, the wheel from the sdist as a user's pip does, and check both."""
    session.install("build", "twine")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", "dist")
    session.run("python", "-m", "twine", "check", "--strict", *map(str, sorted(Path("dist").iterdir())))
