"""Co-attention, messages, self-edge, GRU and dropout against the paper's equations in plain numpy."""

import numpy as np
import plain_groupwise as plain
import pytest
import torch
from tiny_groupwise import array, group, layer, tiny_network

from models.groupwise import GraphDropoutConfig
from models.groupwise.attention import attend
from models.groupwise.graph_dropout import PAPER, RELEASED, GraphDropout, dropout_mask


def rows(nodes_GKChw):
    """Positions by channels of each image of the only group."""
    return [array(nodes_GKChw)[0, i].reshape(nodes_GKChw.shape[2], -1).T for i in range(nodes_GKChw.shape[1])]


def plain_messages(network, nodes, form):
    """Eqs. 5 to 8 for every node, with loops."""
    P, Q = (array(m.weight).T for m in (network.co_attention.P, network.co_attention.Q))
    states = rows(nodes)
    heard = []
    for i, target in enumerate(states):
        total = np.zeros_like(target)
        for j, source in enumerate(states):
            if i == j:
                continue
            if form == "symmetric":
                e_ij = plain.symmetric_edge(target, source, P, Q)
            elif form == "directed" or i < j:
                e_ij = plain.edge(target, source, P, Q)
            else:
                e_ij = plain.edge(source, target, P, Q).T
            total += plain.message(e_ij, source)
        if network.self_edge is not None:
            total += plain.self_edge(target, *(layer(getattr(network.self_edge, n)) for n in ("query", "key", "value")))
        heard.append(total)
    return heard


@pytest.mark.parametrize("form", ["symmetric", "transposed", "directed"])
@pytest.mark.parametrize("self_edge", [True, False])
def test_messages_are_equations_5_to_8(form, self_edge):
    network = tiny_network(co_attention=form, self_edge=self_edge)
    nodes, present = group()
    for got, expected in zip(rows(network.messages(nodes, present)), plain_messages(network, nodes, form), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9)


@pytest.mark.parametrize("form", ["symmetric", "transposed", "directed"])
def test_messages_by_cosines_and_their_mean(form):
    network = tiny_network(co_attention=form, similarity="cosine", average_messages=True)
    nodes, present = group()
    P, Q = (array(m.weight).T for m in (network.co_attention.P, network.co_attention.Q))
    query, key, value = (layer(getattr(network.self_edge, name)) for name in ("query", "key", "value"))
    states = rows(nodes)
    for i, heard in enumerate(rows(network.messages(nodes, present))):
        target, others = states[i], [j for j in range(3) if j != i]
        total = 0
        for j in others:
            if form == "symmetric":
                pair = np.hstack([target @ P, target @ Q]), np.hstack([states[j] @ Q, states[j] @ P])
            elif form == "directed" or i < j:
                pair = target @ P, states[j] @ Q
            else:
                pair = target @ Q, states[j] @ P
            total = total + plain.message(10.0 * plain.cosines(*pair), states[j])
        own = 10.0 * plain.cosines(plain.linear(target, query), plain.linear(target, key))
        expected = total / 2 + plain.message(own, plain.linear(target, value)) + target
        np.testing.assert_allclose(heard, expected, rtol=1e-9)


def test_parallel_features_collapse_products_and_not_cosines():
    """What all positions have in common, as behind a ReLU, outweighs what tells them apart."""
    nodes, present = group()
    nodes = nodes + 40.0
    spreads = {}
    for similarity in ("product", "cosine"):
        network = tiny_network(similarity=similarity, self_edge=False, average_messages=True)
        spreads[similarity] = network.messages(nodes, present).std(dim=(3, 4)).mean()
    assert spreads["product"] < 0.1 * spreads["cosine"]


def test_the_mean_of_messages_counts_those_who_are_there():
    network = tiny_network(average_messages=True, self_edge=False)
    nodes, present = group()
    present[0, 1] = False
    both = tiny_network(self_edge=False)
    both.load_state_dict(network.state_dict())
    heard, total = network.messages(nodes, present), both.messages(nodes, present)
    torch.testing.assert_close(heard[:, [0, 2]], total[:, [0, 2]])  # of one other image
    torch.testing.assert_close(heard[:, 1], total[:, 1] / 2)
    lonely = torch.tensor([[True, False, False]])
    assert not network.messages(nodes, lonely)[0, 0].any()


@pytest.mark.parametrize("form", ["symmetric", "transposed"])
def test_an_edge_is_the_transpose_of_its_opposite(form):
    network = tiny_network(co_attention=form)
    nodes, _ = group()
    p, q = (
        projection(nodes.flatten(3).transpose(2, 3)) for projection in (network.co_attention.P, network.co_attention.Q)
    )
    edges = {}
    for shift in (1, 2):
        query, key = network.co_attention._edge(p, q, shift)
        for i in range(3):
            edges[i, (i + shift) % 3] = query[0, i] @ key[0, i].T
    for (i, j), edge in edges.items():
        torch.testing.assert_close(edge, edges[j, i].T)


