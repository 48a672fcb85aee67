"""A comparison as one Markdown page."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from wsss_jobs.comparison.config import Comparison
from wsss_jobs.comparison.tables import TextTable


def comparison_page(comparison: Comparison, tables: Iterable[TextTable], pictures: Sequence[tuple[str, str]]) -> str:
    """Returns the page: what was compared, tables, pictures.

    Args:
        pictures: Pairs of caption and link.
    """
    lines = [f"# {comparison.name}", "", *_recipes(comparison), ""]
    if comparison.description:
        lines[2:2] = [comparison.description, ""]
    for table in tables:
        lines += [markdown_table(table), ""]
    for caption, link in pictures:
        lines += [f"## {caption}", "", f"![{caption}]({link})", ""]
    return "\n".join(lines)


def markdown_table(table: TextTable) -> str:
    """Returns a table under a heading of its own, with its note."""
    rules = [":--" if index < table.num_texts else "--:" for index in range(len(table.headings))]
    rows = [table.headings, rules, *table.rows]
    lines = [f"## {table.title}", "", *(f"| {' | '.join(map(_cell, row))} |" for row in rows)]
    return "\n".join([*lines, "", _cell(table.note)] if table.note else lines)


def _recipes(comparison: Comparison) -> list[str]:
    lines = []
    for name, variant in comparison.variants.items():
        changes = f" with {', '.join(f'`{change}`' for change in variant.set)}" if variant.set else ""
        added = [f"`{stage.get('name', stage.get('stage'))}`" for stage in variant.add]
        more = f", and {', '.join(added)}" if added else ""
        lines.append(f"- `{name}`: `{Path(variant.recipe).name}`{changes}{more}")
    common = [f"- all: {', '.join(f'`{change}`' for change in comparison.set)}"] if comparison.set else []
    return [*lines, *common]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
