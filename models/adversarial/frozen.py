"""A network as it is: for a while nothing of it changes, though gradients run through it."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Puts a network in evaluation (no dropout, BatchNorm at its statistics) and takes its parameters out of the graph.

    What is computed inside has no gradient to them even if `backward` runs later; both is restored at the end.
    """
    was_training = network.training
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    network.eval()
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
        network.train(was_training)
