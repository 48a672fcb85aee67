"""Readers of MXNet's and Caffe's files, on files written here in these formats, and the mapping of names."""

import struct

import numpy as np
import pytest
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from models.backbones import EncoderConfig, build_encoder
from models.backbones.caffemodel import read_caffemodel
from models.backbones.convert_weights import converted_weights, resnet38_state, vgg16_state
from models.backbones.mxnet_params import read_mxnet_params
from models.backbones.weights import check_fit
from models.errors import InvalidInputError

RNG = np.random.default_rng(0)
TYPES = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6}


def mxnet_array(array, version):
    """One NDArray as `NDArray::Save` of that version writes it."""
    shape = struct.pack("<I", array.ndim)
    if version == 0:
        head = shape + struct.pack(f"<{array.ndim}I", *array.shape)
    else:
        magic = struct.pack("<I", 0xF993FAC8) if version == 1 else struct.pack("<Ii", 0xF993FAC9, 0)
        head = magic + shape + struct.pack(f"<{array.ndim}q", *array.shape)
    return head + struct.pack("<iii", 1, 0, TYPES[array.dtype.name]) + array.tobytes()


def mxnet_file(path, arrays, version):
    names = b"".join(struct.pack("<Q", len(name)) + name.encode() for name in arrays)
    body = b"".join(mxnet_array(array, version) for array in arrays.values())
    count = struct.pack("<Q", len(arrays))
    path.write_bytes(struct.pack("<QQ", 0x112, 0) + count + body + count + names)
    return path


@pytest.mark.parametrize("version", [0, 1, 2])
def test_mxnet_arrays_come_back_whatever_the_version(tmp_path, version):
    arrays = {
        "arg:conv_weight": RNG.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "aux:bn_moving_var": RNG.standard_normal(7),
        "half": RNG.standard_normal((2, 5)).astype(np.float16),
        "counts": np.arange(6, dtype=np.int64).reshape(2, 3),
    }
    found = read_mxnet_params(mxnet_file(tmp_path / "w.params", arrays, version))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("num_bytes", [0, 7, 30, 60, 100])
def test_a_cut_mxnet_file_is_refused(tmp_path, num_bytes):
    whole = mxnet_file(tmp_path / "w.params", {"a": np.ones((3, 4), np.float32)}, 2).read_bytes()
    (tmp_path / "cut.params").write_bytes(whole[:num_bytes])
    with pytest.raises(InvalidInputError, match=r"cut\.params"):
        read_mxnet_params(tmp_path / "cut.params")


def test_other_mxnet_files_are_refused(tmp_path):
    (tmp_path / "a.params").write_bytes(b"\x80\x02}q\x00." * 20)
    with pytest.raises(InvalidInputError, match="does not begin like"):
        read_mxnet_params(tmp_path / "a.params")
    sparse = mxnet_file(tmp_path / "b.params", {"a": np.ones(3, np.float32)}, 2)
    data = sparse.read_bytes()
    sparse.write_bytes(data.replace(struct.pack("<Ii", 0xF993FAC9, 0), struct.pack("<Ii", 0xF993FAC9, 1)))
    with pytest.raises(InvalidInputError, match="storage type 1"):
        read_mxnet_params(sparse)
    with pytest.raises(InvalidInputError, match="no such file"):
        read_mxnet_params(tmp_path / "none.params")