def test_all_steps_are_messages_and_gru():
    network = tiny_network()
    nodes, present = group()
    states = nodes
    for _ in range(2):
        heard = plain_messages(network, states, "symmetric")
        new = [
            plain.gru(message, state, layer(network.gru.gates), layer(network.gru.candidate))
            for message, state in zip(heard, rows(states), strict=True)
        ]
        states = torch.from_numpy(np.stack([x.T.reshape(nodes.shape[2:]) for x in new]))[None]
    torch.testing.assert_close(network.propagate(nodes, present), states)


def test_an_absent_image_is_not_heard():
    network = tiny_network()
    nodes, present = group()
    present[0, 1] = False
    without = network.propagate(nodes, present)
    alone = network.propagate(nodes[:, [0, 2]], torch.ones(1, 2, dtype=torch.bool))
    torch.testing.assert_close(without[:, [0, 2]], alone)
    disturbed = nodes.clone()
    disturbed[0, 1] += 5.0
    torch.testing.assert_close(network.propagate(disturbed, present)[:, [0, 2]], alone)


def test_gated_messages_are_scaled_by_their_gate():
    network = tiny_network(message_gate=True, self_edge=False, co_attention="directed")
    nodes, present = group()
    P, Q = (array(m.weight).T for m in (network.co_attention.P, network.co_attention.Q))
    gate = array(network.co_attention.gate.weight)[0]
    states = rows(nodes)
    expected = 0
    for j in (1, 2):
        message = plain.message(plain.edge(states[0], states[j], P, Q), states[j])
        expected = expected + message * plain.sigmoid(message @ gate)[:, None]
    np.testing.assert_allclose(rows(network.messages(nodes, present))[0], expected, rtol=1e-9)


def test_blocks_of_attention_give_the_same_values_and_gradients():
    torch.manual_seed(0)
    tensors = [torch.randn(2, n, c, dtype=torch.float64, requires_grad=True) for n, c in ((7, 3), (5, 3), (5, 4))]
    whole = attend(*tensors, scale=0.7)
    expected = torch.autograd.grad(whole.square().sum(), tensors)
    blocks = attend(*tensors, scale=0.7, max_logits=20)  # two rows at once
    torch.testing.assert_close(blocks, whole)
    for got, wanted in zip(torch.autograd.grad(blocks.square().sum(), tensors), expected, strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("draw", [0.3, 0.9])
def test_the_papers_dropout_is_equations_11_and_12(draw):
    nodes = torch.from_numpy(np.random.default_rng(3).normal(0.4, 1.0, size=(2, 5, 4, 6)))
    is_dropped = torch.full((2,), draw >= 0.8)
    got = nodes * dropout_mask(nodes, is_dropped, PAPER)
    for one, expected_of in zip(got, nodes, strict=True):
        expected = plain.dropped(array(expected_of).transpose(1, 2, 0), draw, delta_r=0.8, delta_d=0.7)
        np.testing.assert_allclose(array(one).transpose(1, 2, 0), expected, rtol=1e-9)


def test_the_released_dropout_by_hand():
    nodes = torch.tensor([1.0, 2.0, 4.0, 10.0]).view(1, 1, 2, 2)
    config = RELEASED
    weak = dropout_mask(nodes, torch.tensor([True]), config)
    assert weak.flatten().tolist() == [1.0, 1.0, 1.0, 0.0]  # 10 is not below 0.7 * 10
    layer_ = GraphDropout(GraphDropoutConfig(drop_probability=1.0, in_evaluation="random", before_readout=True)).eval()
    assert layer_(nodes).flatten().tolist() == [1.0, 2.0, 4.0, 5.0]  # the mean of masked and unmasked
    kept = GraphDropout(GraphDropoutConfig(drop_probability=0.0)).train()(nodes)
    expected = nodes * (torch.sigmoid(nodes) + 1) / 2
    torch.testing.assert_close(kept, expected)


def test_how_often_the_strongest_region_is_dropped():
    torch.manual_seed(0)
    nodes = torch.ones(4000, 1, 2, 2)  # every cell is the strongest: what is dropped is all zero
    for config, share in ((PAPER, 0.2), (RELEASED, 0.8)):
        dropped = GraphDropout(config).train()(nodes)[:, 0, 0, 0]
        lowest = 0.5 if config.residual else 0.0
        assert float((dropped == lowest).float().mean()) == pytest.approx(share, abs=0.03)


def test_dropout_in_evaluation():
    nodes = torch.randn(3, 2, 4, 4)
    assert torch.equal(GraphDropout(GraphDropoutConfig(in_evaluation="off")).eval()(nodes), nodes)
    keep = GraphDropout(GraphDropoutConfig(in_evaluation="keep", residual=False, drop_probability=1.0)).eval()(nodes)
    torch.testing.assert_close(keep, nodes * torch.sigmoid(nodes.mean(1, keepdim=True)))
