"""A simulated person who annotates: knows the truth, scribbles, draws borders, clicks, and counts what it took."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy import ndimage

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.grid import Box
from ps3d_rt.core.metrics import count_overlaps, evaluate
from ps3d_rt.errors import InputError
from ps3d_training.annotate.edits import bounding_box
from ps3d_training.annotate.labels import LabelEditor
from ps3d_training.annotate.scribbles import BACKGROUND, PARTICLE, ScribbleClassifier
from ps3d_training.annotate.split import split_by_marks, split_by_stroke

STROKES_AT_FIRST, STROKES_MORE, ROUNDS, STROKE_VOXELS = 24, 24, 5, 12
MOST_SCRIBBLED = 0.005
"""Share of the voxels."""
LEAST_FACES = 12
"""A contact with fewer voxel faces is none that a person would look for."""
PARTED_F1 = 0.8
"""Least F1 of each of the two parts with its particle, for a contact to count as parted."""
REDRAW_EVERY = 3
"""A particle is redrawn with one stroke in every third slice; what lies between is filled in."""
GOAL = 0.98
BEYOND = 2.0
"""Voxels that a border is drawn past the contact at both ends."""


def scribble(image: Array, truth: Array, seed: int) -> tuple[Array, dict[str, Any]]:
    """Scribble, look at what is found, scribble where it is wrong, and so on.

    Returns:
        (z, y, x) percent, and F1 over voxels, strokes and the share of voxels scribbled.
    """
    draw, classifier = np.random.default_rng(seed), ScribbleClassifier(image)
    inside, scribbles = truth > 0, np.zeros(truth.shape, np.uint8)
    wrong, strokes, history = np.ones(truth.shape, np.bool_), 0, []
    for turn in range(ROUNDS):
        for number in range(STROKES_MORE if turn else STROKES_AT_FIRST):
            kind = number % 2 == 0
            places = np.argwhere(wrong & (inside == kind)) if turn else np.argwhere(inside == kind)
            if len(places):
                _stroke(scribbles, inside == kind, draw.choice(places), PARTICLE if kind else BACKGROUND, draw)
                strokes += 1
        likely = classifier.classify(scribbles)
        wrong = (likely >= 50) != inside
        share = np.count_nonzero(scribbles) / scribbles.size
        history.append(_f1(likely >= 50, inside))
        if share > MOST_SCRIBBLED - 2 * STROKES_MORE * STROKE_VOXELS / scribbles.size:
            break
    return likely, {"f1": history[-1], "by_round": history, "strokes": strokes, "share_scribbled": share}


def _stroke(scribbles: Array, allowed: Array, start: Array, value: int, draw: Any) -> None:
    """Draw a straight line in one slice, both ways from a place, as far as it is allowed."""
    angle = draw.uniform(0, np.pi)
    for way in (1, -1):
        for k in range(STROKE_VOXELS // 2):
            z, y, x = np.rint(start + way * k * np.array([0, np.sin(angle), np.cos(angle)])).astype(int)
            if not (0 <= y < allowed.shape[1] and 0 <= x < allowed.shape[2] and allowed[z, y, x]):
                break
            scribbles[z, y, x] = value


def contacts(truth: Array) -> Iterator[tuple[int, int, Array]]:
    """List pairs of particles that touch, with the voxels of the first that have a face to the second."""
    pairs, places = [], []
    for axis in range(3):
        for way in (0, 1):
            first, second = np.moveaxis(truth, axis, 0)[:-1], np.moveaxis(truth, axis, 0)[1:]
            own, other = (first, second) if way == 0 else (second, first)
            met = np.argwhere((own != other) & (own > 0) & (other > 0) & (own < other))
            ids = own[tuple(met.T)], other[tuple(met.T)]
            met[:, 0] += way
            pairs.append(np.stack(ids, axis=1))
            places.append(np.insert(met[:, 1:], axis, met[:, 0], axis=1))
    pair, place = np.concatenate(pairs).astype(np.int64), np.concatenate(places)
    if not len(pair):
        return
    found, row, count = np.unique(pair, axis=0, return_inverse=True, return_counts=True)
    for number in np.flatnonzero(count >= LEAST_FACES):
        yield int(found[number, 0]), int(found[number, 1]), place[row.ravel() == number].astype(float)


def drawn_border(places: Array) -> Array:
    """Draw a contact in the slice where it is longest and thinnest: end, middle, end, a little past both."""
    best, stroke = -np.inf, places[:2]
    for axis in range(3):
        planes = places[:, axis].astype(int)
        cut = places[planes == np.bincount(planes).argmax()]
        off = cut - cut.mean(axis=0)
        direction = np.linalg.svd(off, full_matrices=False)[2][0]
        along = off @ direction
        thick = float(np.abs(off - along[:, None] * direction).max())
        if np.ptp(along) - 2 * thick > best and np.ptp(along) >= 1:
            best, past = float(np.ptp(along) - 2 * thick), BEYOND * direction
            stroke = np.stack([cut[along.argmin()] - past, cut.mean(axis=0), cut[along.argmax()] + past])
            stroke[:, axis] = cut[0, axis]
    return stroke


def part_contacts(truth: Array, image: Array) -> dict[str, Any]:
    """Merge every touching pair and part it again, with a stroke, and with two marks.

    Returns:
        for both: share parted, and the mean over the contacts of the mean distance between drawn and true border.
    """
    rows: dict[str, list[tuple[bool, float]]] = {"stroke": [], "marks": []}
    for first, second, places in contacts(truth):
        box = bounding_box((truth == first) | (truth == second))
        if box is None:
            continue
        local = np.where(np.isin(truth[box.slices], (first, second)), truth[box.slices], 0)
        mask, start = local > 0, np.array(box.start, float)
        stroke, marks = drawn_border(places) - start, np.array([_inside(local == k) for k in (first, second)], float)
        ways: dict[str, Callable[[], Array]] = {
            "stroke": partial(split_by_stroke, mask, stroke, image=image[box.slices]),
            "marks": partial(split_by_marks, mask, marks),
        }
        for name, way in ways.items():
            try:
                rows[name].append(_parted(way(), local, first, second))
            except InputError:
                rows[name].append((False, np.nan))
    return {"contacts": len(rows["stroke"])} | {
        name: {
            "parted": float(np.mean([good for good, _ in found])) if found else None,
            "boundary_error_voxels": float(np.nanmean([error for _, error in found])) if found else None,
        }
        for name, found in rows.items()
    }


def _parted(parts: Array, truth: Array, first: int, second: int) -> tuple[bool, float]:
    same, turned = ([_f1(parts == a, truth == first), _f1(parts == b, truth == second)] for a, b in ((1, 2), (2, 1)))
    true_border, border = _border(truth), _border(parts)
    error = ndimage.distance_transform_edt(~true_border)[border].mean() if border.any() else np.nan
    return max(min(same), min(turned)) >= PARTED_F1, float(error)


def _border(labels: Array) -> Array:
    """Mark voxels of a particle that have a face to another one."""
    found = np.zeros(labels.shape, np.bool_)
    for axis in range(3):
        view, ids = np.moveaxis(found, axis, 0), np.moveaxis(labels, axis, 0)
        met = (ids[:-1] != ids[1:]) & (ids[:-1] > 0) & (ids[1:] > 0)
        view[:-1] |= met
        view[1:] |= met
    return found


@dataclass
class Effort:
    """What it took."""

    clicks: int = 0
    strokes: int = 0
    redrawn: int = 0
    """Particles that were drawn anew; their strokes are counted above."""

    @property
    def actions(self) -> int:
        return self.clicks + self.strokes


class Corrector:
    """Corrects labels until they agree with the truth."""

    def __init__(self, labels: Array, image: Array, truth: Array, particle_size_voxels: float) -> None:
        self.editor, self.truth = LabelEditor(labels.astype(np.uint32), image), truth
        self.reach = int(np.ceil(1.5 * particle_size_voxels))
        self.effort = Effort()
        self.borders = {(a, b): places for a, b, places in contacts(truth)}

    def score(self) -> float:
        return evaluate(self.editor.labels, self.truth).f1_instance

    def work(self) -> dict[str, Any]:
        """Mend what is merged, split, false or missed; then redraw the worst shapes, until the goal is reached.

        Returns:
            F1_instance and actions: at first, when every particle is found alone, and in the end.
        """
        scores, actions = [self.score()], [self.effort.actions]
        for step in (self._part_merged, self._join_split, self._drop_false, self._add_missed, self._part_merged):
            for _ in range(4):
                if not step():
                    break
        scores, actions = [*scores, self.score()], [*actions, self.effort.actions]
        while self.score() < GOAL and self._redraw_worst():
            self._drop_false()
        return {
            "f1_instance": [*scores, self.score()],
            "actions": [*actions, self.effort.actions],
            "clicks": self.effort.clicks,
            "strokes": self.effort.strokes,
            "redrawn": self.effort.redrawn,
        }

    def _pairs(self) -> tuple[Array, Array, Array, Array, Array]:
        """Overlaps: found, true, shared voxels, and the sizes of both."""
        table = count_overlaps(self.editor.labels, self.truth)
        q, p, shared = (column.astype(np.int64) for column in (table.prediction, table.reference, table.voxels))
        sizes = np.bincount(q, shared)[q], np.bincount(p, shared)[p]
        both = (q > 0) & (p > 0)
        return q[both], p[both], shared[both], sizes[0][both], sizes[1][both]

    def _part_merged(self) -> int:
        q, p, shared, _, true_size = self._pairs()
        owned = 2 * shared > true_size
        done = 0
        for found in np.unique(q[owned]):
            members = sorted(p[owned & (q == found)].tolist())
            pairs = [(a, b) for a in members for b in members if a < b]
            if pairs:
                touching = [pair for pair in pairs if pair in self.borders]
                done += self._part(int(found), (touching or pairs)[0], drawn=bool(touching))
        return done

    def _part(self, label: int, pair: tuple[int, int], *, drawn: bool) -> int:
        try:
            if drawn:
                self.effort.strokes += 1
                self.editor.split(label, drawn_border(self.borders[pair]))
            else:
                self.effort.clicks += 2
                held = self.editor.labels == label
                self.editor.split_at(label, np.array([_inside(held & (self.truth == k)) for k in pair], float))
        except InputError:
            self._redraw(pair[0])
        return 1

    def _join_split(self) -> int:
        q, p, shared, found_size, _ = self._pairs()
        piece, done = 2 * shared > found_size, 0
        for particle in np.unique(p[piece]):
            members = q[piece & (p == particle)].tolist()
            if len(members) > 1:
                self.effort.clicks += len(members)
                self.editor.merge(members)
                done += 1
        return done

    def _drop_false(self) -> int:
        q, _, shared, found_size, true_size = self._pairs()
        sensible = set(q[2 * shared / (found_size + true_size) >= 0.1].tolist())
        false = [label for label in self.editor.numbers if label not in sensible]
        for label in false:
            self.effort.clicks += 1
            self.editor.delete(label)
        return len(false)

    def _add_missed(self) -> int:
        _, p, shared, found_size, true_size = self._pairs()
        known = set(p[2 * shared / (found_size + true_size) >= 0.1].tolist())
        missed = [int(k) for k in np.setdiff1d(self.truth, [0]) if int(k) not in known]
        for particle in missed:
            own = self.truth == particle
            if self.editor.labels[tuple(_inside(own))]:
                continue  # grown with a neighbour: to be parted
            try:
                z, y, x = _inside(own)
                self.effort.clicks += 1
                self.editor.add((z, y, x), self.reach)
            except InputError:
                self._redraw(particle)
        return 0

    def _redraw_worst(self) -> bool:
        _, p, shared, found_size, true_size = self._pairs()
        best: dict[int, float] = dict.fromkeys(np.setdiff1d(self.truth, [0]).tolist(), 0.0)
        for particle, value in zip(p.tolist(), (2 * shared / (found_size + true_size)).tolist(), strict=True):
            best[particle] = max(best[particle], value)
        worst = sorted((value, particle) for particle, value in best.items() if value < 1)[:8]
        for _, particle in worst:
            self._redraw(particle)
        return bool(worst)

    def _redraw(self, particle: int) -> None:
        """Draw one particle as it is; what was drawn over shrinks."""
        box = bounding_box(self.truth == particle)
        assert box is not None
        ids, shared = np.unique(self.editor.labels[self.truth == particle], return_counts=True)
        keep = int(ids[shared.argmax()])
        if keep == 0 or 2 * shared.max() < np.count_nonzero(self.editor.labels == keep):
            keep = self.editor.new_label()  # what lies there is mostly something else
        whole = Box.of_shape(self.truth.shape)
        known = self.editor.box(keep)
        reach = box if known is None else _union(box, known)
        after = self.editor.labels[reach.intersect(whole).slices].copy()
        after[after == keep] = 0
        after[self.truth[reach.slices] == particle] = keep
        self.effort.strokes += -(-box.shape[0] // REDRAW_EVERY)
        self.effort.redrawn += 1
        with suppress(InputError):  # it was right
            self.editor.write("paint", reach, after)


def _union(a: Box, b: Box) -> Box:
    start = tuple(min(k, m) for k, m in zip(a.start, b.start, strict=True))
    stop = tuple(max(k, m) for k, m in zip(a.stop, b.stop, strict=True))
    return Box(start, stop)  # type: ignore[arg-type]


def _inside(mask: Array) -> Array:
    """Give the voxel deepest inside."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1, 1:-1]
    return np.array(np.unravel_index(np.argmax(depth), mask.shape))


def _f1(found: Array, truth: Array) -> float:
    total = np.count_nonzero(found) + np.count_nonzero(truth)
    return 2 * np.count_nonzero(found & truth) / total if total else 1.0
