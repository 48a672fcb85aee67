import hashlib
import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wsss_jobs.storage import object_keys
from wsss_jobs.storage.object_keys import object_key
from wsss_jobs.storage.object_store import check_key

# What an escaping scheme gets wrong: its own marks, hex digits beside them, separators, dots, surrogates.
NASTY = st.lists(
    st.sampled_from([*"ab%~25E/. \\\x00\n\udcffé\uffff", "empty", ".png", "%2F"]),
    max_size=12,
).map("".join)
ANY = st.text(alphabet=st.characters(), max_size=40)
LONG = st.builds(
    lambda text, times, tail: text * times + tail, st.text("a/é%", min_size=1, max_size=3), st.integers(60, 400), ANY
)


def decode(key: str) -> str:
    """The name of a key that was not cut: written from the description, not from the code."""
    segments = ["" if segment == "%empty" else segment for segment in key.split("/")]
    return "/".join(unquote_to_bytes(segment).decode("utf-8", "surrogatepass") for segment in segments)


@given(st.one_of(NASTY, ANY))
@example("")
@example("%empty")
@example("a//b/")
@example("a.png/b")
def test_short_names_can_be_read_back_so_no_two_share_a_key(name):
    assert decode(object_key(name)) == name


@given(st.one_of(NASTY, ANY, LONG), st.one_of(NASTY, ANY, LONG))
def test_different_names_have_different_keys(first, second):
    assert (object_key(first) == object_key(second)) == (first == second)


@given(st.one_of(NASTY, ANY, LONG))
def test_every_key_fits_every_store(name):
    key = object_key(name) + ".parquet"
    check_key(key)
    assert len(key.encode()) <= 1024 - 300, "room for the prefix of an S3 store"
    assert all(len(segment.encode()) <= 240 for segment in key.split("/"))


@given(LONG)
def test_the_key_of_a_name_is_not_the_key_of_another(name):
    """Feeding a key back gives a new key unless nothing was escaped or cut."""
    key = object_key(name)
    assert key == name or object_key(key) != key


@pytest.mark.parametrize(
    "name", ["2007_000032", "folder/IMG 0001", "日本/写真", "a+b#c", "Ünï.cödé", "(1) [x] & y=z; 'q'", "a.b-c"]
)
def test_ordinary_names_stay(name):
    assert object_key(name) == name


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("../../etc/passwd", "%2E%2E/%2E%2E/etc/passwd"),
        ("/etc/passwd", "%empty/etc/passwd"),
        (".tmp-x", "%2Etmp-x"),
        ("50%", "50%25"),
        ("a\nb", "a%0Ab"),
        ("dir.PNG/x", "dir%2EPNG/x"),
        ("\udcff", "%ED%B3%BF"),
    ],
)
def test_dangerous_names(name, key):
    assert object_key(name) == key


def test_long_names_keep_their_beginning():
    name = "x" * 300
    assert object_key(name) == "x" * 90 + "~" + hashlib.sha256(name.encode()).hexdigest()[:32]
    assert object_key("d/" * 400 + "last").endswith("/last")


@given(st.text(alphabet="aZ9_-/. ", max_size=30) | st.builds("/".join, st.lists(st.text("aZ9_-", max_size=120))))
def test_the_short_way_for_ordinary_names_changes_no_key(name):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(object_keys, "_ORDINARY", re.compile("(?!)"))
        expected = object_key(name)
    assert object_key(name) == expected
