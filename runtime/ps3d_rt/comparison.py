"""Outputs beside each other: read, pooled by sample, compared, and written as one page and tables."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isclose, isfinite
from pathlib import Path

import numpy as np

from ps3d_rt.core.compare.partition import Partition, Separation, separate
from ps3d_rt.core.compare.sample import ComparedSample
from ps3d_rt.core.compare.statistics import Difference, Drawn, difference, statistics_of
from ps3d_rt.core.compare.two_sample import TwoSampleTest, two_sample_test
from ps3d_rt.core.minerals.frames import Frame
from ps3d_rt.errors import InputError
from ps3d_rt.io.atomic_write import atomic_write
from ps3d_rt.io.frames import write_frame
from ps3d_rt.io.table import read_table
from ps3d_rt.mineralogy.folder import read_minerals
from ps3d_rt.report.comparison import ComparisonPage, Pair, render_comparison
from ps3d_rt.run_folder import MARK
from ps3d_rt.run_record import RunRecord, read_record
from ps3d_rt.versions import versions

ROLES = ("feed", "concentrate", "tailings")
PAGE = "comparison.html"
_COLUMNS = ("output", "sample", "role", "mass")


@dataclass(frozen=True)
class Listed:
    """One output in a list of samples."""

    output: Path
    sample: str
    """Outputs of one name are scans of one sample, and pooled."""
    role: str = ""
    """One of :data:`ROLES`, or empty."""
    mass: float | None = None
    """Of the whole product, in any unit; for the yield."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Samples beside each other; the first is what the others are compared with."""

    samples: tuple[ComparedSample, ...]
    statistics: tuple[Drawn, ...]
    """Of each sample."""
    differences: tuple[Difference, ...]
    """Of each sample but the first, from the first."""
    tests: tuple[TwoSampleTest, ...]
    """The same pairs."""
    separation: Separation | None
    """With concentrate and tailings, and the feed or masses."""
    notes: tuple[str, ...]
    """What a person must know."""

    def frames(self) -> dict[str, Frame]:
        """Give all numbers as tables: ``statistics``, ``differences``, ``tests``, ``partition``, ``recovery``."""
        names = [sample.name for sample in self.samples]
        frames = {
            "statistics": _statistics(names, self.statistics),
            "differences": _differences(names, self.differences),
            "tests": _tests(names, self.tests),
        }
        if self.separation is not None:
            frames |= _separation(self.samples[0].minerals, self.separation)
        return {name: frame for name, frame in frames.items() if frame}

    def page(self) -> str:
        """Render one self-contained HTML page."""
        pairs = [
            Pair(sample.name, change, test)
            for sample, change, test in zip(self.samples[1:], self.differences, self.tests, strict=True)
        ]
        byline = f"Comparison · {datetime.now(UTC):%Y-%m-%d %H:%M} UTC · ps3d-rt {versions()['ps3d-rt']}"
        return render_comparison(
            ComparisonPage(self.samples, self.statistics, pairs, self.separation, self.notes, byline)
        )

    def write(self, folder: Path, *, overwrite: bool = False) -> None:
        """Write page and tables.

        Raises:
            InputError: if the folder is there and ``overwrite`` is not given.
        """
        with atomic_write(folder, overwrite=overwrite) as partial:
            partial.mkdir()
            for name, frame in self.frames().items():
                write_frame(frame, partial, name)
            (partial / PAGE).write_text(self.page(), encoding="utf-8", newline="\n")


def compare(outputs: Sequence[Listed], *, edge_correction: bool = True) -> Comparison:
    """Compare outputs.

    Args:
        outputs: listed, two samples or more; the feed, or else the first, is what the others are compared with.
        edge_correction: leave out particles that a face cuts, and weigh the others for them.

    Raises:
        InputError: if an output is none, they have different spacings, models or minerals, or roles make no sense.
    """
    names = list(dict.fromkeys(entry.sample for entry in outputs))
    if len(names) < 2:
        raise InputError(f"{len(names)} sample is given; give at least two to compare.")
    roles = _roles(outputs)
    read = [_read(entry, edge_correction) for entry in outputs]
    _check_alike(read)
    notes = _checked_minerals(read)
    pooled = {name: ComparedSample.pooled([r.sample for r in read if r.listed.sample == name]) for name in names}
    if "feed" in roles:
        names = [roles["feed"], *(name for name in names if name != roles["feed"])]
    samples = tuple(pooled[name] for name in names)
    drawn = tuple(statistics_of(sample, seed=k) for k, sample in enumerate(samples))
    rest = range(1, len(samples))
    return Comparison(
        samples=samples,
        statistics=drawn,
        differences=tuple(difference(drawn[0], drawn[k]) for k in rest),
        tests=tuple(two_sample_test(samples[0], samples[k]) for k in rest),
        separation=_separated(outputs, roles, pooled),
        notes=notes,
    )


