"""These tests need torch and MONAI, which `bin/test training` installs; elsewhere they are left out."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") and find_spec("monai") else ["test_*.py"]
