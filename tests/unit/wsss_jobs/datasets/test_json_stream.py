import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_jobs.datasets import json_stream
from wsss_jobs.datasets.json_stream import array_elements
from wsss_jobs.errors import ConfigError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(
    members=st.dictionaries(st.sampled_from("abcd"), VALUES),
    wanted=st.lists(VALUES),
    indent=st.sampled_from([None, 1]),
    piece_chars=st.integers(1, 9),
)
def test_it_finds_what_the_json_module_finds_however_the_text_is_cut(members, wanted, indent, piece_chars):
    content = {**members, "wanted": wanted}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_PIECE_CHARS", piece_chars)
        scanner = json_stream._Scanner(io.StringIO(json.dumps(content, indent=indent)))
        found = {}
        for name in scanner.members():
            found[name] = list(scanner.elements()) if scanner.peek() == "[" else scanner.value()
    assert found == content


@pytest.mark.parametrize(("text", "message"), [
    ('{"a": [1, 2', "it ends too early"),
    ('{"a": [1 2]}', "'2' where one of , ] is due"),
    ('{"a": [1, }', "Expecting value"),
    ('{"a" [1]}', "where one of : is due"),
    ("{a: [1]}", "a key is missing"),
    ("[]", "where one of { is due"),
    ("", "it ends too early"),
    ('{"a": {}}', "its member 'a' is no array"),
])  # fmt: skip
def test_what_is_no_json_is_a_config_error(tmp_path, text, message):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"my file .*a\.json") as caught:
        list(array_elements(str(path), ["a"], "my file"))
    assert message in str(caught.value)


def test_files_in_a_store_and_files_that_are_not_there(store):
    store.put("deep/a.json", b'\xef\xbb\xbf{"x": 1, "a": [{"b": 2}, 3], "c": [4]}')
    assert list(array_elements(store.uri_of("deep/a.json"), ["a"], "my file")) == [("a", {"b": 2}), ("a", 3)]
    with pytest.raises(ConfigError, match="no such file"):
        list(array_elements(store.uri_of("deep/b.json"), ["a"], "my file"))


def test_memory_holds_one_piece_and_one_element(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"a": [{"text": "x" * 50}] * 2000}))
    monkeypatch.setattr(json_stream, "_PIECE_CHARS", 1000)
    with path.open() as file:
        scanner = json_stream._Scanner(file)
        next(scanner.members())
        longest = 0
        for _ in scanner.elements():
            longest = max(longest, len(scanner._buffer))
    assert longest < 3000
