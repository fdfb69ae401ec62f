"""A rank that trains with torch, as torchrun starts it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, DistributedSampler

from dataset_dl.training import SeriesDataset, collate
from support import training


def main() -> None:
    """Train for an epoch by the orders in the environment."""
    orders: dict[str, Any] = json.loads(os.environ["ORDERS"])
    torch.distributed.init_process_group("gloo")
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    data: SeriesDataset = training.dataset(orders, rank, ranks)
    data.set_epoch(0)
    loader = DataLoader(
        data,
        batch_size=2,
        num_workers=2,
        multiprocessing_context=orders["start"],
        sampler=DistributedSampler(data, shuffle=False),
        collate_fn=collate,
    )
    for batch in data.track(loader):
        total = batch["bytes"].sum().to(torch.float64)
        assert total > 0
        training.note(Path(orders["log"]), batch["key"])
    torch.distributed.barrier()
    data.close()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
