"""`python -m toprung.serve`: the process behind `toprung up`.

It starts or joins a Ray cluster, puts the service on it, writes `service.json` when it answers, and takes everything it
started down again on SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from toprung.cluster import environment
from toprung.errors import ToprungError
from toprung.serve import listening
from toprung.serve.home import Home
from toprung.serve.settings import Settings
from toprung.tuning.storage import probe

logger = logging.getLogger("toprung.serve")


def main() -> int:
    """Runs the service until it is told to stop. Returns the exit code."""
    args = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    home = Home.at(args.home)
    home.error_file.unlink(missing_ok=True)
    # Ray puts the working directory of its driver before the code of a sweep, on every worker
    os.chdir(home.nowhere)
    os.environ.update(environment.own_cluster(home.path) if args.address is None else environment.joined_cluster())
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.pop("TOPRUNG_TOKEN", None)  # of whoever starts the service: its trials would inherit it
    args.auth = args.auth or not listening.is_loopback(args.host)
    try:
        storage = Settings.read(home.settings_file).storage  # what is wrong with it is better heard here
        if storage is not None:
            probe(storage)
        url = listening.url_of(args.host, args.port)
        if args.address is None or not home.was_at(url):  # else its replica may listen there still, to be replaced
            listening.check(args.host, args.port)
        from toprung.serve.process import run  # noqa: PLC0415  imports Ray, which reads its environment then

        run(args, home)
    except ToprungError as error:
        home.error_file.write_text(error.detail + "\n")
        logger.error("%s", error.detail)
        return error.exit_code
    except Exception as error:
        home.error_file.write_text(f"the service could not start: {error}; see {home.path / 'service.log'}\n")
        logger.exception("the service could not start")
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m toprung.serve", description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--auth", action="store_true", help="ask for tokens; always so unless --host is loopback")
    parser.add_argument("--address", help="join this Ray cluster instead of starting one")
    parser.add_argument("--num-cpus", type=int)
    parser.add_argument("--num-gpus", type=int)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
