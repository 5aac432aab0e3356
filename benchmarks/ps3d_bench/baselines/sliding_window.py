"""nnU-Net v2's own sliding window on the CPU, with the weights of one of our bundles.

Weights come from the bundle's ONNX file: its tensors keep the names of nnU-Net's network, which is built anew from the
training plan that the bundle carries. The window is nnU-Net's: a Gaussian of sigma patch/8, logits averaged in half
precision, and with mirroring 8 passes a window. Ours averages softmax scores in float32. So classes may differ where
two are nearly equal, and near the volume's edges, where half precision has no digits left for the Gaussian.
"""

from __future__ import annotations

import io
import time
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ps3d_rt.core.arrays import Array
from ps3d_rt.errors import InputError
from ps3d_rt.model import ModelBundle
from ps3d_training.capability import require_training_packages
from ps3d_training.plan import CONFIGURATION, LABELS, TrainingPlan, nnunet_plans, plan_from

if TYPE_CHECKING:
    import torch


MIRROR_AXES = (0, 1, 2)


@dataclass(frozen=True)
class Windows:
    """What one pass over a volume gave."""

    classes: Array
    """(z, y, x) uint8: 0 background, 1 core, 2 border."""
    seconds: float
    """Network and blending, without building the network."""
    windows: int
    """Patches; with mirroring each is computed 8 times."""


class SlidingWindow:
    """nnU-Net's predictor around the first member of a bundle.

    Args:
        bundle: made by ``ps3d-rt train export``; it carries the training plan.
        threads: of torch, for the whole process.

    Raises:
        CapabilityError: if torch or nnU-Net are not installed.
        InputError: if the bundle carries no plan, or the weights do not fit it.
    """

    def __init__(self, bundle: ModelBundle, *, threads: int = 2) -> None:
        require_training_packages()
        import torch  # noqa: PLC0415 - heavy

        torch.set_num_threads(threads)
        self._plan = replace(_plan_of(bundle), patch=bundle.patch, deep_supervision=False)
        self.network = _load_network(bundle, self._plan)
        """(n, 1, z, y, x) float32 → (n, 3, z, y, x) logits."""

    def predict_classes(self, volume: Array, *, overlap: float, mirror: bool) -> Windows:
        """Segment a volume that is normalized already.

        Args:
            volume: (z, y, x) float32.
            overlap: share of a patch covered again by the next one; nnU-Net's step size is the rest.
            mirror: average over the 8 mirror images of every patch.
        """
        import torch  # noqa: PLC0415 - heavy
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor  # noqa: PLC0415 - heavy
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager  # noqa: PLC0415 - heavy

        plans = PlansManager(nnunet_plans(self._plan))
        dataset = {"labels": LABELS, "channel_names": {"0": "CT"}, "numTraining": 1, "file_ending": ".nii.gz"}
        with redirect_stdout(io.StringIO()):  # it says that a CPU is not a GPU
            predictor = nnUNetPredictor(1 - overlap, use_mirroring=mirror, device=torch.device("cpu"), allow_tqdm=False)
            predictor.manual_initialization(
                self.network, plans, plans.get_configuration(CONFIGURATION), None, dataset, "", MIRROR_AXES
            )
            padded = tuple(max(n, p) for n, p in zip(volume.shape, self._plan.patch, strict=True))
            windows = len(predictor._internal_get_sliding_window_slicers(padded))
            start = time.perf_counter()
            logits = predictor.predict_sliding_window_return_logits(torch.from_numpy(volume)[None])
            classes = logits.argmax(0).to(torch.uint8).numpy()
            seconds = time.perf_counter() - start
        return Windows(classes, seconds, windows)


def _plan_of(bundle: ModelBundle) -> TrainingPlan:
    fields = bundle.provenance.get("training_plan")
    if not isinstance(fields, dict):
        raise InputError(
            f"model {bundle.name!r} does not say how it was trained, so nnU-Net's network cannot be built for it; "
            "use one that ps3d-rt train export wrote."
        )
    return plan_from(fields, bundle.path)


def _load_network(bundle: ModelBundle, plan: TrainingPlan) -> torch.nn.Module:
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans  # noqa: PLC0415 - heavy

    from ps3d_training.start import exported_weights  # noqa: PLC0415 - heavy

    architecture = nnunet_plans(plan)["configurations"][CONFIGURATION]["architecture"]
    network: torch.nn.Module = get_network_from_plans(
        architecture["network_class_name"],
        architecture["arch_kwargs"],
        architecture["_kw_requires_import"],
        1,
        3,
        deep_supervision=False,
    )
    network.load_state_dict(exported_weights(bundle.onnx_paths[0], network))
    return network.eval()
