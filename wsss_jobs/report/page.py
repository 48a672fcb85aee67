"""From what is known of a run to the page: one HTML file with its style and script inside."""

import base64
import functools
import hashlib
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment

from wsss_jobs.report import formats
from wsss_jobs.report.charts import HEIGHT, WIDTH
from wsss_jobs.report.gallery import IMAGE_TITLE
from wsss_jobs.report.overlays import CONFUSED_COLOUR, EXTRA_COLOUR, MISSED_COLOUR
from wsss_jobs.report.palette import heat_scale, hex_colour
from wsss_jobs.report.template_environment import template_environment

_TEMPLATE, _SCRIPT = "report.html.j2", "report.js"
# Lone surrogates stand for bytes of a path that is no UTF-8; they must not break the page.
_ENCODING_ERRORS = "backslashreplace"


def render_page(content: Mapping[str, Any]) -> bytes:
    """Returns the page as UTF-8. Every value of `content` is escaped where it is written."""
    environment = _environment()
    text = environment.get_template(_TEMPLATE).render(
        **content,
        **_derived(content),
        script_hash=_script_hash(environment),
        heat_light=heat_scale(dark=False),
        heat_dark=heat_scale(dark=True),
        chart_width=WIDTH,
        chart_height=HEIGHT,
        mistake_colours={
            "mistake: object on background": hex_colour(EXTRA_COLOUR),
            "mistake: object missed": hex_colour(MISSED_COLOUR),
            "mistake: wrong class": hex_colour(CONFUSED_COLOUR),
        },
    )
    return text.encode("utf-8", _ENCODING_ERRORS)


def _derived(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what sections ask of the content as a whole."""
    cards = content["cards"]
    shown = {label for card in cards for label in card.item.labels}
    return {
        "devices": ", ".join(sorted({stage.devices for stage in content["stages"] if stage.devices})),
        "layer_titles": [IMAGE_TITLE, *(layer.title for layer in content["layers"])],
        "shown_classes": [tag for tag in content["facts"].classes if tag.class_id in shown],
        "has_crf_gains": any(card.crf_gain is not None for card in cards),
        "has_gains": any(row.gain is not None for row in content["classes"]),
        "has_mistakes": any(layer.is_mistakes for layer in content["layers"]),
        "has_instances": any(layer.is_instances for layer in content["layers"]),
    }


@functools.cache
def _environment() -> Environment:
    environment = template_environment("wsss_jobs.report")
    environment.filters |= {
        "percent": formats.percent,
        "points": formats.points,
        "duration": formats.duration,
        "count": formats.count,
    }
    return environment


def _script_hash(environment: Environment) -> str:
    """Returns the hash by which the page's content security policy knows its own script and refuses any other."""
    script = environment.get_template(_SCRIPT).render()
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
