"""NVIDIA cards: which are there, and CuPy on one of them.

Looking costs milliseconds and leaves the cards alone: the driver is asked through its own library, no CUDA context is
made and CuPy is not imported. On a machine without a driver it ends at the library that does not load.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import Any

from ps3d_rt.core.arrays import card_of, namespace_of
from ps3d_rt.errors import CapabilityError, InputError

OWN_CARD = "cuda:0"
"""The card of a process that was started to work on one of several: it sees no other."""

_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # CUdevice_attribute
_NAME_BYTES = 256


@dataclass(frozen=True)
class Card:
    """One NVIDIA card, as its driver describes it."""

    index: int
    """Place among the cards that CUDA_VISIBLE_DEVICES leaves."""
    name: str
    capability: tuple[int, int]
    """Compute capability: (9, 0) for a Hopper card."""
    memory_bytes: int
    cuda: tuple[int, int]
    """Newest version of CUDA that the driver takes."""

    @property
    def device(self) -> str:
        """``cuda:N``."""
        return f"cuda:{self.index}"

    @property
    def identity(self) -> str:
        """Name and compute capability: what an engine compiled on this card is tied to."""
        return f"{self.name} {self.capability[0]}.{self.capability[1]}"


def find_cards() -> tuple[Card, ...]:
    """Ask the driver for its cards.

    Raises:
        CapabilityError: saying why, if there is no driver or it has no card.
    """
    driver = _load_driver()
    status = driver.cuInit(0)
    if status not in (0, _NO_DEVICE):
        raise CapabilityError(f"the NVIDIA driver does not start (cuInit says error {status}); try nvidia-smi.")
    count = 0 if status == _NO_DEVICE else _number(driver.cuDeviceGetCount)
    if count == 0:
        raise CapabilityError("the NVIDIA driver shows no card; look at nvidia-smi and CUDA_VISIBLE_DEVICES.")
    version = _number(driver.cuDriverGetVersion)
    return tuple(_describe(driver, index, (version // 1000, version % 1000 // 10)) for index in range(count))


def find_card(device: str) -> Card:
    """Find the card of ``cuda:N``; ``auto`` is the first.

    Raises:
        CapabilityError: saying why, if it is not there.
        InputError: if ``device`` is written in another way.
    """
    index = 0 if device == "auto" else card_of(device)
    if index is None:
        raise InputError("device is 'cpu'; a card is cuda:N, the first one cuda:0.")
    try:
        cards = find_cards()
    except CapabilityError as error:
        raise CapabilityError(f"device cuda:{index} is not there: {error}") from error
    if index >= len(cards):
        listed = ", ".join(f"{card.device} ({card.name})" for card in cards)
        raise CapabilityError(f"device cuda:{index} is not there; this machine has {listed}.")
    return cards[index]


def find_devices(device: str) -> tuple[str, ...]:
    """Take apart what a run is to work on: one device, or several cards of one kind.

    Args:
        device: ``auto``, ``cpu``, ``cuda:N``, several cards as ``cuda:0,cuda:1``, or ``cuda:all``.

    Returns:
        Each by its name; ``auto``, ``cpu`` and ``cuda:N`` as they are, and not looked for.

    Raises:
        CapabilityError: if one of several cards is not there.
        InputError: if the text is none of these, names a card twice, or the cards differ: then labels would depend on
            which card did what.
    """
    names = tuple(device.split(","))
    if device == "cuda:all":
        names = tuple(card.device for card in find_cards())
    if len(names) == 1:
        return names
    if None in map(card_of, names) or len(set(names)) < len(names):
        raise InputError(f"device is {device!r}; several devices are cards, each named once: cuda:0,cuda:1.")
    kinds = {name: find_card(name).identity for name in names}
    if len(set(kinds.values())) > 1:
        listed = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
        raise InputError(f"a run takes several cards of one kind only; these are {listed}. Name one, or equal ones.")
    return names


def variables_of(device: str, visible: str | None) -> dict[str, str]:
    """Give the environment of a process that sees one card only, as :data:`OWN_CARD`.

    Args:
        device: ``cuda:N``, as this process numbers its cards.
        visible: CUDA_VISIBLE_DEVICES of this process; None: not set.

    >>> variables_of("cuda:1", None), variables_of("cuda:1", "4,6")
    ({'CUDA_VISIBLE_DEVICES': '1'}, {'CUDA_VISIBLE_DEVICES': '6'})
    """
    number = card_of(device) or 0
    return {"CUDA_VISIBLE_DEVICES": str(number) if visible is None else visible.split(",")[number].strip()}


def load_cupy(card: Card) -> Any:
    """Import CuPy and let it open the card.

    Raises:
        CapabilityError: if CuPy does not load or cannot use the card.
    """
    cupy: Any = namespace_of(card.device)
    try:
        with cupy.cuda.Device(card.index):
            cupy.zeros(1, dtype=cupy.float32)
    except RuntimeError as error:  # CUDARuntimeError and its kin
        raise CapabilityError(
            f"CuPy {cupy.__version__} cannot use {card.device} ({card.name}, driver for CUDA "
            f"{card.cuda[0]}.{card.cuda[1]}): {error}; take the CuPy package of that CUDA version, or a newer driver."
        ) from error
    return cupy


def _load_driver() -> Any:
    try:
        return ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise CapabilityError(f"there is no NVIDIA driver ({_LIBRARY} does not load: {error}).") from error


def _number(ask: Any, *arguments: int, kind: Any = ctypes.c_int) -> int:
    """Call a function of the driver that writes one number to its first argument."""
    value = kind()
    status = ask(ctypes.byref(value), *arguments)
    if status != 0:
        raise CapabilityError(f"the NVIDIA driver refuses to describe its cards (error {status}); try nvidia-smi.")
    return int(value.value)


def _describe(driver: Any, index: int, cuda: tuple[int, int]) -> Card:
    handle = _number(driver.cuDeviceGet, index)
    name = ctypes.create_string_buffer(_NAME_BYTES)
    driver.cuDeviceGetName(name, _NAME_BYTES, handle)
    return Card(
        index,
        name.value.decode(errors="replace"),
        (
            _number(driver.cuDeviceGetAttribute, _CAPABILITY_MAJOR, handle),
            _number(driver.cuDeviceGetAttribute, _CAPABILITY_MINOR, handle),
        ),
        _number(driver.cuDeviceTotalMem_v2, handle, kind=ctypes.c_size_t),
        cuda,
    )
