"""Writes OLE (compound) files, version 3, as [MS-CFB] describes them: enough for the layout of Zeiss's files."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
SECTOR, MINI, CUTOFF = 512, 64, 4096
FREE, END, FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD


def ole_file(streams: dict[str, bytes]) -> bytes:
    """Make a file of ``storage/stream`` → content; storages are one level deep."""
    table: list[int] = []
    body = bytearray()

    def put(data: bytes) -> int:
        """Append ``data`` in sectors of their own; return the first."""
        if not data:
            return END
        first, count = len(table), -(-len(data) // SECTOR)
        table.extend([*range(first + 1, first + count), END])
        body.extend(data.ljust(count * SECTOR, b"\0"))
        return first

    small, small_table, places = bytearray(), [], {}
    for name, data in streams.items():
        if len(data) >= CUTOFF:
            places[name] = put(data)
            continue
        first, count = len(small_table), max(1, -(-len(data) // MINI))
        small_table += [*range(first + 1, first + count), END]
        small += data.ljust(count * MINI, b"\0")
        places[name] = first
    small_at = put(bytes(small))
    small_table_at = put(struct.pack(f"<{len(small_table)}I", *small_table).ljust(SECTOR, b"\xff"))
    entries = _directory(streams, places, small_at, len(small))
    directory_at = put(entries)
    fat_sectors = 1
    while (len(table) + fat_sectors) * 4 > fat_sectors * SECTOR:
        fat_sectors += 1
    fat_at = list(range(len(table), len(table) + fat_sectors))
    table += [FAT] * fat_sectors
    body += struct.pack(f"<{len(table)}I", *table).ljust(fat_sectors * SECTOR, b"\xff")
    head = struct.pack(
        "<8s16xHHHHH6xIII", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0x3E, 3, 0xFFFE, 9, 6, 0, fat_sectors, directory_at
    )
    small_sectors = -(-len(small_table) * 4 // SECTOR)
    head += struct.pack("<IIIIII", 0, CUTOFF, small_table_at, small_sectors, END, 0)
    return (head + struct.pack(f"<{fat_sectors}I", *fat_at)).ljust(SECTOR, b"\xff") + bytes(body)


def txm(image: np.ndarray[Any, Any], code: int, changes: dict[str, bytes | None]) -> bytes:
    """Make a file in the layout of a Zeiss ``.txm``.

    Args:
        image: (z, y, x).
        code: what the file says of the type.
        changes: streams of ImageInfo that differ; None leaves one out.
    """
    info: dict[str, bytes | None] = {
        "ImageWidth": struct.pack("<I", image.shape[2]),
        "ImageHeight": struct.pack("<I", image.shape[1]),
        "NoOfImages": struct.pack("<I", len(image)),
        "DataType": struct.pack("<I", code),
        "PixelSize": struct.pack("<f", 12.5),
    }
    streams = {f"ImageInfo/{name}": data for name, data in (info | changes).items() if data is not None}
    for number, page in enumerate(image, 1):
        streams[f"ImageData{-(-number // 100)}/Image{number}"] = page.tobytes()
    return ole_file(streams)


def _directory(streams: dict[str, bytes], places: dict[str, int], small_at: int, small_bytes: int) -> bytes:
    storages = list(dict.fromkeys(name.split("/")[0] for name in streams))
    entries = [("Root Entry", 5, FREE, 1, small_at, small_bytes)]
    first_child = 1 + len(storages)
    children = {storage: [name for name in streams if name.split("/")[0] == storage] for storage in storages}
    for index, storage in enumerate(storages):
        sibling = index + 2 if index + 1 < len(storages) else FREE
        entries.append((storage, 1, sibling, first_child, 0, 0))
        first_child += len(children[storage])
    for storage in storages:
        for index, name in enumerate(children[storage]):
            sibling = len(entries) + 1 if index + 1 < len(children[storage]) else FREE
            entries.append((name.split("/")[1], 2, sibling, FREE, places[name], len(streams[name])))
    packed = b"".join(_entry(*entry) for entry in entries)
    return packed.ljust(-(-len(packed) // SECTOR) * SECTOR, b"\0")


def _entry(name: str, kind: int, sibling: int, child: int, start: int, size_bytes: int) -> bytes:
    text = (name + "\0").encode("utf-16-le")
    return struct.pack("<64sHBBIII16xI8x8xIQ", text, len(text), kind, 1, FREE, sibling, child, 0, start, size_bytes)
