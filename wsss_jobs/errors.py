"""Errors that a user of the service can meet. The message names the item, the rule, the value found and the remedy."""


class WsssError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigError(WsssError):
    """A recipe, a `--set` or an option is wrong. Exit code 2."""


class DataError(WsssError):
    """One item of the data set is bad. `reason` is a stable code, for grouping and for tests.

    Args:
        item: The user's own name of the item (source key), or a path.
        reason: Short snake_case code such as `cannot_decode` or `label_out_of_range`.
        message: One sentence: rule, value found, what to change.
    """

    def __init__(self, item: str, reason: str, message: str) -> None:
        super().__init__(item, reason, message)
        self.item = item
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.item}: {self.message} [{self.reason}]"


class StorageError(WsssError):
    """An object store could not do what was asked: it names the URI and what to check."""


class StageError(WsssError):
    """A stage cannot go on (not one item's fault)."""
