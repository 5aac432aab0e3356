"""SNOW, PoreSpy's marker-based watershed: it takes any foreground and needs no tuning.

Peaks of the smoothed distance to the background are the seeds, without those on saddles and those nearer to a higher
peak than to the background. Sigma and radius are the package's defaults. The end is ours, as for the other methods: a
piece of the foreground without a peak is one particle, where PoreSpy adds it to one nearby, and specks are removed.

Source: Gostick, "Versatile and efficient pore network extraction method using marker-based watershed segmentation",
Physical Review E 96 (2017) 023307.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ps3d_bench.baselines.watershed import completed
from ps3d_rt.core.arrays import Array


def snow(foreground: Array) -> Array:
    """Separate particles: (z, y, x) bool → int32 ids, 0 is background; ids may have gaps."""
    import porespy  # noqa: PLC0415 - takes seconds, and only this method needs it

    porespy.settings.tqdm["disable"] = True
    found = porespy.filters.snow_partitioning(foreground)
    pieces, count = ndimage.label(foreground)
    has_peak = np.zeros(count + 1, np.bool_)
    has_peak[pieces[np.asarray(found.peaks) > 0]] = True
    return completed(np.where(has_peak[pieces], found.regions, 0), foreground)
