"""Class tokens, attention read out of timm's blocks, and CAMs spread over patches, against plain restatements."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from models.backbones import EncoderConfig
from models.classifiers.class_token_config import ClassTokenConfig
from models.classifiers.class_token_transformer import build_class_token_transformer
from models.classifiers.multi_scale_cam import multi_scale_cam
from models.classifiers.patch_attention import patch_affinity, refined_cams, spread
from models.errors import InvalidInputError
from models.parameter_groups import BiasRule

TINY = EncoderConfig("timm/test_vit", None, output_stride=16, size_multiple=16)
CLASSES = 3


def transformer(**options):
    torch.manual_seed(0)
    return build_class_token_transformer(ClassTokenConfig(TINY, **options), CLASSES).eval()


@torch.no_grad()
def attention_by_hand(model, images):
    """Softmax of queries and keys of every block, all heads: (list of `[B, heads, N, N]`, tokens behind the last)."""
    vit = model.vit
    x = vit.patch_embed(images)
    batch, height, width, depth = x.shape
    prefix, grid = vit.pos_embed[:, :CLASSES], vit.pos_embed[:, CLASSES:]
    side = int(grid.shape[1] ** 0.5)
    grid = grid.reshape(1, side, side, depth).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=(height, width), mode="bicubic", antialias=True).flatten(2).transpose(1, 2)
    x = torch.cat([vit.cls_token.expand(batch, -1, -1) + prefix, x.flatten(1, 2) + grid], dim=1)
    found = []
    for block in vit.blocks:
        normed, heads = block.norm1(x), block.attn.num_heads
        q, k, _ = block.attn.qkv(normed).chunk(3, dim=-1)
        q, k = (t.unflatten(2, (heads, -1)).transpose(1, 2) for t in (q, k))
        found.append((q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(dim=-1))
        x = block(x)
    return found, x


@torch.no_grad()
def test_maps_and_affinity_are_read_from_the_attention_of_each_block():
    model, images = transformer(refine=False, attention_layers=2), torch.randn(2, 3, 64, 48)
    layers, tokens = attention_by_hand(model, images)
    assert len(layers) == len(model.vit.blocks)
    means = [layer.mean(1) for layer in layers]
    affinity = sum(layer[:, CLASSES:, CLASSES:] for layer in means)
    assert torch.allclose(model.patch_affinity(images), affinity, atol=1e-4)
    patches = tokens[:, CLASSES:].transpose(1, 2).reshape(2, -1, 4, 3)
    of_head = model.patch_head(patches)
    seen = sum(layer[:, :CLASSES, CLASSES:] for layer in means[-2:]).reshape(2, CLASSES, 4, 3)
    fused = seen * of_head.clamp_min(0)
    assert torch.allclose(model.class_maps(images), fused, atol=1e-4)
    logits = torch.stack([tokens[:, :CLASSES].mean(-1), of_head.mean((2, 3))])
    assert torch.allclose(model(images), logits, atol=1e-4)
    refined = transformer(attention_layers=2).class_maps(images)
    expected = torch.einsum("bij,bcj->bci", affinity, fused.flatten(2)).view_as(fused)
    assert torch.allclose(refined, expected, atol=1e-3)


@torch.no_grad()
def test_each_kind_of_map():
    images = torch.randn(1, 3, 32, 48)
    fused, patch, attention = (
        transformer(maps=m, refine=False).class_maps(images) for m in ("fused", "patch", "attention")
    )
    assert torch.allclose(fused, patch * attention, atol=1e-6)


def test_reading_the_attention_leaves_the_network_as_it_was():
    model = transformer()
    before = [(block.attn.fused_attn, len(block.attn.attn_drop._forward_hooks)) for block in model.vit.blocks]
    with torch.no_grad():
        model.class_maps(torch.randn(1, 3, 32, 32))
    after = [(block.attn.fused_attn, len(block.attn.attn_drop._forward_hooks)) for block in model.vit.blocks]
    assert before == after


def test_class_tokens_start_as_copies_and_learn_apart():
    model = transformer().train()
    tokens = model.vit.cls_token
    assert tokens.shape[1] == CLASSES
    assert torch.equal(tokens[0, 0], tokens[0, 2])
    assert model.vit.pos_embed.shape[1] == CLASSES + model.vit.patch_embed.num_patches
    labels = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    groups = model.parameter_groups(0.1, 0.2, BiasRule())
    F.binary_cross_entropy_with_logits(model(torch.randn(2, 3, 64, 64))[0], labels).backward()
    assert not torch.equal(tokens.grad[0, 0], tokens.grad[0, 2])
    listed = {id(p) for group in groups for p in group["params"]}
    names = {name for name, p in model.named_parameters() if id(p) not in listed}
    assert names == {"vit.norm.weight", "vit.norm.bias"}  # never used: DDP would wait for them


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), num_layers=st.integers(1, 3), height=st.integers(1, 4), width=st.integers(1, 4))
def test_spreading_is_the_sum_over_patches(seed, num_layers, height, width):
    generator = torch.Generator().manual_seed(seed)
    count = height * width
    layers = [torch.rand(1, 2 + count, 2 + count, generator=generator) for _ in range(num_layers)]
    affinity = patch_affinity(layers, 2)
    maps = torch.rand(1, 2, height, width, generator=generator)
    found = spread(maps, affinity)
    for k, y, x in np.ndindex(2, height, width):
        expected = 0.0
        for j, layer in np.ndindex(count, num_layers):
            expected += float(layers[layer][0, 2 + y * width + x, 2 + j]) * float(maps[0, k, j // width, j % width])
        assert float(found[0, k, y, x]) == pytest.approx(expected, rel=1e-4)


class Same:
    """A network in which every patch attends to itself alone."""

    encoder_config = TINY
    device = torch.device("cpu")

    def normalisation(self, image_HW3):
        return torch.from_numpy(image_HW3.copy()).permute(2, 0, 1).float()

    def patch_affinity(self, images):
        count = (images.shape[2] // 16) * (images.shape[3] // 16)
        return torch.eye(count).expand(len(images), -1, -1)


class Everywhere(Same):
    """One in which all patches attend to all."""

    def patch_affinity(self, images):
        return torch.ones_like(super().patch_affinity(images))


def test_without_attention_to_others_a_smooth_cam_stays_and_with_attention_to_all_it_is_levelled():
    image = np.zeros((64, 80, 3), np.uint8)
    ramp = torch.linspace(0, 1, 20).expand(1, 16, 20)
    kept = refined_cams(Same(), image, ramp)
    assert torch.allclose(kept[0, :, 3:-3], ramp[0, :, 3:-3], atol=0.12)
    assert float(kept[0].diff(dim=1).min()) >= -1e-6
    assert not refined_cams(Everywhere(), image, ramp).any()  # no class value stands out


def test_the_cam_of_a_mirrored_image_is_mirrored():
    model, rng = transformer(), np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 96, 3), dtype=np.uint8)
    cam = torch.from_numpy(rng.random((2, 16, 24), dtype=np.float32))
    plain = refined_cams(model, image, cam)
    mirrored = refined_cams(model, np.ascontiguousarray(image[:, ::-1]), cam.flip(-1)).flip(-1)
    assert torch.allclose(plain, mirrored, atol=1e-3)


@pytest.mark.parametrize("size", [(50, 33), (16, 16), (70, 20)])
def test_any_size_gives_cams_in_range_of_the_same_grid(size):
    model = transformer()
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    grid = [-(-side // 4) for side in size]
    found = refined_cams(model, image, torch.rand(2, *grid), (1.0, 1.5))
    assert found.shape == (2, *grid)
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    own = multi_scale_cam(model, image, (1, 3), (1.0,))
    assert own.high_res_KHW.shape == (2, *size)
    assert 0 <= float(own.cam_Khw.min()) <= float(own.cam_Khw.max()) <= 1


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        (EncoderConfig("timm/no_such_vit", None), "timm knows no such network"),
        (EncoderConfig("resnet50", None), "timm knows no such network"),
        (EncoderConfig("timm/test_efficientnet", None), "no ViT|does not take"),
        (EncoderConfig("timm/test_vit", None, output_stride=8), "patches of"),
    ],
)
def test_networks_that_do_not_fit_are_named(encoder, words):
    with pytest.raises(InvalidInputError, match=words):
        build_class_token_transformer(ClassTokenConfig(encoder), 3)


def test_bad_settings_and_empty_cams_are_refused():
    with pytest.raises(InvalidInputError, match="attention_layers"):
        ClassTokenConfig(TINY, attention_layers=0)
    with pytest.raises(InvalidInputError, match="not empty"):
        refined_cams(Same(), np.zeros((32, 32, 3), np.uint8), torch.zeros(0, 8, 8))
