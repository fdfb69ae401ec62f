"""A plugin of pytest that puts our client in the place of idc-index's own, for its own tests."""

from __future__ import annotations

import idc_index
import idc_index.cli
import idc_index.index

from dataset_dl import IDCClient

for module in (idc_index, idc_index.index, idc_index.cli):
    module.IDCClient = IDCClient
