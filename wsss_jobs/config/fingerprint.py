"""Hashes of settings: equal when and only when the settings are."""

import hashlib
import json
from typing import Any


def fingerprint(content: Any) -> str:
    """Returns 12 hex digits of the SHA-256 of `content` (JSON types) in canonical form."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
