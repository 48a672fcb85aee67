"""The layers of the gallery: what each step, the ground truth and the mistakes look like over a photo."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.quality.evaluate import read_truth
from wsss_jobs.records import INSTANCE_MASKS, Cams
from wsss_jobs.report.overlays import cam_overlay, label_overlay, mistake_overlay
from wsss_jobs.report.picture_sizes import Size, fit_cam, fit_grid_label, fit_label
from wsss_jobs.report.run_view import RunView
from wsss_jobs.report.steps import Step
from wsss_jobs.stage_io import StageFolder, stage_folder
from wsss_jobs.storage.object_store import ObjectStore

Draw = Callable[[DatasetItem, Size], NDArray[np.uint8]]


@dataclass(frozen=True)
class Layer:
    """One column of the gallery.

    Attributes:
        title: Its caption.
        name: The step that it shows, as evaluations name it; empty for ground truth, mistakes and instances.
        draw: Returns the overlay of an item; raises `ObjectNotFoundError` where it was not made.
        is_smooth: Whether it has many colours.
        is_mistakes: Whether its colours are those of mistakes, not of classes.
        is_instances: Whether each object has a colour of its own, whatever its class.
    """

    title: str
    name: str
    draw: Draw
    is_smooth: bool = False
    is_mistakes: bool = False
    is_instances: bool = False


def gallery_layers(view: RunView) -> tuple[Layer, ...]:
    """Returns the layers of a run, in the order of its plan; ground truth and mistakes last."""
    store = view.job.store
    layers = [layer for step in view.steps for layer in _step_layers(step, store)]
    if view.has_truth:
        layers.append(truth_layer())
    if any(item.boxes_xywh for item in view.job.dataset.items):
        layers.append(Layer("True boxes", "", _draw_true_boxes))
    if view.has_truth and view.final is not None:
        draw = partial(_draw_mistakes, stage_folder(view.final.stage, store), view.final.variant)
        layers.append(Layer("Mistakes", "", draw, is_mistakes=True))
    return tuple(layers)


def _step_layers(step: Step, run_store: ObjectStore) -> list[Layer]:
    """Returns how a step looks, and the instances that its mask stage stored beside its masks."""
    layers = [step_layer(step, run_store)]
    if step.name == step.stage.name and INSTANCE_MASKS in step.stage.extra_masks:
        draw = partial(_draw_label, stage_folder(step.stage, run_store), INSTANCE_MASKS)
        layers.append(Layer(f"Instances ({step.title})", "", draw, is_instances=True))
    return layers


def truth_layer() -> Layer:
    """Returns how ground truth looks."""
    return Layer("Ground truth", "", _draw_truth)


def step_layer(step: Step, run_store: ObjectStore) -> Layer:
    """Returns how the product of a step looks."""
    folder = stage_folder(step.stage, run_store)
    if step.kind == "cam":
        return Layer(step.title, step.name, partial(_draw_cams, folder), is_smooth=True)
    draw = partial(_draw_grid_label if step.kind == "partial" else _draw_label, folder, step.variant)
    return Layer(step.title, step.name, draw)


def _draw_cams(folder: StageFolder, item: DatasetItem, size: Size) -> NDArray[np.uint8]:
    cams = folder.read(item)
    assert isinstance(cams, Cams)
    return cam_overlay(fit_cam(cams.cam_Khw, item, size), cams.class_ids)


def _draw_label(folder: StageFolder, variant: str, item: DatasetItem, size: Size) -> NDArray[np.uint8]:
    return label_overlay(fit_label(folder.outputs.read_mask(item, variant), size))


def _draw_grid_label(folder: StageFolder, variant: str, item: DatasetItem, size: Size) -> NDArray[np.uint8]:
    return label_overlay(fit_grid_label(folder.outputs.read_mask(item, variant), item, size))


def _draw_truth(item: DatasetItem, size: Size) -> NDArray[np.uint8]:
    return label_overlay(fit_label(read_truth(item), size))


def _draw_true_boxes(item: DatasetItem, size: Size) -> NDArray[np.uint8]:
    """Returns the boxes as rectangles of the image's only class, or of the first one where it has several."""
    label_HW = np.zeros((item.height_px, item.width_px), dtype=np.uint8)
    for x, y, width, height in item.boxes_xywh:
        label_HW[round(y) : round(y + height), round(x) : round(x + width)] = item.labels[0] if item.labels else 1
    return label_overlay(fit_label(label_HW, size))


def _draw_mistakes(folder: StageFolder, variant: str, item: DatasetItem, size: Size) -> NDArray[np.uint8]:
    label_HW = fit_label(folder.outputs.read_mask(item, variant), size)
    return mistake_overlay(label_HW, fit_label(read_truth(item), size))
