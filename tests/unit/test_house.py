"""The house is as the plan says: imports run downhill, public names stay, documents tell of everything."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import dataset_dl
from dataset_dl import errors
from dataset_dl.cli import cli

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "dataset_dl"

WINGS = {
    "aignostics",
    "cluster",
    "metrics",
    "pacs",
    "preview",
    "pseudonyms",
    "tcia",
    "thumbnails",
    "training",
    "volumes",
    "web",
    "xnat",
}


def documented() -> dict[str, set[str]]:
    """Each room of docs/architecture.md with those that it imports, in the order of the floors."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| [^|]* \| ([^|]*) \|$", text, re.MULTILINE)
    return {room: set(re.findall(r"\w+", imported)) for room, imported in rows}


PUBLIC = [
    "CertificateError",
    "Change",
    "ConnectionTimeout",
    "DEFAULT_LAYOUT",
    "DatasetDlError",
    "Delivery",
    "DeliveryFailure",
    "DeliveryIncomplete",
    "DestinationBusy",
    "Deviation",
    "Difference",
    "DownloadOptions",
    "DownloadProgress",
    "EngineCrashed",
    "EngineMissing",
    "IDCClient",
    "IndexUpdate",
    "InsufficientDiskSpace",
    "Job",
    "Jobs",
    "LayoutError",
    "ManifestError",
    "MissingExtra",
    "NetworkError",
    "NetworkOptions",
    "Plan",
    "PlanError",
    "PlanOptions",
    "PlannedSeries",
    "ProxyError",
    "QueryError",
    "Report",
    "SelectionError",
    "SelectionWarning",
    "Series",
    "SeriesFailure",
    "Service",
    "StorageError",
    "Superseded",
    "TransferError",
    "TransferIncomplete",
    "UnreadableObject",
    "Verification",
    "VerificationError",
    "__version__",
    "adownload",
    "cite",
    "collections",
    "columns",
    "deliver",
    "diff",
    "download",
    "download_events",
    "facets",
    "fetch_index",
    "indices",
    "look",
    "page_url",
    "plan",
    "query",
    "repair",
    "stream",
    "update",
    "update_index",
    "use_index",
    "verify",
    "volume",
]


def imports_of(path: Path) -> Iterator[str]:
    """Every module imported when the file runs; blocks for type checkers do not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module == "dataset_dl":
                yield from (f"dataset_dl.{alias.name}" for alias in node.names)
            else:
                yield node.module or ""


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


FILES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def rooms_imported(path: Path) -> set[str]:
    parts = (name.split(".") for name in imports_of(path))
    found = {each[1] for each in parts if each[0] == "dataset_dl" and len(each) > 1}
    return found - {room_of(path), "__version__"}


def arrows() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in FILES:
        if path.name != "__main__.py":
            found.setdefault(room_of(path), set()).update(rooms_imported(path))
    return found


def test_the_architecture_shows_the_house_as_it_is() -> None:
    assert arrows() == documented()


def test_imports_run_downhill() -> None:
    floors = list(documented())
    for room, imported in documented().items():
        for other in imported:
            assert floors.index(other) < floors.index(room), f"{room} imports {other}, which is above it"


def test_no_wing_is_imported() -> None:
    for room, imported in documented().items():
        assert not imported & WINGS, f"{room} imports a wing"


@pytest.mark.parametrize(
    ("library", "room"),
    [("duckdb", "duck"), ("subprocess", "process"), ("click", "cli"), ("prometheus_client", "metrics")],
)
def test_only_one_room_imports(library: str, room: str) -> None:
    importing = {
        room_of(path) for path in FILES if library in {name.split(".")[0] for name in imports_of(path)}
    }
    if library == "click":  # each wing has its own commands
        importing -= WINGS
    assert importing == {room}


def test_a_module_that_is_long_says_why() -> None:
    for path in FILES:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 330 or "long because" in lines[0], f"{path} has {len(lines)} lines"


def test_a_dry_run_hardly_climbs(tmp_path: Path) -> None:
    """Calls from a room to one above it are hard to follow; a protocol at a door is worth a few."""
    code = r"""
import sys
from pathlib import Path
import dataset_dl
from dataset_dl import cli
source, floors = str(Path(dataset_dl.__file__).parent), sys.argv.pop(1).split(",")
rooms, climbs = {}, []
def room_of(frame):
    name = frame.f_code.co_filename
    if name not in rooms:
        room = name.removeprefix(source).split("/")[1].removesuffix(".py") if name.startswith(source) else ""
        rooms[name] = floors.index(room) if room in floors else None
    return rooms[name]
