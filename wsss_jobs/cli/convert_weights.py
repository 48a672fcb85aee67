"""`wsss data convert-weights`: PSA's initial weights, from the published MXNet and Caffe files to state dicts."""

from pathlib import Path
from typing import Annotated

import typer

from wsss_jobs.cli.options import console


def convert_weights(
    source: Annotated[
        Path, typer.Argument(help="A .params file (MXNet, ResNet-38) or a .caffemodel (VGG-16).", show_default=False)
    ],
    target: Annotated[Path, typer.Argument(help="The state dict to write, e.g. resnet38.pt.", show_default=False)],
) -> None:
    """Convert published MXNet or Caffe weights into a file that `encoder.weights` takes; neither need be installed."""
    import torch  # no other command of this module's neighbours needs it

    from models.backbones.convert_weights import converted_weights

    name, state = converted_weights(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, target)
    numbers = sum(tensor.numel() for tensor in state.values())
    console.print(f"{name}: {len(state)} tensors, {numbers:,} numbers: {target}", highlight=False)