@dataclass(frozen=True, eq=False)
class _Read:
    listed: Listed
    record: RunRecord
    sample: ComparedSample
    phases: object
    """Of its minerals, as JSON; None without."""


def _read(entry: Listed, edge_correction: bool) -> _Read:
    if not (entry.output / MARK).is_file():
        raise InputError(f"{entry.output} has no {MARK}; give folders that `ps3d-rt predict` wrote.")
    record, table = read_record(entry.output / MARK), read_table(entry.output)
    z, y, x = (int(n) for n in record.scan.shape)
    found = read_minerals(entry.output)
    table_of_minerals = None if found is None else found.particles
    if table_of_minerals is not None and len(table_of_minerals) != len(table):
        raise InputError(f"{entry.output}: its minerals are of another run; run `ps3d-rt minerals` with --overwrite.")
    shape = (z, y, x) if edge_correction else None
    sample = ComparedSample.from_scan(entry.sample, table, shape, table_of_minerals)
    return _Read(entry, record, sample, None if found is None else found.record["phases"])


def _check_alike(read: Sequence[_Read]) -> None:
    """Refuse outputs whose sizes or rules are not those of the first."""
    first = read[0]
    for other in read[1:]:
        sides = [tuple(float(side) for side in r.record.scan.spacing_mm) for r in (first, other)]
        if not all(isclose(a, b, rel_tol=1e-3) for a, b in zip(*sides, strict=True)):
            raise InputError(
                f"{first.listed.output} has voxels of {_mm(sides[0])} and {other.listed.output} of {_mm(sides[1])}: "
                "small particles that one scan shows are not seen in the other. Scan both alike, or resample one."
            )
        models = [None if r.record.model is None else r.record.model.sha256 for r in (first, other)]
        if models[0] != models[1]:
            raise InputError(
                f"{first.listed.output} and {other.listed.output} were segmented by different models; run `ps3d-rt "
                "predict` with one model for both."
            )


def _mm(sides: tuple[float, ...]) -> str:
    return " × ".join(f"{side:g}" for side in sides) + " mm"


def _checked_minerals(read: Sequence[_Read]) -> tuple[str, ...]:
    """Refuse minerals that only some have, or of other names; say if ranges differ."""
    having = [r for r in read if r.sample.minerals]
    if having and len(having) < len(read):
        without = next(r for r in read if not r.sample.minerals)
        raise InputError(
            f"{having[0].listed.output} has minerals and {without.listed.output} has none; run `ps3d-rt minerals "
            f"{without.listed.output}` with the same phases."
        )
    for other in having[1:]:
        if other.sample.minerals != having[0].sample.minerals:
            lists = " and ".join(", ".join(r.sample.minerals) for r in (having[0], other))
            raise InputError(
                f"{having[0].listed.output} and {other.listed.output} have different minerals: {lists}. Use one "
                "phases.json for both."
            )
    if any(r.phases != having[0].phases for r in having[1:]):
        return ("The minerals of the samples were found with different ranges or densities; see each phases.json.",)
    return ()


def _roles(listed: Sequence[Listed]) -> dict[str, str]:
    """Role → sample."""
    roles: dict[str, str] = {}
    for entry in listed:
        if not entry.role:
            continue
        if entry.role not in ROLES:
            raise InputError(f"{entry.output} has the role {entry.role!r}; roles are {', '.join(ROLES)}, or none.")
        if roles.setdefault(entry.role, entry.sample) != entry.sample:
            raise InputError(
                f"both {roles[entry.role]} and {entry.sample} are called {entry.role}; give scans of a sample one name."
            )
    if len(set(roles.values())) < len(roles):
        raise InputError("one sample has two roles; give each role to a sample of its own.")
    return roles


def _separated(listed: Sequence[Listed], roles: dict[str, str], pooled: dict[str, ComparedSample]) -> Separation | None:
    if not {"concentrate", "tailings"} <= roles.keys():
        return None
    masses = {entry.role: entry.mass for entry in listed if entry.role and entry.mass is not None}
    given = None
    if {"concentrate", "tailings"} <= masses.keys():
        up, down = masses["concentrate"] or 0.0, masses["tailings"] or 0.0
        given = up / (up + down)
    elif {"concentrate", "feed"} <= masses.keys():
        given = (masses["concentrate"] or 0.0) / (masses["feed"] or 1.0)
    if given is not None and not 0 < given < 1:
        raise InputError(f"by the masses given, the yield of the concentrate is {given:g}; it must be between 0 and 1.")
    feed = pooled[roles["feed"]] if "feed" in roles else None
    if feed is None and given is None:
        return None
    return separate(feed, pooled[roles["concentrate"]], pooled[roles["tailings"]], given)


