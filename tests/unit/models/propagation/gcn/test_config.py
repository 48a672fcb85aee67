import dataclasses

import pytest
from pydantic import TypeAdapter, ValidationError

from models.errors import InvalidInputError
from models.propagation.config import AffinityGraphConfig
from models.propagation.gcn.config import LOSS_FORMS, GCNConfig


def test_defaults_are_the_papers_training():
    config = GCNConfig()
    assert (config.num_steps, config.hidden_channels, config.dropout) == (250, 16, 0.3)
    assert (config.learning_rate, config.weight_decay) == (0.01, 5e-4)
    assert (config.entropy_weight, config.laplacian_weight) == (10.0, 0.01)
    assert config.tolerance is None


def test_loss_form_and_its_single_choices():
    assert GCNConfig().loss == LOSS_FORMS["released"]
    assert GCNConfig(loss_form="paper").loss == LOSS_FORMS["paper"]
    mixed = GCNConfig(loss_form="paper", laplacian_on="log_prob", space_denominator=20.0).loss
    assert mixed == dataclasses.replace(LOSS_FORMS["paper"], laplacian_on="log_prob", space_denominator=20.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_steps": -1},
        {"hidden_channels": 0},
        {"dropout": 1.0},
        {"learning_rate": 0.0},
        {"weight_decay": -1.0},
        {"entropy_weight": -1.0},
        {"laplacian_weight": -0.1},
        {"foreground_weight": -1.0},
        {"background_weight": -1.0},
        {"laplacian_radius": 0},
        {"tolerance": 0.0},
        {"color_denominator": 0.0},
        {"space_denominator": -2.0},
        {"color_scale": 0.0},
        {"compute_dtype": "float64", "backend": "auto"},
        {"affinity_dtype": "bfloat16", "graph": AffinityGraphConfig(graph="walk")},
        {"backend": "tensorflow"},
    ],
)
def test_rejects(changes):
    with pytest.raises(InvalidInputError, match=next(iter(changes))):
        GCNConfig(**changes)


def test_recipes_can_hold_it_and_unknown_keys_are_refused():
    adapter = TypeAdapter(GCNConfig)
    config = adapter.validate_python({"num_steps": 10, "graph": {"radius": 3}})
    assert config == GCNConfig(num_steps=10, graph=AffinityGraphConfig(radius=3))
    for wrong in ({"steps": 10}, {"graph": {"hops": 1}}):
        with pytest.raises(ValidationError, match="Unexpected keyword argument"):
            adapter.validate_python(wrong)
