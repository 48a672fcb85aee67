import pytest

from wsss_jobs.datasets.class_lists import VOC_CLASSES, resolve_class_names
from wsss_jobs.errors import ConfigError


def test_the_voc_classes_are_in_their_order():
    classes = resolve_class_names("voc")
    assert (len(classes), classes[0], classes[14], classes[19]) == (20, "aeroplane", "person", "tvmonitor")
    assert classes == tuple(sorted(VOC_CLASSES))


def test_lists_and_files(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_bytes("\ufeffbackground\n Ähre \n\nvoc plane\n".encode())
    assert resolve_class_names(str(path)) == ("Ähre", "voc plane")
    assert resolve_class_names(["b", "a"]) == ("b", "a")
    assert len(resolve_class_names([str(number) for number in range(254)])) == 254


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "has 0 names"),
        (["background"], "has 0 names"),
        ([str(number) for number in range(255)], "give 1 to 254"),
        (["a", "b", "a"], "'a' stands at place 3 again"),
        (["a", "background"], "background not at all"),
        (["a", " "], "name 2 is ' '"),
        (["a|b"], "'a|b'"),
        ("/no/such/file", "class list /no/such/file: no such file"),
    ],
)
def test_bad_lists(classes, message):
    with pytest.raises(ConfigError) as caught:
        resolve_class_names(classes)
    assert message in str(caught.value)


def test_a_list_in_another_encoding(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_bytes("cat\nÄhre\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="line 2: not UTF-8"):
        resolve_class_names(str(path))