def resnet38_arrays():
    """Every array of the published file under MXNet's name, from the network's own definition, each of one value."""
    shapes = {"arg:conv1a_weight": (64, 3, 3, 3), "arg:linear1000_weight": (1000, 4096), "arg:linear1000_bias": (1000,)}

    def bn(name, channels):
        for kind, what in (("arg", "gamma"), ("arg", "beta"), ("aux", "moving_mean"), ("aux", "moving_var")):
            shapes[f"{kind}:bn{name}_{what}"] = (channels,)

    def block(name, channels, widths, kernels, *, shortcut):
        inputs = [channels, *widths[:-1]]
        for index, (cin, cout, kernel) in enumerate(zip(inputs, widths, kernels, strict=True)):
            branch = "branch2a" if index == 0 else f"branch2b{index}"
            bn(f"{name}_{branch}", cin)
            shapes[f"arg:res{name}_{branch}_weight"] = (cout, cin, kernel, kernel)
        if shortcut:
            shapes[f"arg:res{name}_branch1_weight"] = (widths[-1], channels, 1, 1)

    groups = [(2, 64, 128, 128, 3), (3, 128, 256, 256, 3), (4, 256, 512, 512, 6), (5, 512, 512, 1024, 3)]
    for level, cin, mid, out, repeats in groups:
        block(f"{level}a", cin, [mid, out], [3, 3], shortcut=True)
        for index in range(1, repeats):
            block(f"{level}b{index}", out, [mid, out], [3, 3], shortcut=False)
    block("6a", 1024, [512, 1024, 2048], [1, 3, 1], shortcut=True)
    block("7a", 2048, [1024, 2048, 4096], [1, 3, 1], shortcut=True)
    bn("7", 4096)
    return {name: np.broadcast_to(np.float32(i), shape) for i, (name, shape) in enumerate(shapes.items())}


def test_every_mxnet_array_finds_its_place_in_resnet38():
    arrays = resnet38_arrays()
    state = resnet38_state(arrays)
    with torch.device("meta"):
        encoder = build_encoder(EncoderConfig("resnet38", None, output_stride=8))
    check_fit(encoder.net, state, "test")
    examples = {
        "conv1a.weight": "arg:conv1a_weight",
        "b2.conv_branch2a.weight": "arg:res2a_branch2a_weight",
        "b2.conv_branch1.weight": "arg:res2a_branch1_weight",
        "b4_5.bn_branch2b1.running_mean": "aux:bn4b5_branch2b1_moving_mean",
        "b6.conv_branch2b2.weight": "arg:res6a_branch2b2_weight",
        "b7.bn_branch2b2.running_var": "aux:bn7a_branch2b2_moving_var",
        "bn7.weight": "arg:bn7_gamma",
        "bn7.bias": "arg:bn7_beta",
    }
    for key, name in examples.items():
        assert state[key].flatten()[0] == arrays[name].flat[0]
    assert len(state) == len(arrays) - 2  # all but the classifier


@pytest.mark.parametrize("name", ["res2a_branch2a_bias_x", "conv2a_weight", "bn7_scale", "bn3b1_branch2a_weight"])
def test_arrays_of_other_networks_are_named(name):
    with pytest.raises(InvalidInputError, match=name):
        resnet38_state({f"arg:{name}": np.zeros(1, np.float32)})


