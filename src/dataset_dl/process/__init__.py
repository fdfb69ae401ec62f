"""Start, drain, watch and stop child processes. The only user of `subprocess`."""

from __future__ import annotations

from dataset_dl.process.child import LineQueue, Process, lines_of, stop_all
from dataset_dl.process.short import Answer, run_to_end

__all__ = ["Answer", "LineQueue", "Process", "lines_of", "run_to_end", "stop_all"]