def watch(frame, event, argument):
    if event != "call" or frame.f_code.co_name == "<module>" or (own := room_of(frame)) is None:
        return
    caller = frame.f_back
    while caller is not None and room_of(caller) is None:
        caller = caller.f_back
    if caller is not None and caller.f_code.co_name != "<module>" and own > room_of(caller):
        climbs.append(f"{floors[room_of(caller)]}.{caller.f_code.co_name} -> {floors[own]}.{frame.f_code.co_name}")
cli._leave = lambda code: None
sys.setprofile(watch)
cli.main()
sys.setprofile(None)
print("climbs", len(climbs), *climbs, sep="\n")
"""
    uid = "1.3.6.1.4.1.9328.50.2.124384"
    done = subprocess.run(
        [sys.executable, "-c", code, ",".join(documented()), "idc", "download", uid, "--to", str(tmp_path), "--dry-run"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    _, _, told = done.stdout.partition("climbs\n")
    count, *climbs = told.splitlines()
    assert int(count) <= 5, climbs


def test_public_names_are_locked() -> None:
    assert sorted(dataset_dl.__all__) == sorted(PUBLIC)
    for name in dataset_dl.__all__:
        assert getattr(dataset_dl, name) is not None
    with pytest.raises(AttributeError):
        _ = dataset_dl.nothing_of_that_name  # type: ignore[attr-defined]


def test_every_error_is_public() -> None:
    names = {
        name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, Exception)
    }
    assert names <= set(dataset_dl.__all__)


def test_importing_loads_nothing_heavy() -> None:
    code = "import sys, dataset_dl; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"duckdb", "pandas", "numpy", "rich", "msgspec", "click", "psutil", "asyncio"} & set(loaded)


def test_no_frame_is_loaded_unless_asked_for(tmp_path: Path) -> None:
    """DuckDB imports pandas for any parameter that is bound, which takes longer than all the rest."""
    code = """
import sys
import dataset_dl as dd
from dataset_dl.sources import rights_of
plan, target = sys.argv[1:]
dd.plan("qin_pet_phantom").save(plan)
dd.plan(plan, into=target)
dd.verify(target)
dd.diff(target)
rights_of(dd.plan(plan).rows)
assert not {"pandas", "numpy", "pyarrow"} & sys.modules.keys()
"""
    target = tmp_path / "to"
    (target / ".dataset-dl").mkdir(parents=True)
    arguments = [target / ".dataset-dl" / "plan.parquet", target]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def commands(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def test_every_command_and_option_is_documented() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    sections = dict(
        re.findall(
            r"^## `(dataset-dl [^`]*?)(?: [A-Z\[…-][^`]*)?`\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
        )
    )
    for name, command in commands(cli, "dataset-dl"):
        assert name in sections, f"{name} has no section in docs/cli.md"
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert f"`{parameter.opts[-1]}" in sections[name], (
                    f"{name} {parameter.opts} is not documented"
                )


def test_every_exit_code_is_documented() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    codes = {
        each.exit_code
        for each in vars(errors).values()
        if isinstance(each, type) and hasattr(each, "exit_code")
    }
    for code in codes | {0, 130}:
        assert re.search(rf"^\| {code} \|", text, re.MULTILINE), f"exit code {code} is not documented"


def test_every_public_name_is_documented() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for name in set(dataset_dl.__all__) - {"__version__"}:
        assert f"`{name}" in text or f"`dd.{name}" in text, f"{name} is not in docs/api.md"


def test_every_dependency_has_its_reason() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    groups = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values(),
              *project["dependency-groups"].values(), project["build-system"]["requires"]]  # fmt: skip
    for requirement in (each for group in groups for each in group):
        name = re.split(r"[<>=\[ ]", requirement)[0]
        assert f"`{name}`" in text, f"{name} is not in docs/dependencies.md"


def test_no_file_tells_of_a_machine() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    for name in tracked:
        path = ROOT / name
        assert path.stat().st_size < 1_000_000, f"{name} is too large for git"


def test_every_promise_has_a_fault_to_plant() -> None:
    from support.plant import planted
    from support.plants import PLANTS

    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    promises = [
        each.replace('"done"', "“done”") for each in re.findall(r"^\| \*\*(.*?)\*\*", text, re.MULTILINE)
    ]
    assert len(promises) >= 16
    for promise in promises:
        assert sum(promise.startswith(plant.promise) for plant in PLANTS) == 1, promise
    for plant in PLANTS:
        assert any(promise.startswith(plant.promise) for promise in promises), plant.promise
        source = (SOURCE / plant.file).read_text(encoding="utf-8")
        assert planted(source, plant) != source
