import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from wsss_jobs.datasets.config import FolderConfig
from wsss_jobs.datasets.doctor import diagnose
from wsss_jobs.datasets.images import decode_image
from wsss_jobs.datasets.sources import load_class_names, load_sources
from wsss_jobs.datasets.synthetic import SYNTHETIC_CLASSES, SyntheticStyle, generate
from wsss_jobs.datasets.synthetic.painting import is_inside, part_frame, pattern_of, rotation
from wsss_jobs.datasets.synthetic.randomness import HashRandom
from wsss_jobs.datasets.synthetic.scene import paint_scene
from wsss_jobs.datasets.synthetic.scenery import SCENES
from wsss_jobs.datasets.synthetic.shapes import SHAPES, Part
from wsss_jobs.datasets.synthetic.stored_png import encode_stored_png
from wsss_jobs.errors import ConfigError
from wsss_jobs.storage.mask_png import decode_mask
from wsss_jobs.storage.uris import open_store, read_uri

GOLDEN = ["80e3236675e8e6a9", "7c4f444880478b5a"]  # of the image and of the mask
SMALL = SyntheticStyle(width_px=64, height_px=48)


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("set"), num_images=36, seed=3, style=SMALL)


def both_lists(config):
    return load_sources(config.model_copy(update={"splits": ("train", "val")}))


def test_the_set_is_healthy_and_its_tags_are_its_masks(generated):
    sources = both_lists(generated)
    assert load_class_names(generated) == SYNTHETIC_CLASSES
    assert len(sources) == 36
    for source in sources:
        label_HW = decode_mask(read_uri(source.mask_uri))
        assert source.labels == tuple(int(value) for value in np.unique(label_HW) if value)
        assert decode_image(read_uri(source.uri), source.source_key).shape == (48, 64, 3)
    findings = diagnose(generated.model_copy(update={"splits": ("train", "val")})).findings
    assert [finding for finding in findings if finding.severity == "error"] == []


def test_both_lists_have_all_classes_and_no_image_in_common(generated):
    train, val = (load_sources(generated.model_copy(update={"splits": (split,)})) for split in ("train", "val"))
    assert (len(train), len(val)) == (30, 6)
    assert {source.source_key for source in train}.isdisjoint(source.source_key for source in val)
    for sources in (train, val):
        assert {label for source in sources for label in source.labels} == {1, 2, 3, 4, 5, 6}


def test_the_csv_says_what_the_annotations_say(generated):
    config = FolderConfig(
        images=f"{generated.root}/JPEGImages",
        tags=f"{generated.root}/image_labels.csv",
        classes=f"{generated.root}/classes.txt",
    )
    from_csv = {source.source_key: source.labels for source in load_sources(config)}
    assert from_csv == {source.source_key: source.labels for source in both_lists(generated)}


def test_images_are_equal_to_the_byte_on_every_machine():
    """These digests must hold on any processor and with any NumPy; a change here is a new VERSION."""
    image_HW3, label_HW = paint_scene(0, 0, SyntheticStyle())
    digests = [hashlib.sha256(data).hexdigest()[:16] for data in (encode_stored_png(image_HW3), label_HW.tobytes())]
    assert digests == GOLDEN


def test_another_seed_or_number_is_another_image():
    images = [paint_scene(seed, number, SMALL)[0].tobytes() for seed in range(3) for number in range(3)]
    assert len(set(images)) == 9
    assert paint_scene(2, 1, SMALL)[0].tobytes() == images[7]


def test_objects_differ_from_what_is_around_them():
    """The edge of a mask is an edge of the picture: that is what affinities and CRFs live on."""
    on_edges, elsewhere = [], []
    for number in range(12):
        image_HW3, label_HW = paint_scene(1, number, SyntheticStyle())
        step_HW = np.abs(np.diff(image_HW3.astype(float), axis=1)).sum(-1)
        is_edge_HW = np.diff(label_HW.astype(int), axis=1) != 0
        on_edges.append(step_HW[is_edge_HW].mean())
        elsewhere.append(step_HW[~is_edge_HW].mean())
    assert np.mean(on_edges) > 2.5 * np.mean(elsewhere)


def test_objects_are_of_a_visible_size():
    areas = []
    for number in range(18):
        _, label_HW = paint_scene(5, number, SyntheticStyle())
        areas += [np.mean(label_HW == value) for value in np.unique(label_HW) if value]
    assert min(areas) > 0.01
    assert max(areas) < 0.6


def test_a_finished_set_is_kept_and_a_broken_off_one_is_finished(tmp_path):
    generate(tmp_path, 6, 0, SMALL)
    store = open_store(tmp_path)
    before = {info.key: store.get(info.key) for info in store.list()}
    called = []
    generate(tmp_path, 6, 0, SMALL, on_progress=lambda done, total: called.append(done))
    assert called == []
    store.delete(["synthetic.json", "JPEGImages/scene_0003.png", "ImageSets/Segmentation/val.txt"])
    generate(tmp_path, 6, 0, SMALL, on_progress=lambda done, total: called.append(done))
    assert called == [1, 2, 3, 4, 5, 6]
    assert {info.key: store.get(info.key) for info in store.list()} == before


