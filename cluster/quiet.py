"""Keeps Ray from writing over the user's terminal; what it has to say goes to our log."""

import logging
from typing import Any

import ray._private.worker as _ray_worker  # Ray offers no switch for what this file redirects

logger = logging.getLogger("cluster.ray")


def redirect_messages() -> None:
    """Log what Ray would print on the driver's stdout, such as the last lines of a raylet that was killed.

    `log_to_driver=False` does not cover these messages.
    """
    if hasattr(_ray_worker, "print_to_stdstream"):
        _ray_worker.print_to_stdstream = _log_message


def _log_message(data: dict[str, Any], ignore_prefix: bool = False) -> None:  # noqa: ARG001 - Ray's signature
    text = "\n".join(str(line) for line in data.get("lines", ()))
    logger.info("from=%s first_line=%r", data.get("pid"), text.split("\n", 1)[0])
    logger.debug("%s", text)
