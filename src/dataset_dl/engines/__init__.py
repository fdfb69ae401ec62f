"""Engines: what moves the bytes."""

from __future__ import annotations

from collections.abc import Callable

from dataset_dl.doors import ENGINES
from dataset_dl.engines.protocol import Engine
from dataset_dl.errors import EngineMissing, PlanError
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.network import NetworkSettings

__all__ = ["Engine", "chooser", "names"]


def chooser(settings: DownloadSettings, network: NetworkSettings) -> Callable[[str], Engine]:
    """Return a function from a scheme to its engine: the one in the settings, else the first registered.

    An engine given as an object serves the schemes in its attribute `schemes`, or all if it has none.
    """

    def engine_for(scheme: str) -> Engine:
        wanted = settings.engine
        if not isinstance(wanted, str):
            if scheme in getattr(wanted, "schemes", (scheme,)):
                given: Engine = wanted
                return given
            wanted = "auto"
        here = names(scheme)
        if not here:
            raise EngineMissing(scheme, f"No installed engine fetches {scheme}://…, so nothing was started.")
        if wanted != "auto" and wanted not in here:
            if any(name.endswith(f".{wanted}") for name in ENGINES.names()):
                wanted = "auto"  # it serves another scheme of a mixed plan
            else:
                raise PlanError(
                    wanted,
                    f"There is no engine “{wanted}”, so nothing was started.",
                    f"Engines for {scheme}:// are auto, {', '.join(here)}.",
                )
        make = ENGINES.find(f"{scheme}.{here[0] if wanted == 'auto' else wanted}")
        assert make is not None, "the registry has this name"
        return make(settings, network)

    return engine_for


def names(scheme: str) -> list[str]:
    """Return the names of the engines for a scheme; ``auto`` takes the first."""
    return [each.partition(".")[2] for each in ENGINES.names() if each.partition(".")[0] == scheme]
