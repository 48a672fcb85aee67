"""The CUDA backend against the float64 oracle: on a GPU where there is one, else in Triton's interpreter on the CPU.

`test_triton_solver` runs this file in a process of its own: Triton's interpreter must be on when it is first imported.
"""

import pytest
import torch

from models.propagation.config import AffinityGraphConfig
from models.propagation.gcn.config import GCNConfig
from models.propagation.gcn.problem import prepare
from models.propagation.gcn.solve import solve_batch, solve_traced

HAS_GPU = torch.cuda.is_available()
DEVICE = "cuda" if HAS_GPU else "cpu"


def check_against_oracle(graphs, *, gradient_rtol=3e-6, loss_rtol=1e-6, **changes):
    changes = {"num_steps": 2} | changes
    expected = solve_traced(graphs, GCNConfig(**changes, backend="reference", compute_dtype="float64"), with_trace=True)
    solutions = solve_traced(graphs, GCNConfig(**changes, backend="triton"), device=DEVICE, with_trace=True)
    for solution, exact in zip(solutions, expected, strict=True):
        pairs = zip(solution.trace.first_gradients.tensors(), exact.trace.first_gradients.tensors(), strict=True)
        for name, (gradient, wanted) in zip(("weight1", "bias1", "weight2", "bias2"), pairs, strict=True):
            error = (gradient.cpu().double() - wanted).norm() / wanted.norm().clamp_min(1e-30)
            assert error <= gradient_rtol, name
        torch.testing.assert_close(
            torch.tensor(solution.trace.losses), torch.tensor(exact.trace.losses), rtol=loss_rtol, atol=1e-7
        )
        torch.testing.assert_close(solution.prob_hwC, exact.prob_hwC, rtol=0, atol=2e-4)


@pytest.mark.parametrize("form", ["paper", "released"])
def test_images_of_other_sizes_follow_the_oracle_together(form, graph_factory):
    graphs = [
        graph_factory(height, width, num_features=40, num_classes=21, seed=height, item_id=f"item{height}")
        for height, width in ((7, 11), (3, 9), (1, 1))
    ]
    check_against_oracle(graphs, loss_form=form, num_steps=60 if HAS_GPU else 3)


def test_sixty_steps_follow_the_oracle(graph_factory):
    graph = graph_factory(11, 13, num_features=40) if HAS_GPU else graph_factory(7, 9, num_features=8)
    check_against_oracle([graph], num_steps=60, graph=AffinityGraphConfig(radius=5 if HAS_GPU else 3))


@pytest.mark.parametrize(("height", "width"), [(1, 40), (37, 1), (5, 4), (3, 17)])
def test_grids_narrower_than_the_window(height, width, graph_factory):
    check_against_oracle([graph_factory(height, width, num_features=11, seed=height)])


@pytest.mark.parametrize(("num_features", "num_classes"), [(1, 2), (33, 33), (161, 7)])
def test_any_number_of_features_and_classes(num_features, num_classes, graph_factory):
    check_against_oracle([graph_factory(5, 6, num_features=num_features, num_classes=num_classes)])


@pytest.mark.parametrize(
    "changes",
    [
        {"dropout": 0.0},
        {"bias": False},
        {"hidden_channels": 5},
        {"weight_decay": 0.0, "laplacian_on": "prob"},
        {"laplacian_radius": 3, "graph": AffinityGraphConfig(radius=3)},
        {"laplacian_affinity": "affinity"},
        {"graph": AffinityGraphConfig(symmetrise="none")},
        {"graph": AffinityGraphConfig(symmetrise="mean", normalisation="symmetric")},
        {"affinity_dtype": "bfloat16"},
        {"entropy_weight": 0.0, "laplacian_weight": 0.0},
    ],
)
def test_options(changes, graph_factory):
    check_against_oracle([graph_factory(6, 7)], **changes)


def test_rounded_features(graph_factory):
    check_against_oracle([graph_factory(6, 7)], feature_dtype="float16", gradient_rtol=1e-3, loss_rtol=1e-3)


@pytest.mark.parametrize("missing", ["foreground", "background", "unknown"])
def test_missing_groups(missing, graph_factory):
    label_hw = graph_factory(6, 7).label_hw.clone()
    if missing == "foreground":
        label_hw[(label_hw > 0) & (label_hw < 255)] = 255
    elif missing == "background":
        label_hw[label_hw == 0] = 255
    else:
        label_hw[label_hw == 255] = 0
    check_against_oracle([graph_factory(6, 7, label_hw=label_hw)])


def test_an_image_s_bits_do_not_depend_on_its_company(graph_factory):
    graphs = [graph_factory(5 + i, 15 - i, seed=i, item_id=f"item{i}") for i in range(3)]
    config = GCNConfig(num_steps=2, backend="triton", graph=AffinityGraphConfig(radius=3))
    alone = [solve_batch([graph], config, device=DEVICE)[0] for graph in graphs]
    together = solve_batch(graphs, config, device=DEVICE)
    reversed_back = solve_batch(graphs[::-1], config, device=DEVICE)[::-1]
    for first, second, third in zip(alone, together, reversed_back, strict=True):
        assert torch.equal(first, second)
        assert torch.equal(first, third)


def test_images_that_cannot_share_a_launch_are_parted(graph_factory):
    from models.propagation.gcn.triton_solver import parts_of

    config = GCNConfig(num_steps=1)
    sizes = [(6, 3), (6, 3), (7, 3), (6, 4), (6, 4)]
    problems = [prepare(graph_factory(5, 6, num_features=d, num_classes=c), config) for d, c in sizes]
    assert [len(part) for part in parts_of(problems, config)] == [2, 1, 2]


def test_a_batch_is_no_larger_than_the_free_memory(monkeypatch, graph_factory):
    from models.propagation.gcn import triton_solver

    config = GCNConfig(num_steps=1)
    problems = [prepare(graph_factory(5, 6, item_id=str(i)), config) for i in range(5)]
    monkeypatch.setattr(triton_solver, "images_at_once", lambda _problem, _config: 2)
    assert [len(part) for part in triton_solver.parts_of(problems, config)] == [2, 2, 1]


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_GPU, reason="no GPU")
def test_full_training_in_one_recorded_graph_labels_as_torch_does(graph_factory):
    graphs = [graph_factory(94, 125, num_features=160, num_classes=21, seed=i, item_id=f"item{i}") for i in range(5)]
    ours = solve_batch(graphs, GCNConfig(backend="triton"), device="cuda")
    again = solve_batch(graphs[1:], GCNConfig(backend="triton"), device="cuda")
    expected = solve_batch(graphs, GCNConfig(backend="torch"), device="cuda")
    for index, (solved, wanted) in enumerate(zip(ours, expected, strict=True)):
        agreement = (solved.argmax(2) == wanted.argmax(2)).float().mean()
        assert agreement >= 0.999, index
    assert all(torch.equal(first, second) for first, second in zip(ours[1:], again, strict=True))
