"""Instances of fields with known centres, and against the published read-out written out."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from models.affinity.instance_centroids import cluster_cells, refine_centroids
from models.errors import InvalidInputError
from models.propagation.instance_masks import InstanceConfig, _parts, _walked, instance_masks
from models.propagation.random_walk import RandomWalkConfig, random_walk

SIZE = (64, 96)
GRID = (16, 24)
WALK = RandomWalkConfig(radius=3, log2_steps=5)


def two_objects():
    """Two discs of one class with centres (8, 6) and (7, 17) cells, each in a ring of boundary."""
    rows, columns = np.mgrid[: GRID[0], : GRID[1]]
    centres = np.array([(8, 6), (7, 17)])
    distance = np.stack([np.hypot(rows - y, columns - x) for y, x in centres])
    owner = distance.argmin(axis=0)
    toward = np.moveaxis(centres[owner], -1, 0) - np.stack([rows, columns])
    inside = distance.min(axis=0) < 4.5
    boundary = (np.abs(distance.min(axis=0) - 5.2) < 0.8) * 0.98 + 0.01
    field = torch.from_numpy(np.where(inside, toward, 0.0)).float()
    cam = torch.from_numpy(np.exp(-((distance.min(axis=0) / 4) ** 2)))[None].float()
    return cam, torch.from_numpy(boundary).float(), field, inside, owner


def test_two_objects_of_one_class_are_two_instances():
    cam, boundary, field, inside, owner = two_objects()
    result = instance_masks(cam, (7,), boundary, field, SIZE, WALK, InstanceConfig(background_threshold=0.4))
    large = [instance for instance in result.instances if instance.score > 0]
    assert [instance.class_id for instance in large] == [7, 7]
    ids = result.id_HW[2::4, 2::4]
    for disc in (0, 1):
        of_disc = ids[inside & (owner == disc)]
        values, counts = np.unique(of_disc, return_counts=True)
        assert counts.max() > 0.85 * len(of_disc)  # the rest lies on the ring
        assert values[counts.argmax()] in (1, 2)
    assert ids[8, 6] != ids[7, 17]


def test_the_table_describes_the_map():
    cam, boundary, field, *_ = two_objects()
    result = instance_masks(cam, (7,), boundary, field, SIZE, WALK, InstanceConfig())
    assert result.id_HW.dtype == np.uint8
    assert set(np.unique(result.id_HW)) == {*range(1, len(result.instances) + 1)} | ({0} & set(result.id_HW.ravel()))
    scores = [instance.score for instance in result.instances]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(1.0)
    for number, instance in enumerate(result.instances, start=1):
        rows, columns = np.nonzero(result.id_HW == number)
        assert instance.num_px == len(rows)
        assert (instance.x_px, instance.y_px) == (columns.min(), rows.min())
        assert instance.x_px + instance.width_px == columns.max() + 1
        assert instance.y_px + instance.height_px == rows.max() + 1


def published(cam, class_ids, boundary, field, config, dense):
    """The released read-out: all maps at once, one-hot clusters, argmax, labelled pieces."""
    centroids = refine_centroids(field, config.num_refinements)
    clusters = cluster_cells(field, centroids, config.max_displacement).numpy()
    num_clusters = clusters.max() + 1
    maps = np.stack([c * (clusters == i) for c in cam.numpy() for i in range(num_clusters)]).astype(np.float64)
    b = boundary.numpy().astype(np.float64)
    transition = np.linalg.matrix_power(dense.transition(b, WALK.radius, WALK.beta), 2**WALK.log2_steps)
    walked = ((maps * (1 - b)).reshape(len(maps), -1) @ transition).reshape(maps.shape)
    up = torch.nn.functional.interpolate(
        torch.from_numpy(walked)[None], scale_factor=4, mode="bilinear", align_corners=False
    )[0].numpy()
    up /= up.max()
    shape = np.concatenate([np.full((1, *up.shape[1:]), config.background_threshold), up]).argmax(axis=0)
    found = []
    for index in range(len(up)):
        pieces, num_pieces = ndimage.label(shape == index + 1)
        for number in range(1, num_pieces + 1):
            mask = pieces == number
            small = mask.sum() < config.min_area_fraction * mask.size
            found.append((class_ids[index // num_clusters], 0.0 if small else (up[index] * mask).max(), mask))
    return found


@pytest.mark.parametrize("seed", range(6))
def test_read_out_is_the_published_one(dense, seed):
    rng = np.random.default_rng(seed)
    field = torch.from_numpy(ndimage.gaussian_filter(rng.normal(0, 12, (2, 7, 9)), (0, 1.5, 1.5)))
    boundary = torch.from_numpy(rng.random((7, 9)) ** 3)
    cam = torch.from_numpy(ndimage.gaussian_filter(rng.random((2, 7, 9)), (0, 1, 1)))
    config = InstanceConfig(num_refinements=15, background_threshold=0.6, min_area_fraction=0.05)
    result = instance_masks(cam, (3, 9), boundary, field, (28, 36), WALK, config)
    expected = published(cam, (3, 9), boundary, field, config, dense)
    assert len(result.instances) == len(expected)
    for class_id, score, mask in expected:
        number = int(result.id_HW[mask][0])
        np.testing.assert_array_equal(result.id_HW == number, mask)
        assert result.instances[number - 1].class_id == class_id
        assert result.instances[number - 1].score == pytest.approx(score, abs=1e-5)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000))
def test_the_parts_of_a_class_add_up_to_its_walk(seed):
    generator = torch.Generator().manual_seed(seed)
    cam, boundary = torch.rand(2, 7, 9, generator=generator), torch.rand(7, 9, generator=generator) ** 3
    clusters = torch.randint(0, 4, (7, 9), generator=generator)
    parts = _parts(cam, clusters)
    walked = list(_walked(cam, clusters, parts, boundary, WALK, (28, 36)))
    whole = torch.nn.functional.interpolate(random_walk(cam, boundary, WALK)[None], scale_factor=4, mode="bilinear")[0]
    for local in range(2):
        total = sum(scores for scores, (of, _) in zip(walked, parts, strict=True) if of == local)
        torch.testing.assert_close(total, whole[local], rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_instances_of_the_cpu():
    cam, boundary, field, *_ = two_objects()
    on_cpu = instance_masks(cam, (7,), boundary, field, SIZE, WALK, InstanceConfig())
    on_cuda = instance_masks(cam.cuda(), (7,), boundary.cuda(), field.cuda(), SIZE, WALK, InstanceConfig())
    assert (on_cpu.id_HW == on_cuda.id_HW).mean() > 0.999
    assert [found.class_id for found in on_cpu.instances] == [found.class_id for found in on_cuda.instances]


def test_nothing_but_background_gives_no_instance():
    nothing = torch.zeros(1, *GRID)
    result = instance_masks(nothing, (7,), nothing[0], torch.zeros(2, *GRID), SIZE, WALK, InstanceConfig())
    assert result.instances == ()
    assert not result.id_HW.any()


def test_more_than_254_pieces_keep_the_best():
    """400 cells, each walled in and in a cluster of its own."""
    h, w = 60, 60
    rows, columns = np.mgrid[:h, :w]
    centre = np.stack([rows // 3 * 3 + 1 - rows, columns // 3 * 3 + 1 - columns]) * 5.0
    wall = torch.from_numpy(((rows % 3 != 1) | (columns % 3 != 1)).astype(np.float32))
    cam = torch.rand(1, h, w, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.5
    config = InstanceConfig(num_refinements=5, min_area_fraction=0.0, background_threshold=0.05)
    result = instance_masks(cam, (1,), wall, torch.from_numpy(centre), (h, w), RandomWalkConfig(log2_steps=0), config)
    assert len(result.instances) == 254
    assert result.id_HW.max() == 254


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_refinements": -1}, "num_refinements"),
        ({"max_displacement": 0.0}, "max_displacement"),
        ({"background_threshold": 1.5}, "background_threshold"),
        ({"min_area_fraction": -0.1}, "min_area_fraction"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(InvalidInputError, match=message):
        InstanceConfig(**options)