def listed(outputs: Sequence[Path]) -> list[Listed]:
    """List outputs, named after their folders if these have different names; a single CSV file is read as a list.

    Raises:
        InputError: as :func:`read_list`.
    """
    if len(outputs) == 1 and outputs[0].suffix.lower() == ".csv":
        return read_list(outputs[0])
    different = len({folder.name for folder in outputs}) == len(outputs)
    return [Listed(folder, folder.name if different else str(folder)) for folder in outputs]


def read_list(path: Path) -> list[Listed]:
    """Read ``samples.csv``: output, and if wanted sample, role and mass; paths are relative to the file.

    Raises:
        InputError: if it cannot be read, or a column or a number is wrong.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV; look after it – {error}") from error
    if not rows or "output" not in rows[0]:
        raise InputError(f"{path} must have a line {','.join(_COLUMNS)} and a line an output; all but output may lack.")
    if unknown := [str(name) for name in rows[0] if name not in _COLUMNS]:
        raise InputError(f"{path} has the column {unknown[0]!r}; columns are {', '.join(_COLUMNS)}.")
    return [_listed(row, path) for row in rows]


def _listed(row: dict[str, str | None], path: Path) -> Listed:
    values = {name: (row.get(name) or "").strip() for name in _COLUMNS}
    mass = None
    if values["mass"]:
        try:
            mass = float(values["mass"])
        except ValueError:
            mass = float("nan")
        if not (isfinite(mass) and mass > 0):
            raise InputError(f"{path}: {values['output']} has the mass {values['mass']!r}; give a number above 0.")
    if "\0" in values["output"]:
        raise InputError(f"{path}: the output {values['output']!r} is no path; give the folder that predict wrote.")
    output = path.parent / values["output"]
    return Listed(output, values["sample"] or output.name, values["role"].lower(), mass)


def _statistics(names: Sequence[str], drawn: Sequence[Drawn]) -> Frame:
    count = len(drawn[0].names)
    ends = [one.ends for one in drawn]
    return {
        "sample": np.repeat(names, count),
        "statistic": np.tile(drawn[0].names, len(names)),
        "value": np.concatenate([one.found for one in drawn]),
        "low": np.concatenate([low for low, _ in ends]),
        "high": np.concatenate([high for _, high in ends]),
    }


def _differences(names: Sequence[str], changes: Sequence[Difference]) -> Frame:
    count = len(changes[0].names)
    return {
        "sample": np.repeat(names[1:], count),
        "against": np.repeat(names[:1], count * len(changes)),
        "statistic": np.tile(changes[0].names, len(changes)),
        "difference": np.concatenate([change.found for change in changes]),
        "low": np.concatenate([change.low for change in changes]),
        "high": np.concatenate([change.high for change in changes]),
        "particles_needed": np.concatenate([change.needed for change in changes]),
    }


def _tests(names: Sequence[str], tests: Sequence[TwoSampleTest]) -> Frame:
    count = len(tests[0].names)
    return {
        "sample": np.repeat(names[1:], count),
        "against": np.repeat(names[:1], count * len(tests)),
        "property": np.tile(tests[0].names, len(tests)),
        "distance": np.concatenate([test.distances for test in tests]),
        "chance": np.concatenate([test.chances for test in tests]),
        "chance_of_all": np.repeat([test.chance for test in tests], count),
    }


def _separation(minerals: Sequence[str], found: Separation) -> dict[str, Frame]:
    curves = {"size_mm": found.by_size, "density_g_per_cm3": found.by_density}
    parts = [_curve(name, curve) for name, curve in curves.items() if curve is not None]
    frames: dict[str, Frame] = {"partition": {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}}
    low, high = found.by_size.limits[:-1], found.by_size.limits[1:]
    if minerals:
        frames["recovery"] = {
            "mineral": np.array(minerals),
            "recovery": found.recovery[:, 0],
            "low": found.recovery[:, 1],
            "high": found.recovery[:, 2],
        }
        frames["recovery_by_size"] = {
            "size_low_mm": np.repeat(low, len(minerals)),
            "size_high_mm": np.repeat(high, len(minerals)),
            "mineral": np.tile(minerals, len(low)),
            "recovery": found.recovery_by_size.ravel(),
        }
    frames["yield"] = {
        "yield": np.array([found.concentrate_yield]),
        "low": np.array([found.yield_low]),
        "high": np.array([found.yield_high]),
    }
    return frames


def _curve(name: str, curve: Partition) -> Frame:
    return {
        "property": np.repeat([name], len(curve.found)),
        "from": curve.limits[:-1],
        "to": curve.limits[1:],
        "mean": curve.middles,
        "to_concentrate": curve.found,
        "low": curve.low,
        "high": curve.high,
    }
