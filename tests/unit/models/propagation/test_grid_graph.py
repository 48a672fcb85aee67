import numpy as np
import pytest
import torch

from models.errors import InvalidInputError


def test_numpy_arrays_become_tensors_and_read_only_ones_are_copied(graph_factory):
    label_hw = np.zeros((7, 9), np.uint8)
    features_Dhw = np.ones((2, 7, 9), np.float32)
    features_Dhw.flags.writeable = False
    graph = graph_factory(label_hw=label_hw, features_Dhw=features_Dhw)
    assert isinstance(graph.label_hw, torch.Tensor)
    graph.features_Dhw[0, 0, 0] = 5.0
    assert features_Dhw[0, 0, 0] == 1.0
    assert (graph.height, graph.width, graph.num_nodes, graph.num_features) == (7, 9, 63, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features_Dhw": torch.full((2, 7, 9), float("nan"))}, "features_Dhw holds NaN"),
        ({"features_Dhw": torch.full((2, 7, 9), float("inf"))}, "features_Dhw holds NaN or infinite"),
        ({"boundary_hw": torch.full((7, 9), float("nan"))}, "boundary_hw holds NaN"),
        ({"boundary_hw": torch.full((7, 9), 1.01)}, "boundary_hw must be in 0..1"),
        ({"boundary_hw": torch.zeros(7, 8)}, "boundary_hw must be"),
        ({"boundary_hw": None}, "exactly one of boundary_hw and affinity_Phw"),
        ({"affinity_Phw": torch.zeros(34, 7, 9)}, "exactly one of boundary_hw and affinity_Phw"),
        ({"boundary_hw": None, "affinity_Phw": torch.full((34, 7, 9), 2.0)}, "affinity_Phw must be in 0..1"),
        ({"features_Dhw": torch.zeros(2, 7, 8)}, "features_Dhw must be"),
        ({"features_Dhw": torch.zeros(0, 7, 9)}, "features_Dhw must be a non-empty"),
        ({"features_Dhw": torch.zeros(2, 7, 9, dtype=torch.int32)}, "features_Dhw must be"),
        ({"image_hw3": torch.zeros(7, 9, 3)}, "image_hw3 must be uint8"),
        ({"image_hw3": torch.zeros(9, 7, 3, dtype=torch.uint8)}, "image_hw3 must be uint8"),
        ({"label_hw": torch.zeros(7, 9)}, "label_hw must be"),
        ({"label_hw": torch.zeros(0, 9, dtype=torch.uint8)}, "label_hw must be a non-empty"),
        ({"label_hw": torch.full((7, 9), 255, dtype=torch.uint8)}, "no labelled cell"),
        ({"label_hw": torch.full((7, 9), 4, dtype=torch.uint8)}, "below num_classes=4 or 255, found 4"),
        ({"num_classes": 1}, "num_classes must be in 2..255"),
        ({"num_classes": 256}, "num_classes must be in 2..255"),
    ],
)
def test_rejects_bad_input_by_name_and_item(changes, message, graph_factory):
    with pytest.raises(InvalidInputError, match=f"item broken: {message}" if "holds" in message else message):
        graph_factory(item_id="broken", **changes)
