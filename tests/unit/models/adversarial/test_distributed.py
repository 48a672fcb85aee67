"""Both networks under DDP, in two processes: each turn averages its own gradients and meets those of one process."""

import pytest
import torch
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel

from models.adversarial.classifier import build_acr_classifier
from models.adversarial.config import AcrClassifierConfig, ReconstructorConfig, UNetConfig
from models.adversarial.loss_forms import AdversarialLossConfig
from models.adversarial.pair import AcrBatch, AdversarialPair
from models.adversarial.reconstructor import build_reconstructor
from models.backbones import EncoderConfig

NUM_CLASSES, NUM_STEPS = 3, 2


def networks():
    """A pair without dropout, whose draws would belong to a process; BatchNorm is frozen."""
    torch.manual_seed(0)
    encoder = EncoderConfig("timm/test_efficientnet", None, output_stride=8)
    classifier = build_acr_classifier(AcrClassifierConfig(encoder, head_channels=6), NUM_CLASSES)
    decoder = UNetConfig(depth=3, base_channels=4, max_channels=8, dropout=0.0)
    settings = ReconstructorConfig(encoder, tap_channels=(3, 4, 5), head_channels=4, decoder=decoder, masking="grid")
    reconstructor = build_reconstructor(settings, NUM_CLASSES)
    return AdversarialPair(classifier, reconstructor, AdversarialLossConfig().terms).train()


def batch(rows):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, 3, 40, 40, generator=generator)
    labels = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 1]])
    leak = torch.randint(0, 2, (4, 1, 4, 4), generator=generator).float()
    return AcrBatch(images[rows], labels[rows], torch.tensor([2, 1, 0, 2])[rows], leak[rows])


def train(pair, wrap, rows):
    players = [(wrap(pair.reconstructor), pair.reconstructor_losses), (wrap(pair.classifier), pair.classifier_losses)]
    optimisers = [torch.optim.SGD(network.parameters(), lr=0.05) for network, _ in players]
    for _ in range(NUM_STEPS):
        for (network, losses), optimiser in zip(players, optimisers, strict=True):
            optimiser.zero_grad()
            losses(network, batch(rows))["loss"].backward()
            optimiser.step()
    return {name: tensor.detach().clone() for name, tensor in pair.state_dict().items()}


def one_of_two(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.save(train(networks(), DistributedDataParallel, slice(rank, 4, 2)), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.skipif(not distributed.is_gloo_available(), reason="this build of torch has no gloo")
def test_two_processes_learn_what_one_does(tmp_path):
    multiprocessing.spawn(one_of_two, args=(str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    expected = train(networks(), lambda network: network, slice(0, 4))
    start = networks().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in expected)
    for name, tensor in expected.items():
        assert torch.allclose(first[name], tensor, rtol=1e-3, atol=1e-5), name
    moved = {name.split(".")[0] for name in expected if not torch.equal(expected[name], start[name])}
    assert moved == {"classifier", "reconstructor"}
