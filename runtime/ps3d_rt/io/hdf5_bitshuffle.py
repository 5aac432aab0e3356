"""Checks HDF5 chunks before bitshuffle decodes them: its plugin ends the process at one whose lengths are damaged.

A chunk begins with its decoded size (8 bytes) and the size of a block (4 bytes). Each block is its packed length (4
bytes) and so many bytes. Up to seven values that fill no eight stand at the end as they are. Numbers are big-endian.
Source: https://github.com/kiyo-masui/bitshuffle, ``bshuf_h5filter.c`` and ``bitshuffle_core.c``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from struct import Struct

import h5py

BITSHUFFLE = 32008
_PACKED = (2, 3)
"""Its numbers of LZ4 and Zstandard. Without either there are no lengths to follow."""
_MULTIPLE = 8
_HEAD, _LENGTH = Struct(">QI"), Struct(">I")


@dataclass(frozen=True, slots=True)
class BitshuffledChunks:
    """The chunks of a dataset, and how the plugin decodes them.

    Attributes:
        dataset: open.
        index: of bitshuffle among the filters of the dataset.
        value_bytes: of the values that are shuffled, from the settings of the filter.
        is_packed: whether each block is compressed too.
    """

    dataset: h5py.Dataset
    index: int
    value_bytes: int
    is_packed: bool

    def check(self, where: tuple[int | slice, ...]) -> None:
        """Check every chunk that a read of ``where``, one entry an axis of the dataset, decodes.

        Raises:
            ValueError: if the plugin would read beyond the end of one.
        """
        if not self.value_bytes:
            raise ValueError("the settings of bitshuffle name values of 0 bytes")
        if not self.is_packed:
            return
        sides, stored = self.dataset.chunks, self.dataset.id
        decoded_bytes = prod(sides) * stored.get_type().get_size()
        spans = [slice(at, at + 1) if isinstance(at, int) else at for at in where]
        starts = [range(at.start // side * side, at.stop, side) for at, side in zip(spans, sides, strict=True)]
        for start in product(*starts):
            if not stored.get_chunk_info_by_coord(start).size:
                continue  # never written
            skipped, chunk = stored.read_direct_chunk(start)
            if not skipped >> self.index & 1 and not blocks_fit(chunk, decoded_bytes, self.value_bytes):
                raise ValueError(f"the chunk at {start} does not hold the blocks that it says it has")


def bitshuffled(dataset: h5py.Dataset) -> BitshuffledChunks | None:
    """Return the chunks of ``dataset`` if bitshuffle is among its filters."""
    settings = dataset.id.get_create_plist()
    for index in range(settings.get_nfilters()):
        code, _, values, _ = settings.get_filter(index)
        if code == BITSHUFFLE:
            return BitshuffledChunks(dataset, index, (*values, 0, 0, 0)[2], len(values) > 4 and values[4] in _PACKED)
    return None


def blocks_fit(chunk: bytes, decoded_bytes: int, value_bytes: int) -> bool:
    """Say whether all blocks that decode to ``decoded_bytes`` lie inside a chunk.

    >>> blocks_fit(bytes([*[0] * 7, 16, 0, 0, 0, 16, 0, 0, 0, 3, 1, 2, 3]), 16, 2)
    True
    >>> blocks_fit(bytes([*[0] * 7, 16, 0, 0, 0, 16, 0, 0, 0, 4, 1, 2, 3]), 16, 2)
    False
    """
    if len(chunk) < _HEAD.size or decoded_bytes % value_bytes:
        return False
    said_bytes, block_bytes = _HEAD.unpack_from(chunk)
    block = block_bytes // value_bytes
    if said_bytes != decoded_bytes or not block or block % _MULTIPLE:
        return False
    values = decoded_bytes // value_bytes
    left = values % _MULTIPLE
    at = _HEAD.size
    for _ in range(0, values - left, block):
        if at + _LENGTH.size > len(chunk):
            return False
        at += _LENGTH.size + _LENGTH.unpack_from(chunk, at)[0]
    return at + left * value_bytes <= len(chunk)
