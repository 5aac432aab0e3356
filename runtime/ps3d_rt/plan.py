"""The plan of a run, made before it starts: grids, patches, sweeps, chunks, memory."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import Any

from ps3d_rt.cluster import Cluster
from ps3d_rt.core.chunks import ChunkGrid
from ps3d_rt.core.distribution import PLAIN_SIZES, SizeOptions
from ps3d_rt.core.gray import GrayBins
from ps3d_rt.core.grid import PatchLattice, Sweep, Zyx, plan_sweeps
from ps3d_rt.core.minerals.phases import PhasesAsked
from ps3d_rt.core.normalize import normalized_shape, size_zoom
from ps3d_rt.core.resample import Zoom
from ps3d_rt.devices.budget import DeviceBudget, RunBudget
from ps3d_rt.devices.placement import budget_of
from ps3d_rt.errors import InputError, Ps3dError
from ps3d_rt.io.base import SpacingMm
from ps3d_rt.io.table_files import CSV_ONLY, TableFiles
from ps3d_rt.memory import DEFAULT_BYTES, MemoryPlan, most_particles
from ps3d_rt.model import ModelBundle

WORK_SHARD: Zyx = (64, 256, 256)
"""Voxels that a task writes whole in the working arrays: sweeps and chunks start at multiples of it."""

_SMALLEST_PARTICLE_MM, _LARGEST_PARTICLE_MM = 5e-4, 50.0


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """How one volume is segmented. Built once at the edge, passed down unchanged."""

    spacing_mm: SpacingMm
    """Side lengths of a voxel, z, y, x."""
    particle_size_mm: float | None
    """Rough mean diameter of the particles; None if it is to be estimated first."""
    overlap: float
    """Least share of a patch covered again by the next one, in [0, 1)."""
    embedding: float | None = None
    """Gray value of what the particles lie in; None: it is looked for."""
    dark: bool = False
    """The particles are darker than it."""
    gray_bins: GrayBins | None = None
    """Of the particles' gray histograms; None: chosen from the scan. Never changes a label."""
    sizes: SizeOptions = PLAIN_SIZES
    """Of the size distribution. Never changes a label."""
    files: TableFiles = CSV_ONLY
    """Of the table, for other programs, if the run goes into a folder."""
    phases: PhasesAsked | None = None
    """Of the minerals, if the run goes into a folder and they are wanted. Never changes a label."""
    skip_empty: bool = True
    """Leave out patches without contrast; the labels are the same, the run is shorter."""
    store: str | None = None
    """Address of the object store for the working arrays; None: beside the output."""
    chunk: int = 256
    """Side of a chunk in which particles are put together, voxels of the normalized volume; rounded up to shards."""
    workers: int = 1
    """Processes; 1 works in this one. Never changes a label."""
    cluster: Cluster | None = None
    """Where the tasks go instead; then all that is said of memory and threads is of each worker."""
    cluster_by_default: bool = False
    """Nobody said how many workers to cut for: a run that goes on is cut as it was when it began."""
    threads: int | None = None
    """CPU threads of the run; None takes all cores."""
    memory_bytes: int = DEFAULT_BYTES
    """What a run may take of the machine's memory: decides sweeps and how many tasks run at a time, never a label."""
    memory_by_default: bool = False
    """Nobody asked for it: a run that goes on keeps the budget that it began with, whatever is free by then."""
    gpu_memory_bytes: int = 12 * 2**30
    """What a run may take of a GPU: decides sweeps and chunks, never a label; means nothing without a GPU."""

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise InputError(f"the chunk is {self.chunk} voxels wide; pass a side of 1 or more, such as 256.")
        if self.workers < 1:
            raise InputError(f"workers is {self.workers}; 1 or more is needed.")

    @property
    def network_bytes(self) -> int:
        """What the network and the patches of a call may take of a GPU; an engine chooses its batch by it."""
        return self.gpu_memory_bytes // 4


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """Grids, patches, sweeps and chunks of one run: follows from the shape of the volume, the model and the config."""

    source: Zyx
    """Shape of the scan."""
    zoom: Zoom
    """Normalized voxels per source voxel."""
    shape: Zyx
    """Of the normalized volume."""
    lattice: PatchLattice
    sweeps: tuple[Sweep, ...]
    chunks: ChunkGrid
    """Of the normalized volume, for the particles."""
    shard: Zyx
    """Of the working arrays."""
    budget: DeviceBudget
    """Memory of the devices."""
    devices: tuple[str, ...]
    """What the network and the particles are computed on: ``cpu``, or GPUs, a process each if there are several."""
    memory: MemoryPlan
    particles: int
    """That fill the scan if all are as large as the run was told; memory is planned for them until they are counted."""

    @classmethod
    def for_shape(
        cls,
        source: Zyx,
        bytes_per_voxel: int,
        model: ModelBundle,
        config: PredictConfig,
        devices: tuple[str, ...] = ("cpu",),
    ) -> RunPlan:
        """Plan a run.

        Args:
            source: shape of the scan, z, y, x.
            bytes_per_voxel: of the scan.
            model: patch and target size.
            config: spacing, particle size, overlap, chunk, workers, budget of GPU memory.
            devices: where the network runs, ``cpu`` or one GPU or more.

        Raises:
            InputError: if the particle size does not fit the volume, a budget of memory is too small, or worker
                processes are asked for beside GPUs.
        """
        size_mm = check_particle_size(source, config)
        budget = budget_of(devices, _run_budget(config))
        zoom = size_zoom(config.spacing_mm, size_mm, model.target_size_voxels)
        shape = normalized_shape(source, zoom)
        lattice = PatchLattice.plan(shape, model.patch, config.overlap)
        column_bytes = _column_bytes(model.patch[0], zoom, bytes_per_voxel)
        plane_voxels = max(1, budget.sweep_bytes // column_bytes)
        chunks = ChunkGrid(shape, budget.chunk)
        sweepers = budget.processes if config.cluster is None else config.cluster.workers
        plan = cls(
            source=source,
            zoom=zoom,
            shape=shape,
            lattice=lattice,
            sweeps=plan_sweeps(lattice, shape, WORK_SHARD, workers=sweepers, most_plane_voxels=plane_voxels),
            chunks=chunks,
            shard=WORK_SHARD,
            budget=budget,
            devices=devices,
            particles=most_particles(source, config.spacing_mm, size_mm),
            memory=MemoryPlan.for_budget(config.memory_bytes, config.workers, chunks, source, bytes_per_voxel),
        )
        plan._check_memory(column_bytes)
        return plan

    def _check_memory(self, column_bytes: int) -> None:
        """Refuse a budget that does not hold the narrowest sweep of every process, or the smallest chunk."""
        memory = self.memory
        sweeps = self.budget.host_sweeps * self.widest_plane * column_bytes
        need = memory.base_bytes + max(sweeps, memory.chunk_bytes)
        if need > memory.budget_bytes:
            fewer = ", or fewer --workers" if memory.workers > 1 else ""
            raise InputError(
                f"a budget of {memory.budget_bytes / 2**30:.2f} GiB of memory does not hold the planes of "
                f"{memory.workers} sweep(s) at a time and a chunk; pass --memory {_next_tenth(need)} or more{fewer}."
            )

    @property
    def widest_plane(self) -> int:
        """Voxels of the largest plane that a sweep reads."""
        return max(prod(self.lattice.read_box(sweep.write).shape[1:]) for sweep in self.sweeps)

    @property
    def patches(self) -> int:
        """Patches to compute: those of the lattice, and those on seams between sweeps once more."""
        return sum(self.lattice.count_touching(sweep.write) for sweep in self.sweeps)

    @property
    def seam_factor(self) -> float:
        """Patches to compute over patches of the lattice."""
        return self.patches / self.lattice.count

    def column_bytes(self, bytes_per_voxel: int) -> int:
        """Memory of a sweep for one voxel of a normalized plane; ``bytes_per_voxel`` are those of the scan."""
        return _column_bytes(self.lattice.patch[0], self.zoom, bytes_per_voxel)

    def identity(self) -> dict[str, Any]:
        """Give what decides the list of tasks and their results, as JSON."""
        return {
            "source": self.source,
            "zoom": self.zoom,
            "shape": self.shape,
            "patch": self.lattice.patch,
            "starts": self.lattice.starts,
            "sweeps": [(sweep.write.start, sweep.write.stop) for sweep in self.sweeps],
            "chunk": self.chunks.chunk,
            "shard": self.shard,
        }


def _column_bytes(patch_planes: int, zoom: Zoom, bytes_per_voxel: int) -> int:
    """Memory of a sweep for one voxel of a normalized plane.

    Two sums and about three layers of patches, all float32 and a patch deep: the layer that is scored, the one that is
    read ahead, and the one that is cut into patches; beside them a slab of 64 source planes.
    """
    ring, layers = 2 * 4 * patch_planes, 3 * 4 * patch_planes
    return ring + layers + ceil(64 * bytes_per_voxel / (zoom[1] * zoom[2]))


def _next_tenth(size: int) -> float:
    """Round up to tenths of a GiB.

    >>> _next_tenth(2**30 + 1)
    1.1
    """
    return ceil(10 * size / 2**30) / 10


def _run_budget(config: PredictConfig) -> RunBudget:
    return RunBudget(
        memory_bytes=config.memory_bytes,
        gpu_memory_bytes=config.gpu_memory_bytes,
        workers=config.workers,
        chunk=_whole_shards(config.chunk),
        shard=WORK_SHARD,
    )


def _whole_shards(side: int) -> Zyx:
    z, y, x = (-(-side // n) * n for n in WORK_SHARD)
    return z, y, x


def check_particle_size(shape: Zyx, config: PredictConfig) -> float:
    """Return the particle size, mm; refuse one that the volume cannot hold, or that no voxel grid can show."""
    if config.particle_size_mm is None:
        raise Ps3dError("the particle size is to be estimated before the run is planned.")
    sides = [n * s for n, s in zip(shape, config.spacing_mm, strict=True)]
    if not config.particle_size_mm > 0:
        raise InputError(f"the particle size is {config.particle_size_mm} mm; pass a length above 0 mm.")
    if config.particle_size_mm > max(sides):
        raise InputError(
            f"the particle size is {config.particle_size_mm:g} mm, but the volume's longest side is only "
            f"{max(sides):g} mm ({max(shape)} voxels); check --particle-size and --spacing, both are in mm."
        )
    if config.particle_size_mm < 2 * min(config.spacing_mm):
        raise InputError(
            f"the particle size is {config.particle_size_mm:g} mm, less than two voxels of "
            f"{min(config.spacing_mm):g} mm; check --particle-size and --spacing, both are in mm."
        )
    return config.particle_size_mm


def particle_size_warnings(particle_size_mm: float) -> list[str]:
    """Say so if particles are larger or smaller than those in micro-CT: most often the unit is another one.

    >>> particle_size_warnings(0.3)
    []
    """
    if _SMALLEST_PARTICLE_MM <= particle_size_mm <= _LARGEST_PARTICLE_MM:
        return []
    return [
        f"the particle size is {particle_size_mm:g} mm; in micro-CT it is 0.0005 to 50 mm. Lengths are in mm: "
        "for 300 µm pass --particle-size 0.3."
    ]
