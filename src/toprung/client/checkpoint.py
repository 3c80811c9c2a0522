"""Downloading a checkpoint: never half done, never outside the folder asked for."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from functools import partial
from pathlib import Path

import httpx

from toprung.client.effects import Op, Request, call, read
from toprung.client.exchange import CALL, Busy, Exchange
from toprung.errors import InvalidInput, ToprungError, Unavailable


def download(exchange: Exchange, path: str, target: Path) -> Op[Path]:
    """The tar at the service's `path`, unpacked as the folder `target`.

    Raises:
        InvalidInput: `target` exists and is not an empty folder, or can't be written.
        NotFound: the trial has no checkpoint.
        Unavailable: the download broke off each time.
    """
    staging = yield from call(partial(_stage, target))
    try:
        archive = staging / "checkpoint.tar"
        yield from _fetch(exchange, Request("GET", path), archive)
        yield from call(partial(_unpack, archive, target))
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def _fetch(exchange: Exchange, request: Request, archive: Path) -> Op[None]:
    failures = 0
    while True:
        try:
            if (yield from exchange.stream(request, "application/x-tar")) is None:
                raise Unavailable(f"{exchange.url} sent no checkpoint. Try again.")
            with archive.open("wb") as file:
                while (chunk := (yield from read())) is not None:
                    yield from call(partial(file.write, chunk))
            return
        except (httpx.TransportError, Busy) as error:
            failures += 1
            yield from exchange.pause(failures, CALL, error)


def _stage(target: Path) -> Path:
    """A new folder beside `target`, on the same file system, so that a rename finishes the work."""
    if target.exists() and not target.is_dir():
        raise InvalidInput(f"{target} is a file. Name a new folder for the checkpoint.")
    if target.is_dir() and any(target.iterdir()):
        raise InvalidInput(f"{target} is not empty. Name a new folder for the checkpoint, or empty this one.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise InvalidInput(f"{target} can't be written: {error.strerror}.") from error


def _unpack(archive: Path, target: Path) -> None:
    content = archive.parent / "content"
    try:
        with tarfile.open(archive, "r:") as tar:
            tar.extractall(content, filter="data")
    except tarfile.FilterError as error:
        raise ToprungError(f"The checkpoint was refused, it would write outside its folder: {error}.") from error
    except tarfile.TarError as error:
        raise Unavailable(f"The checkpoint arrived damaged ({error}). Try again.") from error
    except OSError as error:
        raise InvalidInput(f"{target} can't be written: {error.strerror}.") from error
    try:
        content.mkdir(exist_ok=True)  # an empty tar makes no folder
        if target.is_dir():
            target.rmdir()
        content.rename(target)
    except OSError as error:
        raise InvalidInput(f"{target} can't be written: {error.strerror}. Was it made in the meantime?") from error
