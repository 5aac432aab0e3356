"""Where the samples of the bundled model come from: kinds of simulated ones, and how many of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from ps3d_training.synth.kinds import of_kind
from ps3d_training.synth.physics import PhysicsSpec, random_physics_spec
from ps3d_training.synth.spec import SampleSpec

LEAST_CONTRAST = 1.5
"""Over the noise of 2×2×2 voxels; what stands out less teaches to see things."""
ANOTHER = 50_000
"""From the first seed of a source to seeds that no recipe of a plausible length trains on."""


@dataclass(frozen=True)
class Source:
    """Samples of one kind."""

    spec: Callable[[int], SampleSpec | PhysicsSpec]
    """Of a seed."""
    share: float
    """Of all samples."""
    first_seed: int


SOURCES = (
    Source(partial(random_physics_spec, kind="dense"), 0.2, 1_000_000),
    Source(partial(random_physics_spec, kind="wide"), 0.15, 1_100_000),
    Source(partial(random_physics_spec, kind="loose"), 0.15, 1_200_000),
    Source(random_physics_spec, 0.1, 1_300_000),
    Source(partial(of_kind, "loose"), 0.1, 1_400_000),
    Source(partial(of_kind, "touching"), 0.14, 1_500_000),
    Source(partial(of_kind, "small"), 0.06, 1_600_000),
    Source(partial(of_kind, "minerals"), 0.08, 1_700_000),
    Source(partial(of_kind, "spacers"), 0.02, 1_800_000),
)


def draw_specs(sources: Sequence[Source], count: int, offset: int = ANOTHER) -> Iterator[SampleSpec | PhysicsSpec]:
    """Draw specs in the shares of their sources, each kind spread over all of them.

    Args:
        sources: to draw from; their shares need not add up to one.
        count: of the specs.
        offset: of the seeds from the first one of each source.
    """
    whole = sum(source.share for source in sources)
    owed = [0.0] * len(sources)
    drawn = [0] * len(sources)
    for _ in range(count):
        owed = [debt + source.share / whole for debt, source in zip(owed, sources, strict=True)]
        k = max(range(len(sources)), key=owed.__getitem__)
        owed[k] -= 1
        yield sources[k].spec(sources[k].first_seed + offset + drawn[k])
        drawn[k] += 1
