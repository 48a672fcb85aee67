"""`wsss data convert-weights`, on a file of the whole VGG-16 that is written here byte by byte."""

import subprocess
import sys

import numpy as np
import torch
from typer.testing import CliRunner

from models.backbones import EncoderConfig, build_encoder
from wsss_jobs.cli.main import app


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def caffe_layer(name, arrays):
    """A V1LayerParameter, as files of 2014 and 2015 have it, with four dimensions for everything."""
    blobs = b""
    for array in arrays:
        shape = (1,) * (4 - array.ndim) + array.shape
        sizes = b"".join(varint(number << 3) + varint(size) for number, size in enumerate(shape, start=1))
        blobs += field(6, sizes + field(5, array.astype("<f4").tobytes()))
    return field(2, field(4, name.encode()) + blobs)


def test_converted_weights_are_those_of_the_file(tmp_path):
    torch.manual_seed(0)
    reference = build_encoder(EncoderConfig("vgg16_largefov", None, output_stride=8)).eval()
    layers = {}
    for key, value in reference.net.state_dict().items():
        layers.setdefault(key.split(".")[0], []).append(value.numpy())
    layers["fc8"] = [np.zeros((1000, 1024, 1, 1), np.float32), np.zeros(1000, np.float32)]  # ImageNet's classifier
    (tmp_path / "vgg.caffemodel").write_bytes(b"".join(caffe_layer(*layer) for layer in layers.items()))
    done = CliRunner().invoke(
        app, ["data", "convert-weights", str(tmp_path / "vgg.caffemodel"), str(tmp_path / "out" / "vgg.pt")]
    )
    assert done.exit_code == 0, done.output
    assert "vgg16_largefov" in done.output
    config = EncoderConfig("vgg16_largefov", str(tmp_path / "out" / "vgg.pt"), output_stride=8)
    loaded = build_encoder(config).eval()
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        for found, expected in zip(loaded(image), reference(image), strict=True):
            assert torch.equal(found, expected)


def test_a_file_that_cannot_be_read_is_bad_input(tmp_path):
    (tmp_path / "w.params").write_bytes(b"no weights")
    command = [sys.executable, "-m", "wsss_jobs", "data", "convert-weights"]
    arguments = [str(tmp_path / "w.params"), str(tmp_path / "w.pt")]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "w.params" in done.stderr.replace("\n", "")  # lines are broken where the terminal ends
    assert not (tmp_path / "w.pt").exists()
