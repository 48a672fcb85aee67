"""From parts to scores, reasons and the order of the queue."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsss_jobs.quality.image_quality import PART_NAMES, ImageParts, combined, mid_ranks


def image(name, missing=(), **values):
    return ImageParts(name, f"images/{name}", values, missing)


def test_score_is_the_mean_of_the_parts_that_the_run_has():
    found = combined([image("a", framing=0.2, confidence=0.6), image("b", framing=0.8, confidence=0.9)])
    assert [(each.item_id, pytest.approx(each.score)) for each in found] == [("a", 0.4), ("b", 0.85)]


def test_a_part_that_one_image_lacks_is_replaced_by_the_mean_of_the_others():
    images = [image("a", framing=0.5, confidence=0.9), image("b", framing=0.5, confidence=0.7), image("c", framing=0.5)]
    by_id = {each.item_id: each for each in combined(images)}
    assert by_id["c"].score == pytest.approx((0.5 + 0.8) / 2)
    assert by_id["c"].parts.get("confidence") is None
    assert by_id["c"].weakest == "framing"


def test_the_reason_is_the_part_that_is_lowest_among_its_like():
    # cam_agreement is always below confidence in value; what counts is the rank among the images
    values = [(0.1, 0.9), (0.3, 0.5), (0.4, 0.8), (0.5, 0.85)]
    found = {
        e.item_id: e
        for e in combined([image(str(n), cam_agreement=a, confidence=c) for n, (a, c) in enumerate(values)])
    }
    assert found["0"].weakest == "cam_agreement"
    assert found["1"].weakest == "confidence"
    assert found["1"].reason == "the scores are undecided"


def test_missing_tags_are_named():
    images = [image("a", ("cat", "dog"), tag_coverage=0.0, framing=0.9), image("b", tag_coverage=1.0, framing=0.1)]
    assert combined(images)[0].reason in {"no pixels of cat, dog", "the mask touches much of the image's frame"}
    found = {each.item_id: each.reason for each in combined(images)}
    assert found["a"] == "no pixels of cat, dog"


def test_an_empty_mask_has_no_other_reason():
    images = [
        image("a", ("cat",), tag_coverage=0.0, boundary_fit=0.0),
        image("b", ("dog",), tag_coverage=0.0, boundary_fit=0.1),
        image("c", tag_coverage=1.0, boundary_fit=0.9),
    ]
    assert [each.reason for each in combined(images)][:2] == ["no pixels of cat", "no pixels of dog"]


def test_nothing_to_score():
    assert combined([]) == []
    assert combined([image("a")])[0].score == 0.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_mid_ranks_by_counting(values):
    wanted = [(sum(v < x for v in values) + sum(v <= x for v in values)) / (2 * len(values)) for x in values]
    assert mid_ranks(np.array(values)) == pytest.approx(wanted)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12))
def test_worst_first_and_within_the_parts(pairs):
    found = combined([image(f"{n:02d}", framing=a, boundary_fit=b) for n, (a, b) in enumerate(pairs)])
    scores = [each.score for each in found]
    assert scores == sorted(scores)
    for each in found:
        values = [each.parts[name] for name in ("framing", "boundary_fit")]
        assert min(values) - 1e-9 <= each.score <= max(values) + 1e-9
        assert each.weakest in PART_NAMES
