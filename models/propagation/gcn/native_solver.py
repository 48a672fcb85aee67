"""The `native` backend: C++ with AVX-512, AVX2 or what every CPU has, one image a call and a thread, without the GIL.

The sources are in `native/`; `models.native_library` picks the build for this CPU.
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from models.errors import InvalidInputError
from models.native_library import load_native
from models.propagation.affinity_graph import StencilAdjacency
from models.propagation.gcn.config import GCNConfig
from models.propagation.gcn.counter_random import MAX_COUNTER, keep_threshold
from models.propagation.gcn.problem import GCNProblem, Parameters
from models.propagation.gcn.solution import GCNSolution, GCNTrace
from models.propagation.stencil import GridStencil

MAX_HIDDEN_CHANNELS = 16
"""Hidden units fill one vector; more are left to the other backends."""

INTERFACE_VERSION = 1
FEATURE_ROUNDINGS = {"float32": 0, "float16": 1, "bfloat16": 2}

_POINTER = ctypes.c_void_p
_OUT_OF_MEMORY, _DIVERGED = 1, 2


class _Stencil(ctypes.Structure):
    _fields_ = [
        ("num_planes", ctypes.c_int32),
        ("offsets", _POINTER),
        ("planes", _POINTER),
        ("diagonal", _POINTER),
    ]


class _Image(ctypes.Structure):
    _fields_ = [
        ("height", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("num_features", ctypes.c_int32),
        ("num_classes", ctypes.c_int32),
        ("num_hidden", ctypes.c_int32),
        ("features", _POINTER),
        ("affinity", _Stencil),
        ("row_scale", _POINTER),
        ("column_scale", _POINTER),
        ("laplacian", _Stencil),
        ("labels", _POINTER),
        ("cross_entropy", _POINTER),
        ("entropy", _POINTER),
        ("initial", _POINTER),
        ("keys", _POINTER),
    ]


class _Settings(ctypes.Structure):
    _fields_ = [
        ("num_steps", ctypes.c_int32),
        ("smooths_log", ctypes.c_int32),
        ("has_bias", ctypes.c_int32),
        ("feature_rounding", ctypes.c_int32),
        ("keep_threshold", ctypes.c_uint32),
        ("keep_scale", ctypes.c_float),
        ("learning_rate", ctypes.c_float),
        ("weight_decay", ctypes.c_float),
        ("kappa", ctypes.c_float),
        ("tolerance", ctypes.c_double),
    ]


class _Result(ctypes.Structure):
    _fields_ = [
        ("probabilities", _POINTER),
        ("losses", _POINTER),
        ("first_gradients", _POINTER),
        ("final", _POINTER),
        ("num_steps", ctypes.c_int32),
    ]


def reason_unavailable(config: GCNConfig) -> str | None:
    """Why this backend cannot serve a config on this machine; None where it can."""
    if config.graph.graph != "one_hop":
        return f"the graph {config.graph.graph!r} is not a stencil (native serves 'one_hop')"
    if config.hidden_channels > MAX_HIDDEN_CHANNELS:
        return f"hidden_channels={config.hidden_channels} exceeds {MAX_HIDDEN_CHANNELS}"
    if config.compute_dtype != "float32":
        return f"compute_dtype={config.compute_dtype!r} (native computes in float32)"
    if native_library() is None:
        return "the native library was not built on this machine"
    return None


@functools.cache
def native_library() -> ctypes.CDLL | None:
    """The build for this CPU, or None; where there is none, one line is logged."""
    library = load_native("models.propagation.gcn", "_gcn_solver")
    return None if library is None else declare(library)


def declare(library: ctypes.CDLL) -> ctypes.CDLL:
    """The library with its functions' types declared and its version checked."""
    library.gcn_interface_version.restype = ctypes.c_int32
    if library.gcn_interface_version() != INTERFACE_VERSION:
        message = "the native GCN library was built from other sources; reinstall the package"
        raise ImportError(message)
    library.gcn_solve.argtypes = [ctypes.POINTER(_Image), ctypes.POINTER(_Settings), ctypes.POINTER(_Result)]
    library.gcn_solve.restype = ctypes.c_int32
    return library


