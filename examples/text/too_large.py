"""A batch that is too large for the memory, on purpose: see it recover, on any Linux machine.

    python -m toprung.examples.text.too_large --spare-mb 150

lets this process have 150 MB more than it has when it is ready to train, and makes three steps with 1,024 samples each.
Without `--spare-mb` there is no limit: the losses are the same.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource

import psutil
import torch

from toprung.examples.text.train import Sums

MB = 2**20
STEPS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=["lstm", "transformer"], default="transformer")
    parser.add_argument("--spare-mb", type=int, metavar="MB", help="memory for training; default: all there is")
    args = parser.parse_args()

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sums = Sums({"network": args.network, "width": 64, "layers": 2, "lr": 3e-3, "batch_size": 1024})
    sums.steps_per_result = 1
    if args.spare_mb is not None:
        limit = psutil.Process().memory_info().vms + args.spare_mb * MB
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    losses = [sums.step()["train_loss"] for _ in range(STEPS)]
    print(json.dumps({"losses": losses, "part_size": sums.state_dict()["part_size"]}))


if __name__ == "__main__":
    main()
