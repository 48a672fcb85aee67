from pathlib import Path

import pytest

from wsss_jobs.comparison.config import load_comparison, shipped_comparisons
from wsss_jobs.errors import ConfigError

REPOSITORY = Path(__file__).parents[4]
WSGCN = [name for name in shipped_comparisons() if name.startswith("wsgcn") and "student" not in name]


@pytest.mark.parametrize("source", [*WSGCN, str(REPOSITORY / "benchmarks" / "real_voc_compare.yaml")])
def test_shipped_comparisons_hold_the_paper(source):
    comparison = load_comparison(source)
    table_1 = {row.method: row.published.get("miou") for row in comparison.tables["table_1"].rows}
    assert (table_1["PSA"], table_1["IRNet"], table_1["WSGCN-P"], table_1["WSGCN-I"]) == (59.7, 66.5, 64.0, 68.0)
    table_2 = [row.published.get("miou") for row in comparison.tables["table_2"].rows]
    assert table_2 == [62.0, 63.5, 64.4, 66.7, None, 66.0, 66.1, 68.0]
    assert comparison.tables["table_4"].rows[1].published == {"val": 63.1, "test": 64.4}
    aims = {margin.aim for margin in comparison.margins.values()}
    assert aims == {1.5, 4.3}
    assert aims == {round(table_1["WSGCN-I"] - table_1["IRNet"], 1), round(table_1["WSGCN-P"] - table_1["PSA"], 1)}


def test_an_unknown_comparison_names_the_shipped_ones():
    with pytest.raises(ConfigError, match=r"no such file.*wsgcn_small.*wsgcn_voc"):
        load_comparison("wsgcn")


def test_a_recipe_lies_beside_its_comparison_file(content, write_comparison, tmp_path):
    loaded = load_comparison(write_comparison(content))
    assert loaded.variants["full"].recipe == str(tmp_path / "tiny.yaml")


def test_a_file_with_a_base_says_only_what_differs(content, write_comparison, tmp_path):
    write_comparison(content)
    toy = load_comparison(str(tmp_path / "toy.yaml"))
    [margin] = toy.margins
    again = "{title: again, variant: full, step: read_cams}"
    own = f"name: more\nseeds: [3, 4]\nmethods: {{again: {again}}}\nmargins: {{{margin}: null}}\n"
    (tmp_path / "more.yaml").write_text(f"base: toy.yaml\n{own}")
    more = load_comparison(str(tmp_path / "more.yaml"))
    assert (more.name, more.seeds, more.margins) == ("more", (3, 4), {})
    assert more.variants == toy.variants
    assert {name: more.methods[name] for name in toy.methods} == toy.methods
    assert more.methods["again"].title == "again"
    assert set(more.tables) == {"one"}


def test_a_file_that_is_its_own_base_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("base: b.yaml\n")
    (tmp_path / "b.yaml").write_text("base: b.yaml\n")
    with pytest.raises(ConfigError, match="its own base"):
        load_comparison(str(tmp_path / "a.yaml"))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("variants", "full", "recipes"), "x", r"variants\.full\.recipes: unknown key; did you mean 'recipe'"),
        (
            ("methods", "gcn", "variant"),
            "ful",
            r"methods\.gcn\.variant: no variant is called 'ful'; .* full, plain",
        ),
        (("margins", "gcn_minus_walk", "below"), "psa", r"margins\.gcn_minus_walk\.below: no method is called 'psa'"),
        (("tables", "one", "rows", 1, "ours"), "seam", r"tables\.one, row 'SEAM': no method is called 'seam'"),
        (("tables", "one", "rows", 1, "published"), {"val": 1.0}, r"row 'SEAM': no column 'val'; columns are miou"),
        (("plots",), ["cam"], "plots: no method is called 'cam'"),
        (("seeds",), [1, 1], "one is given twice"),
        (("seeds",), [], "at least 1"),
        (("name",), "My tables", "lower-case letters"),
    ],
)
def test_what_does_not_fit_is_named(content, write_comparison, path, value, message):
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ConfigError, match=message):
        load_comparison(write_comparison(content))
