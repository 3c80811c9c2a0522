"""Ids and names of sweeps.

An id is `swp_` and 26 characters of Crockford's base 32: 48 bits of milliseconds, then 80 random bits. Ids grow in the
order of creation, over all processes and also when the clock is set back: the caller passes the newest id there is.
"""

from __future__ import annotations

import re
import secrets
import time

from toprung.tuning.spec import SweepSpec

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PREFIX = "swp_"
_LENGTH = 26
_RANDOM_BITS = 80
_NAME_LENGTH = 63
_SUFFIX_LENGTH = 4


def new_sweep_id(newest: str | None) -> str:
    """A fresh id that sorts after `newest`."""
    number = time.time_ns() // 1_000_000 << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    if newest is not None:
        number = max(number, _decode(newest.removeprefix(PREFIX)) + 1)
    return PREFIX + _encode(number)


def readable_name(spec: SweepSpec) -> str:
    """A name for a sweep without one: what it trains and a few characters, `train-digits-k3x9`."""
    attribute = spec.trainable.rpartition(":")[2]
    slug = re.sub(r"[^a-z0-9]+", "-", attribute.lower())[: _NAME_LENGTH - _SUFFIX_LENGTH - 1].strip("-")
    suffix = "".join(secrets.choice(ALPHABET) for _ in range(_SUFFIX_LENGTH))
    return f"{slug or 'sweep'}-{suffix}"


def _encode(number: int) -> str:
    return "".join(ALPHABET[number >> 5 * place & 31] for place in reversed(range(_LENGTH)))


def _decode(text: str) -> int:
    number = 0
    for character in text:
        number = number << 5 | ALPHABET.index(character)
    return number
