"""Whether sums or tables of particles are the same, to the byte."""

from dataclasses import fields

import numpy as np

from ps3d_rt.core.measure import PartialSums


def arrays(item) -> dict[str, np.ndarray]:
    """Every array of sums or of a table, by name."""
    values = {field.name: getattr(item, field.name) for field in fields(item)}
    pairs = values.pop("contacts" if isinstance(item, PartialSums) else "contact_pairs")
    values |= {"pair_labels": pairs.labels, "pair_faces": pairs.faces}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def same(one, other) -> bool:
    a, b = arrays(one), arrays(other)
    equal = [a[name].dtype == b[name].dtype and np.array_equal(a[name], b[name]) for name in a if name in b]
    return list(a) == list(b) and all(equal) and one.gray_bins == other.gray_bins
