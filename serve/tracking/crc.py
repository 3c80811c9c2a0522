"""CRC-32C, which each record of an event file carries twice.

TensorBoard without TensorFlow computes it in plain Python, 1.5 MB/s: an image would keep the tracker for a second. Here
the text is cut into lanes that NumPy works on side by side, and the lanes are put together (a CRC is linear: appending
zeros is a matrix over bits).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c as by_bytes

_LANE = 1024
_SHORT = 4 * _LANE
_POLYNOMIAL = 0x82F63B78  # Castagnoli's, reflected: RFC 3720, B.4


def masked_crc32c(data: bytes) -> int:
    """As in a TFRecord: https://www.tensorflow.org/tutorials/load_data/tfrecord"""
    if len(data) < _SHORT:
        value: int = by_bytes(data)
        return value
    crc = _crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _crc32c(data: bytes) -> int:
    num_lanes = -(-len(data) // _LANE)
    lanes = np.zeros(num_lanes * _LANE, np.uint8)  # zeros in front of everything don't count
    lanes[-len(data) :] = np.frombuffer(data, np.uint8)
    start = len(lanes) - len(data)
    lanes[start : start + 4] ^= 0xFF  # the same as a register that begins with ones
    crcs = np.zeros(num_lanes, np.uint32)
    for column in lanes.reshape(num_lanes, _LANE).T:
        crcs = _TABLE[(crcs ^ column) & 0xFF] ^ (crcs >> 8)
    whole = 0
    for crc in crcs.tolist():
        whole = (
            _PAST_A_LANE[0][whole & 0xFF]
            ^ _PAST_A_LANE[1][whole >> 8 & 0xFF]
            ^ _PAST_A_LANE[2][whole >> 16 & 0xFF]
            ^ _PAST_A_LANE[3][whole >> 24]
            ^ crc
        )
    return whole ^ 0xFFFFFFFF


def _table() -> NDArray[np.uint32]:
    """What each byte does to the register."""
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = np.where(values & 1, values >> 1 ^ np.uint32(_POLYNOMIAL), values >> 1)
    return values


def _past_a_lane() -> list[list[int]]:
    """What the register is after a lane of zeros, for each of its four bytes."""
    values = np.arange(256, dtype=np.uint32) << np.array([[0], [8], [16], [24]], np.uint32)
    for _ in range(_LANE):
        values = _TABLE[values & 0xFF] ^ (values >> 8)
    table: list[list[int]] = values.tolist()
    return table


_TABLE = _table()
_PAST_A_LANE = _past_a_lane()
