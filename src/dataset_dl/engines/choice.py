"""Which engine fetches the series of a scheme."""

from __future__ import annotations

from collections.abc import Callable

from dataset_dl.doors import ENGINES
from dataset_dl.engines.protocol import Engine
from dataset_dl.errors import EngineMissing, MissingExtra, PlanError
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.network import NetworkSettings


def chooser(settings: DownloadSettings, network: NetworkSettings) -> Callable[[str], Engine]:
    """Return a function from a scheme to its engine: the one in the settings, else the first installed one.

    An engine given as an object serves the schemes in its attribute `schemes`, or all if it has none. If it
    has a method ``configured(settings, network)``, the engine which that returns is used. A name may be an
    address, like ``dask://host:8786``: what is before ``://`` is the name of the engine, which finds the
    address in the settings.
    """

    def engine_for(scheme: str) -> Engine:
        wanted = settings.engine
        if not isinstance(wanted, str):
            if scheme in getattr(wanted, "schemes", (scheme,)):
                configured = getattr(wanted, "configured", None)
                given: Engine = wanted if configured is None else configured(settings, network)
                return given
            wanted = "auto"
        wanted = wanted.partition("://")[0]
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
        if wanted != "auto":
            return _made(f"{scheme}.{wanted}", settings, network)
        for name in here[:-1]:
            try:
                return _made(f"{scheme}.{name}", settings, network)
            except (MissingExtra, EngineMissing):
                continue
        return _made(f"{scheme}.{here[-1]}", settings, network)

    return engine_for


def _made(name: str, settings: DownloadSettings, network: NetworkSettings) -> Engine:
    make = ENGINES.find(name)
    assert make is not None, "the registry has this name"
    if network.store == "auto" and name.startswith("s3."):
        from dataset_dl.engines.stores import TwoStores

        return TwoStores({store: make(settings, network.at(store)) for store in ("aws", "gcs")})
    return make(settings, network)


def names(scheme: str) -> list[str]:
    """Return the names of the engines for a scheme; ``auto`` takes the first that is installed."""
    return [each.partition(".")[2] for each in ENGINES.names() if each.partition(".")[0] == scheme]
