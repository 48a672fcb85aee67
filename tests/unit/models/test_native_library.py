"""Where the C++ libraries are looked for."""

from importlib.machinery import EXTENSION_SUFFIXES

from models import native_library


def test_a_checkout_without_libraries_takes_those_of_the_installation(tmp_path, monkeypatch):
    installed = tmp_path / "models" / "crf" / f"_probe_baseline{EXTENSION_SUFFIXES[0]}"
    installed.parent.mkdir(parents=True)
    installed.touch()
    facts = tmp_path / "wsss_jobs-0.1.0.dist-info" / "METADATA"
    facts.parent.mkdir()
    facts.write_text("Metadata-Version: 2.1\nName: wsss-jobs\nVersion: 0.1.0\n")
    assert native_library._library_path("models.crf", "_probe_baseline") is None
    monkeypatch.syspath_prepend(tmp_path)
    assert native_library._library_path("models.crf", "_probe_baseline") == installed


def test_its_own_libraries_come_first(tmp_path, monkeypatch):
    monkeypatch.setattr(native_library, "_installed_folders", lambda _package: [tmp_path])
    for isa in native_library.supported_isas():
        own = native_library._library_path("models.crf", f"_dense_crf_{isa}")
        assert own is None or own.parent != tmp_path
