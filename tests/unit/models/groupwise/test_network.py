"""The whole group-wise network: equivariance, read-outs, edges, what is built and what learns."""

import numpy as np
import plain_groupwise as plain
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_groupwise import NUM_CLASSES, array, layer, tiny_config, tiny_encoder, tiny_network

from models.backbones import EncoderConfig
from models.errors import InvalidInputError
from models.groupwise import GraphDropoutConfig, GroupwiseConfig, GroupwiseNet, LossWeights, build_groupwise
from models.groupwise.losses import group_losses
from models.parameter_groups import BiasRule


def images(num_groups=1, size=3, seed=0):
    pixels = np.random.default_rng(seed).normal(size=(num_groups, size, 3, 16, 20))
    return torch.from_numpy(pixels), torch.ones(num_groups, size, dtype=torch.bool)


@settings(deadline=None, max_examples=20)
@given(
    order=st.permutations(range(4)),
    present=st.lists(st.booleans(), min_size=4, max_size=4).filter(any),
    form=st.sampled_from(["symmetric", "directed"]),
)
def test_images_of_a_group_may_come_in_any_order(order, present, form):
    network = tiny_network(co_attention=form, group_size=4, dropout=GraphDropoutConfig()).eval()
    pixels, here = images(size=4)
    here[0] = torch.tensor(present)
    plain_order, permuted = network(pixels, here), network(pixels[:, order], here[:, order])
    kept = here[0, order]
    for name in ("graph_GKL", "intermediate_GKL"):
        expected = getattr(plain_order, name)[:, order]
        torch.testing.assert_close(getattr(permuted, name)[:, kept], expected[:, kept])
    expected = plain_order.edge_GKKL[:, order][:, :, order]
    pairs = kept[:, None] & kept[None]
    torch.testing.assert_close(permuted.edge_GKKL[:, pairs], expected[:, pairs])


def test_the_first_image_counts_where_edges_are_transposed():
    network = tiny_network(co_attention="transposed").eval()
    pixels, here = images()
    swapped = network(pixels[:, [1, 0, 2]], here).graph_GKL[:, [1, 0, 2]]
    assert not torch.allclose(swapped, network(pixels, here).graph_GKL)


def test_groups_of_a_batch_do_not_hear_each_other():
    network = tiny_network().eval()
    pixels, here = images(num_groups=2)
    both = network(pixels, here)
    alone = network(pixels[1:], here[1:])
    torch.testing.assert_close(both.graph_GKL[1:], alone.graph_GKL)
    torch.testing.assert_close(both.edge_GKKL[1:], alone.edge_GKKL)


def test_read_outs_are_means_of_their_maps():
    network = tiny_network().eval()
    pixels, here = images()
    nodes = network.nodes(pixels[0])[None]
    maps = network.class_maps(nodes, here)
    output = network(pixels, here)
    assert maps.graph_GKLhw.shape == (1, 3, NUM_CLASSES, 4, 5)
    torch.testing.assert_close(output.graph_GKL, maps.graph_GKLhw.mean(dim=(3, 4)))
    torch.testing.assert_close(output.intermediate_GKL, maps.intermediate_GKLhw.mean(dim=(3, 4)))
    weight = layer(network.intermediate_head)[0]
    expected = np.einsum("lc,kchw->klhw", weight, array(nodes)[0])
    np.testing.assert_allclose(array(maps.intermediate_GKLhw)[0], expected, rtol=1e-9)


@pytest.mark.parametrize("scale", [True, False])
def test_edges_are_equations_14_to_17(scale):
    network = tiny_network(scale_edge_attention=scale).eval()
    pixels, here = images()
    first = network.nodes(pixels[0])[None]
    last = network.propagate(first, here)
    rows = [array(last)[0, i].reshape(8, -1).T for i in range(3)]
    edges = network(pixels, here).edge_GKKL
    readout = network.edge_readout
    scales = (1 / np.sqrt(16), 1 / np.sqrt(20)) if scale else (1.0, 1.0)
    parts = (layer(readout.position), layer(readout.channel), layer(readout.head)[0], scales)
    for i, j in ((0, 1), (1, 0), (2, 0), (1, 2)):
        np.testing.assert_allclose(array(edges)[0, i, j], plain.edge_logits(rows[i], rows[j], *parts), rtol=1e-8)


def test_losses_are_equation_13_over_what_is_there():
    network = tiny_network().eval()
    pixels, here = images(num_groups=2)
    here[1, 2] = False
    target = torch.from_numpy(np.random.default_rng(5).integers(0, 2, size=(2, 3, NUM_CLASSES))).double()
    output = network(pixels, here)
    parts = group_losses(output, target, here)
    there = [(g, i) for g in range(2) for i in range(3) if here[g, i]]
    expected = {
        "graph": [plain.cross_entropy(array(output.graph_GKL)[g, i], array(target)[g, i]) for g, i in there],
        "intermediate": [
            plain.cross_entropy(array(output.intermediate_GKL)[g, i], array(target)[g, i]) for g, i in there
        ],
        "edge": [
            plain.cross_entropy(array(output.edge_GKKL)[g, i, j], array(target)[g, i] * array(target)[g, j])
            for g, i in there
            for h, j in there
            if g == h and i != j
        ],
    }
    for name, values in expected.items():
        part = parts[name]
        mean = (part.losses * part.weights).sum() / part.weights.sum()
        assert float(mean.detach()) == pytest.approx(np.mean(values), rel=1e-5), name


