"""Errors of the cluster layer. All survive pickling, because they cross process borders."""


class ClusterError(RuntimeError):
    """Base of every error that this package raises on purpose."""


class ResourceError(ClusterError):
    """The cluster cannot give what was asked for; the message names the resource and the setting to change."""


class JobExistsError(ClusterError):
    """A job with this submission id is known to the cluster already."""


class ErrorBudgetExceededError(ClusterError):
    """Too many items failed for the result to be worth finishing."""


class WorkerStartError(ClusterError):
    """No worker of a leg could be started: its factory raised, or its process died while starting."""


class WorkerBrokenError(ClusterError):
    """Raised by a worker whose process can no longer be trusted, such as after a sticky accelerator error.

    The fan-out then treats the batch as if the process had died: it replaces the actor, and the item is suspected,
    not failed at once.
    """
