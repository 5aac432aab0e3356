"""The model bundle: a folder ``NAME.ps3d`` with ``model.json`` and ONNX files, or a zip of it.

Nothing in a bundle is ever unpickled or executed; every file's sha256 is checked before it is used.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from hashlib import file_digest, sha256
from importlib import resources
from math import isfinite, pi
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError
from ps3d_rt.io.atomic_write import atomic_write
from ps3d_rt.io.json_text import read_json
from ps3d_rt.io.names import is_plain_name
from ps3d_rt.io.read_errors import parse_errors
from ps3d_rt.io.zip_folder import unzip_folder

if TYPE_CHECKING:
    from ps3d_rt.core.particle_filter import ParticleFilter

SCHEMA_VERSION = 1
MANIFEST = "model.json"
SUFFIX = ".ps3d"
DEFAULT_MODEL = "default"
CLASS_NAMES = ("background", "core", "border")
GRAY_SCHEMES = ("volume", "constants", "embedding")
LATER = frozenset(
    {"gray_floor", "gray_ceiling", "mirror_axes", "core_bias", "min_confidence", "min_diameter_voxels"}
    | {"precisions", "gates", "training_statistics"}
)
"""Fields that the first bundles did not have: where one is missing, its default is meant."""
NOT_IN_MANIFEST = frozenset({"path", "warnings"})
"""Fields of a bundle that say where it is and what is to be known of it."""
RETIRED = {"max_doubt": "it dropped particles because they were large"}
"""Fields of earlier versions that have no effect any more, and why."""
MAX_UNPACKED_BYTES = 16 * 2**30


@dataclass(frozen=True, kw_only=True)
class ModelBundle:
    """A trained model and everything that must be known to run it: the content of ``model.json``.

    Raises:
        InputError: if a field is outside what it allows.
    """

    name: str
    """Short name; it serves as a file name."""
    patch: Zyx
    """Input of the network, voxels z, y, x of the normalized volume."""
    target_size_voxels: float
    """Mean particle diameter the volume is resampled to before the network sees it."""
    border_thickness_voxels: float
    """How thick the class border was at training, in voxels of the normalized volume."""
    members: tuple[str, ...]
    """ONNX files of the ensemble, in order; their scores are averaged. (B, 1, z, y, x) → (B, 3, z, y, x)."""
    precisions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Lower precision, such as ``int8`` → the members once more, in it, for a CPU."""
    gates: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Precision that a CPU can run the model in, ``bf16`` or one of ``precisions`` → the accuracy gate's verdict:
    ``passed``, and what was measured."""
    gray_scheme: str = "volume"
    """``volume``: robust z-score with each volume's own mean and std; ``constants``: with the two below;
    ``embedding``: counted from each volume's embedding and compressed."""
    gray_mean: float | None = None
    """Mean gray value of the training set, in the scanner's units; only with ``constants``."""
    gray_std: float | None = None
    """Standard deviation of the training set's gray values; only with ``constants``."""
    gray_floor: float | None = None
    """Value on the scale that darker voxels are raised to before the network sees them; None: none."""
    gray_ceiling: float | None = None
    """Standard deviations above the volume's mean that gray values are lowered to before both are measured again, > 0;
    only with ``volume``. None: none."""
    lowpass: bool = True
    """Whether shrinking by more than 1.5× low-passes first; False for imported models, trained without."""
    overlap: float = 0.25
    """Least share of a patch that the next one covers again, in [0, 1)."""
    min_relative_volume: float = 0.005
    """Particles under this share of the mean particle volume are dropped, in [0, 1)."""
    min_confidence: float = 0.0
    """Particles whose mean score of foreground is lower are dropped, in [0, 1); 0 keeps all, as published."""
    min_diameter_voxels: float = 0.0
    """Particles of less volume than a ball of this diameter, in voxels of the scan, are dropped; 0 keeps all."""
    mirror_axes: tuple[int, ...] = ()
    """Axes along which inference averages over mirror images, ascending: 0, 1, 2 for z, y, x; n axes are 2ⁿ passes."""
    core_bias: float = 0.0
    """Added to the mean score of the class core before the highest score wins, in (-1, 1)."""
    classes: tuple[str, ...] = CLASS_NAMES
    """What the network's three outputs mean, in order."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Where the model comes from: data, trainer, versions, scores. Free-form JSON."""
    training_statistics: dict[str, Any] = field(default_factory=dict)
    """What the training samples look like: :meth:`ps3d_rt.core.likeness.TrainingCloud.to_json`. Empty: not known, and
    no scan is compared with them."""
    licence: str = "Apache-2.0"
    """SPDX identifier under which the weights may be used."""
    schema_version: int = SCHEMA_VERSION
    """Version of this layout; other versions are refused."""
    sha256: dict[str, str] = field(default_factory=dict)
    """File name → sha256 in hexadecimal, for every file but ``model.json``. Filled by :func:`write_bundle`."""
    path: Path = Path()
    """Folder the bundle lies in. Not part of ``model.json``; set by :func:`load_model`."""
    warnings: tuple[str, ...] = ()
    """What a person who uses the bundle must know, such as fields that have no effect. Set by :func:`load_model`."""

    def __post_init__(self) -> None:
        for allowed, what in (
            (self.schema_version == SCHEMA_VERSION, f"schema_version is {self.schema_version}, not {SCHEMA_VERSION}"),
            (_is_plain_name(self.name), f"name is {self.name!r}, not a plain file name"),
            (all(n > 0 for n in self.patch), f"patch is {self.patch}, not three positive numbers of voxels"),
            (self.target_size_voxels > 0, f"target_size_voxels is {self.target_size_voxels}, not above 0"),
            (self.border_thickness_voxels > 0, f"border_thickness_voxels is {self.border_thickness_voxels}, not > 0"),
            (self.gray_scheme in GRAY_SCHEMES, f"gray_scheme is {self.gray_scheme!r}, not one of {GRAY_SCHEMES}"),
            (
                self._gray_is_complete(),
                "gray_mean and gray_std (> 0) belong to the gray_scheme 'constants', and only to it",
            ),
            (
                self.gray_ceiling is None or (self.gray_scheme == "volume" and self.gray_ceiling > 0),
                f"gray_ceiling is {self.gray_ceiling}, not above 0 with the gray_scheme 'volume'",
            ),
            (0 <= self.overlap < 1, f"overlap is {self.overlap}, not in [0, 1)"),
            (0 <= self.min_relative_volume < 1, f"min_relative_volume is {self.min_relative_volume}, not in [0, 1)"),
            (0 <= self.min_confidence < 1, f"min_confidence is {self.min_confidence}, not in [0, 1)"),
            (self.min_diameter_voxels >= 0, f"min_diameter_voxels is {self.min_diameter_voxels}, not 0 or more"),
            (
                self.mirror_axes == tuple(axis for axis in range(3) if axis in self.mirror_axes),
                f"mirror_axes is {self.mirror_axes}, not some of 0, 1, 2 in this order",
            ),
            (-1 < self.core_bias < 1, f"core_bias is {self.core_bias}, not in (-1, 1)"),
            (self.classes == CLASS_NAMES, f"classes are {self.classes}, not {CLASS_NAMES}"),
            (len(self.members) > 0, "members is empty; a model needs at least one ONNX file"),
            (
                all(len(files) == len(self.members) for files in self.precisions.values()),
                f"precisions are {self.precisions}, not one ONNX file for each of {self.members}",
            ),
            (all(map(_is_plain_name, (*self.networks, *self.sha256))), "a file name leaves the bundle's folder"),
        ):
            if not allowed:
                raise InputError(f"model {self.name!r}: {what}.")

    def _gray_is_complete(self) -> bool:
        if self.gray_scheme == "constants":
            return self.gray_mean is not None and self.gray_std is not None and self.gray_std > 0
        return self.gray_mean is None and self.gray_std is None

    @property
    def networks(self) -> tuple[str, ...]:
        """All ONNX files: the members, and those in lower precisions."""
        return (*self.members, *(name for files in self.precisions.values() for name in files))

    @property
    def onnx_paths(self) -> tuple[Path, ...]:
        """The members' files, in order."""
        return self.paths_in("fp32")

    def paths_in(self, precision: str) -> tuple[Path, ...]:
        """Give the files of the networks that are run for a precision, in the members' order."""
        return tuple(self.path / name for name in self.precisions.get(precision, self.members))

    @property
    def rules(self) -> ParticleFilter:
        """Which particles are dropped, in voxels of the scan."""
        # With it comes NumPy, which a command that only names models does without.
        from ps3d_rt.core.particle_filter import ParticleFilter  # noqa: PLC0415

        return ParticleFilter(
            min_relative_volume=self.min_relative_volume,
            min_confidence=self.min_confidence,
            min_voxels=pi / 6 * self.min_diameter_voxels**3,
        )

    @property
    def hash(self) -> str:
        """One sha256 for the model: over the members' sha256 in order."""
        return self.hash_in("fp32")

    def hash_in(self, precision: str) -> str:
        """Give one sha256 for the networks that are run for a precision. Goes into ``run.json``."""
        names = self.precisions.get(precision, self.members)
        return sha256("\n".join(self.sha256[name] for name in names).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Give the content of ``model.json``; fields that came later are left out where they change nothing."""
        told = (
            f
            for f in fields(self)
            if f.name not in NOT_IN_MANIFEST and (f.name not in LATER or getattr(self, f.name) not in (f.default, {}))
        )
        return {f.name: getattr(self, f.name) for f in told}

    def verify(self) -> None:
        """Check that every file is there and is the one that was written.

        Raises:
            InputError: naming the file, if one is missing, unlisted or changed.
        """
        for name in (*self.networks, *self.sha256):
            file = self.path / name
            if name not in self.sha256:
                raise InputError(f"{self.path}: {MANIFEST} lists no sha256 for {name}; export the model again.")
            if not file.is_file():
                raise InputError(f"{file} is missing, {MANIFEST} lists it; copy the whole bundle again.")
            if _file_sha256(file) != self.sha256[name]:
                raise InputError(f"{file} is not the file {MANIFEST} describes (sha256); copy the bundle again.")


def bundled_models() -> tuple[str, ...]:
    """Names of the models that come with ps3d-rt, sorted."""
    folder = _bundled_folder()
    return tuple(sorted(p.stem for p in folder.glob(f"*{SUFFIX}"))) if folder.is_dir() else ()


def load_model(name_or_path: str | Path | None = None) -> ModelBundle:
    """Read and verify a bundle.

    Args:
        name_or_path: a bundled model's name (None means ``default``), or the path of a bundle's folder or zip.

    Raises:
        InputError: if there is no such bundle, or it is not whole.
    """
    wanted = DEFAULT_MODEL if name_or_path is None else name_or_path
    bundled = bundled_models()
    path = _bundled_folder() / f"{wanted}{SUFFIX}" if wanted in bundled else Path(wanted)
    if path.is_file():
        path = _unpack(path)
    if not path.is_dir():
        raise InputError(
            f"there is no model {str(wanted)!r}. Give the path of a {SUFFIX} folder or file, "
            f"or the name of a bundled model: {', '.join(bundled) or 'none is bundled'}."
        )
    bundle = replace(_read_manifest(path / MANIFEST), path=path)
    bundle.verify()
    return bundle


def write_bundle(
    folder: Path, bundle: ModelBundle, files: Mapping[str, Path], *, overwrite: bool = False
) -> ModelBundle:
    """Write a bundle; it appears under its name only when it is complete.

    Args:
        folder: the bundle's folder, ``NAME.ps3d``.
        bundle: the description; its ``sha256`` and ``path`` are filled in here.
        files: name inside the bundle → file to copy; all of ``bundle.networks``, and others if wanted.
        overwrite: replace a bundle that is there.

    Returns:
        The bundle as :func:`load_model` reads it.

    Raises:
        InputError: if a member has no file, or the folder exists and may not be replaced.
    """
    missing = [name for name in bundle.networks if name not in files]
    if missing:
        raise InputError(f"model {bundle.name!r}: no file given for the networks {missing}.")
    check_place(folder, overwrite=overwrite)
    # replace() runs the checks again, now over every file name, before anything is written.
    bundle = replace(bundle, sha256={name: _file_sha256(source) for name, source in files.items()})
    with atomic_write(folder, overwrite=overwrite) as unfinished:
        unfinished.mkdir()
        for name, source in files.items():
            shutil.copyfile(source, unfinished / name)
        text = json.dumps(bundle.to_json(), indent=2, allow_nan=False)
        (unfinished / MANIFEST).write_text(text + "\n", encoding="utf-8", newline="\n")
    return load_model(folder)


def check_place(folder: Path, *, overwrite: bool = False) -> None:
    """Refuse a place that :func:`write_bundle` cannot write to: before long work, not after it.

    Raises:
        InputError: if it is not a ``NAME.ps3d``, or it exists and may not be replaced.
    """
    if folder.suffix != SUFFIX:
        raise InputError(f"{folder}: a bundle's folder ends in {SUFFIX}.")
    if folder.exists() and not (overwrite and (folder / MANIFEST).is_file()):
        raise InputError(f"{folder} exists; choose another name, or --overwrite if it is a model bundle.")


def _bundled_folder() -> Path:
    return Path(str(resources.files("ps3d_rt"))) / "models"


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _is_plain_name(name: str) -> bool:
    """Whether ``name`` may be that of a file beside the manifest."""
    return name != MANIFEST and is_plain_name(name)


def _read_manifest(manifest: Path) -> ModelBundle:
    """Parse ``model.json``; every way it can be wrong is an InputError that names the file."""
    try:
        with parse_errors(manifest, "valid JSON", "copy or export the bundle again"):
            content = read_json(manifest)
    except FileNotFoundError as error:
        raise InputError(f"{manifest.parent} has no {MANIFEST}; it is not a model bundle.") from error
    if not isinstance(content, dict):
        raise InputError(f"{manifest} holds a {type(content).__name__}, not an object; export the bundle again.")
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{manifest}: schema_version is {version!r}, this ps3d-rt reads {SCHEMA_VERSION}; "
            "update ps3d-rt or export the model again."
        )
    warnings = tuple(
        f"model {content.get('name')!r}: its setting {name} has no effect any more; {why}."
        for name, why in RETIRED.items()
        if content.pop(name, 0)
    )
    kinds = _kinds()
    missing, unknown = kinds.keys() - content.keys() - LATER, content.keys() - kinds.keys()
    if missing or unknown:
        raise InputError(
            f"{manifest}: missing fields {sorted(missing)}, unknown fields {sorted(unknown)}; "
            "export the model again, or update ps3d-rt if the model is newer."
        )
    return ModelBundle(**{key: _decode(manifest, key, kinds[key], content[key]) for key in content}, warnings=warnings)


def _kinds() -> dict[str, Any]:
    """Type of every field of ``model.json``."""
    hints = get_type_hints(ModelBundle)
    return {f.name: hints[f.name] for f in fields(ModelBundle) if f.name not in NOT_IN_MANIFEST}


def _decode(manifest: Path, key: str, kind: Any, value: Any) -> Any:
    """Take a value of JSON for what its field holds; nothing is turned into something else but 1 into 1.0."""
    import msgspec  # noqa: PLC0415 - it takes a tenth of the time of `ps3d-rt --help`, which reads no model

    try:
        found = msgspec.convert(value, kind)
        if isinstance(found, float) and not isfinite(found):
            raise ValueError(found)
    except ValueError as error:  # msgspec's are, too
        allowed = _ALLOWED[kind]
        raise InputError(f"{manifest}: {key} is {value!r}, not {allowed}; export the model again.") from error
    return found


_ALLOWED: dict[Any, str] = {
    str: "a text",
    int: "a whole number",
    bool: "true or false",
    float: "a finite number",
    float | None: "a finite number or null",
    Zyx: "a list of three whole numbers",
    tuple[int, ...]: "a list of whole numbers",
    tuple[str, ...]: "a list of texts",
    dict[str, Any]: "an object",
    dict[str, str]: "an object of texts",
    dict[str, tuple[str, ...]]: "an object of lists of texts",
    dict[str, dict[str, Any]]: "an object of objects",
}


def _unpack(archive: Path) -> Path:
    """Extract a zipped bundle to a temporary folder that goes when the process ends."""
    scratch = tempfile.TemporaryDirectory(prefix="ps3d-rt-model-", ignore_cleanup_errors=True)
    atexit.register(scratch.cleanup)
    folder = Path(scratch.name) / f"{archive.stem}{SUFFIX}"
    folder.mkdir()
    unzip_folder(archive, folder, f"a {SUFFIX} folder", MAX_UNPACKED_BYTES)
    return folder