def test_other_data_is_never_overwritten(tmp_path):
    generate(tmp_path / "set", 6, 0, SMALL)
    with pytest.raises(ConfigError, match="other settings"):
        generate(tmp_path / "set", 6, 1, SMALL)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"is not empty \(photo\.jpg\)"):
        generate(tmp_path / "mine", 6, 0, SMALL)
    with pytest.raises(ConfigError, match="needs 6 images or more"):
        generate(tmp_path / "few", 5)


def test_it_writes_to_s3(s3_bucket):
    config = generate(f"s3://{s3_bucket}/set", 6, 0, SMALL)
    assert len(load_sources(config)) == 6


@pytest.mark.parametrize(
    ("name", "value"),
    [("width_px", 20), ("max_size", 0.9), ("min_size", 0.5), ("context", 1.5), ("texture", -0.1), ("max_objects", 0)],
)
def test_impossible_styles_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        SyntheticStyle(**{name: value})


@pytest.mark.parametrize("name", SCENES)
def test_every_scene_is_a_picture(name):
    canvas_HW3 = SCENES[name](HashRandom(0, name), 96, 128, 0.5)
    assert canvas_HW3.shape == (96, 128, 3)
    assert canvas_HW3.min() >= 0
    assert canvas_HW3.max() <= 1.05
    assert canvas_HW3.std() > 0.02


@pytest.mark.parametrize("name", SHAPES)
def test_marks_are_a_part_of_the_object_and_no_part_leaves_the_frame(name):
    axis = np.linspace(-1.35, 1.35, 271)
    u_HW, v_HW = np.meshgrid(axis, axis)
    covered_HW, marked_HW = np.zeros((271, 271), bool), np.zeros((271, 271), bool)
    for part in SHAPES[name]:
        inside_HW = is_inside(part, *part_frame(part, u_HW, v_HW))
        assert inside_HW.any()
        inside_HW &= covered_HW | (not part.inside)
        covered_HW |= inside_HW
        marked_HW[inside_HW] = part.pattern != "plain"
    assert not covered_HW[[0, -1]].any()
    assert not covered_HW[:, [0, -1]].any()
    assert 0.08 < marked_HW.sum() / covered_HW.sum() < 0.55


def test_outlines_by_hand():
    points = np.array([[0.0, 0.0], [0.9, 0.9], [0.0, -0.9], [0.0, 0.9], [0.8, 0.0]])
    a, b = points[:, 0], points[:, 1]
    expected = {
        "ellipse": [1, 0, 1, 1, 1],
        "box": [1, 0, 1, 1, 1],
        "triangle": [1, 1, 1, 1, 0],
        "dome": [1, 0, 1, 0, 1],
    }
    for outline, inside in expected.items():
        assert is_inside(Part(outline, 0, 0, 1, 1), a, b).astype(int).tolist() == inside, outline


def test_a_turn_is_a_rotation():
    cosine, sine = rotation(np.tan(np.deg2rad(30) / 2))
    np.testing.assert_allclose((cosine, sine), (np.cos(np.deg2rad(30)), 0.5))


@pytest.mark.parametrize("kind", ["dots", "stripes", "rings", "checks", "zigzag", "lattice"])
def test_patterns_have_two_values_and_some_of_each(kind):
    p_HW, q_HW = np.meshgrid(np.linspace(-2, 2, 80), np.linspace(-2, 2, 80))
    pattern_HW = pattern_of(kind, p_HW, q_HW)
    assert set(np.unique(pattern_HW)) == {0.0, 1.0}
    assert 0.2 < pattern_HW.mean() < 0.8


def test_stored_png_is_read_by_others():
    image_HW3 = np.random.default_rng(0).integers(0, 255, (200, 150, 3), np.uint8)
    data = encode_stored_png(image_HW3)
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(np.array(image), image_HW3)
    assert len(data) > image_HW3.size


def test_random_numbers_are_splitmix64():
    """Against the published algorithm in plain integers."""
    random = HashRandom("key", 7)
    state = int.from_bytes(hashlib.sha256(b"('key', 7)").digest()[:8], "little")
    expected = []
    for _ in range(5):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
        expected.append(((z ^ (z >> 31)) >> 11) / 2**53)
    assert [random.uniform(0, 1) for _ in range(2)] + random.array(3).tolist() == expected


def test_random_choices_cover_their_range():
    random = HashRandom(0)
    assert {random.integer(2, 5) for _ in range(200)} == {2, 3, 4, 5}
    assert sorted(random.shuffled("abcdef")) == list("abcdef")
    assert abs(sum(random.chance(0.25) for _ in range(4000)) / 4000 - 0.25) < 0.03
    assert abs(HashRandom(1).array(10_000).mean() - 0.5) < 0.01