def caffe_messages():
    """The four messages of caffe.proto that matter, built with Google's own protobuf."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="caffe_test.proto", package="caffe_test", syntax="proto2")

    def message(name, *fields):
        added = file.message_type.add(name=name)
        for label, kind, number, packed in fields:
            repeated = kind.startswith("*")
            base = kind.lstrip("*")
            field = added.field.add(name=label, number=number)
            field.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if base.isupper():
                field.type = getattr(kinds, f"TYPE_{base}")
            else:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".caffe_test.{base}"
            if packed is not None:
                field.options.packed = packed

    message("Shape", ("dim", "*INT64", 1, True))
    message("Blob", *((n, "INT32", i, None) for i, n in enumerate(("num", "channels", "height", "width"), 1)),
            ("data", "*FLOAT", 5, True), ("diff", "*FLOAT", 6, True), ("shape", "Shape", 7, None),
            ("double_data", "*DOUBLE", 8, True))  # fmt: skip
    message("LooseBlob", ("data", "*FLOAT", 5, False), ("shape", "Shape", 7, None))
    message("Layer", ("name", "STRING", 1, None), ("type", "STRING", 2, None), ("blobs", "*Blob", 7, None),
            ("loss", "*FLOAT", 5, False))  # fmt: skip
    message("V1Layer", ("bottom", "*STRING", 2, None), ("name", "STRING", 4, None), ("type", "INT32", 5, None),
            ("blobs", "*Blob", 6, None))  # fmt: skip
    message("Net", ("name", "STRING", 1, None), ("layers", "*V1Layer", 2, None), ("layer", "*Layer", 100, None))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = ("Net", "Blob", "LooseBlob")
    return [message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe_test.{name}")) for name in names]


NET, BLOB, LOOSE_BLOB = caffe_messages()


@pytest.mark.parametrize("kind", ["layer", "layers"])
@pytest.mark.parametrize("field", ["data", "double_data"])
@pytest.mark.parametrize("old_shape", [False, True])
def test_caffe_blobs_come_back_from_real_protobuf(tmp_path, kind, field, old_shape):
    weight = RNG.standard_normal((4, 2, 3, 3)).astype(np.float32)
    bias = RNG.standard_normal(4).astype(np.float32)
    net = NET(name="a net")
    first = getattr(net, kind).add(name="relu1")  # without parameters: no layer of ours
    first.type = "ReLU" if kind == "layer" else 18
    layer = getattr(net, kind).add(name="conv1_1")
    for array in (weight, bias):
        blob = layer.blobs.add()
        getattr(blob, field).extend(array.ravel().tolist())
        blob.diff.extend([9.0, 9.0])
        if old_shape:
            blob.num, blob.channels, blob.height, blob.width = (1,) * (4 - array.ndim) + array.shape
        else:
            blob.shape.dim.extend(array.shape)
    (tmp_path / "n.caffemodel").write_bytes(net.SerializeToString())
    found = read_caffemodel(tmp_path / "n.caffemodel")
    assert list(found) == ["conv1_1"]
    np.testing.assert_array_equal(found["conv1_1"][0], weight)
    np.testing.assert_array_equal(found["conv1_1"][1].reshape(-1), bias)
    state = vgg16_state(found)
    assert state["conv1_1.bias"].shape == (4,)
    assert torch.equal(state["conv1_1.weight"], torch.from_numpy(weight))


def test_numbers_that_are_not_packed_are_read_too(tmp_path):
    blob = LOOSE_BLOB(data=[1.5, -2.0])
    blob.shape.dim.extend([2])
    net = NET()
    net.layer.add(name="fc").blobs.add().ParseFromString(blob.SerializeToString())
    (tmp_path / "n.caffemodel").write_bytes(net.SerializeToString())
    assert read_caffemodel(tmp_path / "n.caffemodel")["fc"][0].tolist() == [1.5, -2.0]


@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04 this is a zip archive", b"\x0a\xff\xff\xff\x7fshort", b"\xff" * 40, b"\x0b\x00"]
)
def test_other_files_are_no_caffe_models(tmp_path, data):
    (tmp_path / "n.caffemodel").write_bytes(data)
    with pytest.raises(InvalidInputError, match=r"n\.caffemodel"):
        read_caffemodel(tmp_path / "n.caffemodel")


def test_a_blob_that_does_not_fill_its_shape_is_refused(tmp_path):
    net = NET()
    blob = net.layer.add(name="conv").blobs.add(data=[1.0, 2.0])
    blob.shape.dim.extend([3])
    (tmp_path / "n.caffemodel").write_bytes(net.SerializeToString())
    with pytest.raises(InvalidInputError, match=r"shape \[3\] holds 2 values"):
        read_caffemodel(tmp_path / "n.caffemodel")


def test_weights_of_another_network_are_refused(tmp_path):
    mxnet_file(tmp_path / "w.params", {"arg:conv1a_weight": np.ones((64, 3, 3, 3), np.float32)}, 0)
    with pytest.raises(InvalidInputError, match="do not fit ResNet38"):
        converted_weights(tmp_path / "w.params")
    with pytest.raises(InvalidInputError, match="can be converted"):
        converted_weights(tmp_path / "w.onnx")
