"""Exports read by the tools themselves, where these are installed (requirements/export-tools.txt)."""

import json

import numpy as np
import pytest

from wsss_jobs.exports.export import ExportRequest, export_masks

pytestmark = pytest.mark.long
CLASS_NAMES = ("cat", "dog", 'odd & "quoted"')


@pytest.fixture
def exported(job, tmp_path):
    """Exports into a folder; returns it."""

    def export(format_name):
        export_masks(job, ExportRequest(format_name, str(tmp_path / "out")))
        return tmp_path / "out"

    return export


def test_label_studio_sdk_decodes_the_brushes(exported, masks):
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    values = {"cat": 1, "dog": 2, CLASS_NAMES[2]: 3, "ignore": 255}
    for task in json.loads((exported("label_studio") / "tasks-00000.json").read_text()):
        expected_HW = masks[task["data"]["source_key"]]
        if expected_HW.size > 10_000:
            continue  # the decoder takes seconds
        # What the SDK's exporter hands its decoder: regions with their value merged in.
        regions = [region | region["value"] for region in task["predictions"][0]["result"]]
        layers = brush.decode_from_annotation("tag", regions)
        label_HW = np.zeros_like(expected_HW)
        for name, alpha_HW in layers.items():
            label_HW[alpha_HW > 0] = values[name.removeprefix("tag-").removesuffix("-0")]
        np.testing.assert_array_equal(label_HW, expected_HW)


def test_label_studio_sdk_accepts_the_predictions(exported):
    interface = pytest.importorskip("label_studio_sdk.label_interface")
    folder = exported("label_studio")
    config = interface.LabelInterface((folder / "label_config.xml").read_text())
    for task in json.loads((folder / "tasks-00000.json").read_text()):
        assert config.validate_prediction(task["predictions"][0], return_errors=True) == []


def test_datumaro_reads_the_archive_as_cvat_does(exported, masks, tmp_path):
    datumaro = pytest.importorskip("datumaro")
    import zipfile

    with zipfile.ZipFile(exported("cvat") / "cvat_masks.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    dataset = datumaro.Dataset.import_from(str(tmp_path / "unpacked"), "voc_instance_segmentation")
    names = [label.name for label in dataset.categories()[datumaro.AnnotationType.label]]
    values = dict(zip(["background", *CLASS_NAMES, "ignore"], [0, 1, 2, 3, 255], strict=True))
    found = {}
    for item in dataset:
        label_HW = np.zeros(masks[item.id].shape, dtype=np.uint8)
        for annotation in item.annotations:
            assert names[annotation.label] != "background"
            label_HW[annotation.image.astype(bool)] = values[names[annotation.label]]
        found[item.id] = label_HW
    assert sorted(found) == sorted(masks)
    for key, label_HW in masks.items():
        np.testing.assert_array_equal(found[key], label_HW, err_msg=key)


def test_fiftyone_reads_the_folder(exported, masks):
    importers = pytest.importorskip("fiftyone.utils.data.importers")
    folder = exported("fiftyone")
    found = {}
    importer = importers.ImageSegmentationDirectoryImporter(dataset_dir=str(folder), compute_metadata=True)
    with importer:
        for image_path, metadata, segmentation in importer:
            key = image_path.removeprefix(f"{folder}/data/").rpartition(".")[0]
            found[key] = segmentation.get_mask()
            assert (metadata.height, metadata.width) == found[key].shape
    assert sorted(found) == sorted(masks)
    for key, label_HW in masks.items():
        np.testing.assert_array_equal(found[key], label_HW, err_msg=key)