def solve_native(
    problem: GCNProblem, config: GCNConfig, *, with_trace: bool = False, library: ctypes.CDLL | None = None
) -> GCNSolution:
    """Train the GCN of one image in C++ and return its class probabilities.

    Args:
        library: a certain build, as `declare` returns it; by default that of this CPU.

    Raises:
        MemoryError: the image does not fit.
    """
    library = library or native_library()
    if library is None:
        message = "the native library was not built on this machine"
        raise ImportError(message)
    kept: list[Tensor] = []  # arrays that C++ reads; referenced until the call is over
    image, settings = _image(problem, kept), _settings(problem, config)
    graph = problem.graph
    prob_hwC = torch.empty((graph.height, graph.width, graph.num_classes))
    wants_losses = with_trace or config.tolerance is not None
    losses = torch.zeros(config.num_steps, dtype=torch.float64)
    first, final = (torch.zeros(sum(t.numel() for t in problem.initial.tensors())) for _ in range(2))
    result = _Result(
        probabilities=prob_hwC.data_ptr(),
        losses=losses.data_ptr() if wants_losses else None,
        first_gradients=first.data_ptr() if with_trace else None,
        final=final.data_ptr() if with_trace else None,
    )
    status = library.gcn_solve(ctypes.byref(image), ctypes.byref(settings), ctypes.byref(result))
    if status == _DIVERGED:
        prob_hwC.fill_(math.nan)
    if status == _OUT_OF_MEMORY:
        message = f"item {graph.item_id}: not enough memory for a grid of {graph.height} x {graph.width}"
        raise MemoryError(message)
    if not with_trace or config.num_steps == 0:
        return GCNSolution(prob_hwC, result.num_steps)
    trace = GCNTrace(
        tuple(losses[: result.num_steps].tolist()),
        _unflattened(first, problem.initial),
        _unflattened(final, problem.initial),
    )
    return GCNSolution(prob_hwC, result.num_steps, trace)


def _settings(problem: GCNProblem, config: GCNConfig) -> _Settings:
    return _Settings(
        num_steps=config.num_steps,
        smooths_log=config.loss.laplacian_on == "log_prob",
        has_bias=config.bias,
        feature_rounding=FEATURE_ROUNDINGS[config.feature_dtype],
        keep_threshold=keep_threshold(config.dropout),
        keep_scale=1.0 / (1.0 - config.dropout),
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        kappa=2.0 * config.laplacian_weight / problem.num_nodes,
        tolerance=-1.0 if config.tolerance is None else config.tolerance,
    )


def _image(problem: GCNProblem, kept: list[Tensor]) -> _Image:
    def floats(values: Tensor) -> int:
        kept.append(values.detach().to("cpu", torch.float32).contiguous())
        return kept[-1].data_ptr()

    graph, adjacency = problem.graph, problem.adjacency
    assert isinstance(adjacency, StencilAdjacency)  # `reason_unavailable` lets no other graph come here
    if graph.num_nodes * problem.initial.bias1_U.numel() >= MAX_COUNTER:
        raise InvalidInputError(f"item {graph.item_id}: {graph.num_nodes} cells are too many for one image's dropout")
    labels = graph.label_hw.cpu().contiguous()
    keys = torch.from_numpy(problem.keys.astype("int64")).to(torch.uint32).contiguous()
    kept += [labels, keys]
    return _Image(
        height=graph.height,
        width=graph.width,
        num_features=graph.num_features,
        num_classes=graph.num_classes,
        num_hidden=problem.initial.bias1_U.numel(),
        features=floats(graph.features_Dhw),
        affinity=_stencil(adjacency.stencil, floats, kept),
        row_scale=floats(adjacency.row_scale_hw),
        column_scale=floats(adjacency.column_scale_hw),
        laplacian=_stencil(problem.laplacian, floats, kept),
        labels=labels.data_ptr(),
        cross_entropy=floats(problem.labels.cross_entropy_N),
        entropy=floats(problem.labels.entropy_N),
        initial=floats(torch.cat([t.reshape(-1) for t in problem.initial.tensors()])),
        keys=keys.data_ptr(),
    )


def _stencil(stencil: GridStencil, floats: Callable[[Tensor], int], kept: list[Tensor]) -> _Stencil:
    offsets = torch.tensor(stencil.offsets, dtype=torch.int32).reshape(-1, 2)
    kept.append(offsets)
    return _Stencil(
        num_planes=len(stencil.offsets),
        offsets=offsets.data_ptr(),
        planes=floats(stencil.planes_Phw),
        diagonal=floats(stencil.diagonal_hw),
    )


def _unflattened(flat: Tensor, like: Parameters) -> Parameters:
    shapes: Sequence[Tensor] = like.tensors()
    parts = torch.split(flat, [t.numel() for t in shapes])
    return Parameters(*(part.view(t.shape) for part, t in zip(parts, shapes, strict=True)))
