"""The HTTP application as the service's replica runs it, in a process of its own and without a cluster.

python dashboard_server.py HOME PORT
"""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn

from toprung.serve.home import Home
from toprung.serve.http.app import create_app
from toprung.serve.store import Store


def main(home: Path, port: int) -> None:
    store = Store(Home.at(home).store_url)
    uvicorn.run(create_app(store, home), host="127.0.0.1", port=port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
