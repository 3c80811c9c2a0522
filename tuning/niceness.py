"""Who goes first where processors are scarce: Ray and the service, then training.

Ray 2.60 makes all its workers nice by 15 (`RAY_worker_niceness`), so that training doesn't starve the raylet. The
service's actors are workers too: beside other busy processes they got 3 % of a processor, and `toprung up` took 113 s
instead of 17 s on two busy cores. So a Ray that Toprung starts leaves its workers as they are, and training makes
itself nice. (Where the kernel groups processes by session, `sched_autogroup_enabled`, this is so within each session.)
"""

from __future__ import annotations

import os

NICENESS = 15
"""As much as Ray's own."""


def give_way() -> None:
    """Makes this thread, and the threads and processes it starts, as nice as a worker of Ray is by default."""
    if os.getpriority(os.PRIO_PROCESS, 0) < NICENESS:  # on Linux 0 is the thread, elsewhere its process
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