@pytest.mark.parametrize(
    ("changes", "absent"),
    [
        ({"group_size": 1}, {"co_attention", "edge_readout"}),
        ({"num_steps": 0}, {"co_attention", "self_edge", "gru", "dropout"}),
        ({"loss": LossWeights(0.7, 0.0, 0.2)}, {"intermediate_head"}),
        ({"loss": LossWeights(0.7, 0.1, 0.0)}, {"edge_readout"}),
        ({"dropout": None}, {"dropout"}),
    ],
)
def test_what_a_variant_does_not_use_is_not_built(changes, absent):
    network = tiny_network(**{"dropout": GraphDropoutConfig(), **changes})
    parts = ("co_attention", "self_edge", "gru", "dropout", "graph_head", "intermediate_head", "edge_readout")
    assert {name for name in parts if getattr(network, name) is None} == absent
    size = network.config.group_size
    pixels, here = images(size=size)
    parts = group_losses(network(pixels, here), torch.ones(1, size, NUM_CLASSES).double(), here)
    sum((part.losses * part.weights).sum() for part in parts.values()).backward()
    unreached = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert unreached == []  # every worker of a distributed training has a gradient for every parameter


def test_all_parameters_have_gradients_where_no_image_has_a_partner():
    network = tiny_network()
    pixels, here = images()
    here[0, 1:] = False
    parts = group_losses(network(pixels, here), torch.ones(1, 3, NUM_CLASSES).double(), here)
    sum((part.losses * part.weights).sum() for part in parts.values()).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


def test_one_image_is_a_group():
    network = tiny_network(group_size=1, num_steps=3).eval()
    pixels, here = images(size=1)
    assert network(pixels, here).graph_GKL.shape == (1, 1, NUM_CLASSES)


def test_nodes_can_be_class_maps():
    network = tiny_network(node_state="class_maps", reduction=2, self_edge=False).eval()
    pixels, here = images()
    nodes = network.nodes(pixels[0])[None]
    assert nodes.shape[2] == NUM_CLASSES
    assert torch.equal(network.class_maps(nodes, here).intermediate_GKLhw, nodes)


def test_layers_are_projected_and_added_and_the_rest_is_not_run():
    torch.manual_seed(0)
    network = GroupwiseNet(tiny_encoder(), 3, tiny_config(layers=("early",), group_size=2))
    assert network.node_features.used_stages() == 1
    pixels = torch.randn(2, 3, 16, 20)
    project = network.node_features.projections[0]
    torch.testing.assert_close(network.nodes(pixels), project(network.encoder(pixels)[0]))
    assert network.nodes(pixels).shape == (2, 8, 8, 10)
    groups = network.parameter_groups(0.1, 1.0)
    by_rate = {group["lr"]: {id(p) for p in group["params"]} for group in groups}
    assert by_rate[0.1] == {id(p) for p in network.encoder.stage_parameters(1)}
    rest = {id(p) for p in network.parameters()} - {id(p) for p in network.encoder.parameters()}
    assert by_rate[1.0] == rest


def test_frozen_stages_get_no_gradient():
    network = GroupwiseNet(tiny_encoder(), 3, tiny_config(layers=("late",), frozen_stages=1, group_size=2))
    network.nodes(torch.randn(1, 3, 16, 16)).sum().backward()
    first, second = (network.encoder.stage_modules(index)[0][0].weight.grad for index in (0, 1))
    assert first is None
    assert second is not None
    rates = [group["lr"] for group in network.parameter_groups(0.1, 1.0, BiasRule(2.0, decay=False))]
    assert rates == [0.1, 0.2, 1.0, 2.0]


def test_layers_of_different_strides_and_unknown_ones_are_named():
    with pytest.raises(InvalidInputError, match="different strides"):
        GroupwiseNet(tiny_encoder(), 3, tiny_config(layers=("early", "late")))
    with pytest.raises(InvalidInputError, match="no layer or tap 'middle'; it has early, late, first, second"):
        GroupwiseNet(tiny_encoder(), 3, tiny_config(layers=("middle",)))


def test_the_papers_vgg_has_no_projection():
    config = GroupwiseConfig(encoder=EncoderConfig("vgg16", weights=None, output_stride=8, dilate=True))
    network = build_groupwise(config, 20, load_weights=False)
    assert sum(p.numel() for p in network.encoder.parameters()) == 14_714_688
    assert list(network.node_features.projections.parameters()) == []
    with torch.no_grad():
        assert network.nodes(torch.zeros(1, 3, 224, 224)).shape == (1, 512, 28, 28)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: GroupwiseConfig(group_size=0), "group_size must be at least 1; got 0"),
        (lambda: GroupwiseConfig(gru_kernel=2), "gru_kernel must be odd; got 2"),
        (lambda: LossWeights(0, 0, 1), "one of the loss weights"),
        (lambda: GraphDropoutConfig(drop_probability=1.5), r"drop_probability must be in \[0, 1\]; got 1.5"),
    ],
)
def test_configs_that_make_no_sense(build, words):
    with pytest.raises(InvalidInputError, match=words):
        build()
