"""A schedule whose training can be resumed within an epoch: for epochs that take hours."""

from pydantic import Field

from wsss_jobs.training.task import Schedule


class ResumableSchedule(Schedule):
    """A schedule with checkpoints within epochs.

    Attributes:
        checkpoint_steps: Steps between two checkpoints of an epoch. None: behind each epoch only. Dropout is seeded
            anew behind each of them, so it is part of what is learnt.
    """

    checkpoint_steps: int | None = Field(default=None, ge=1)

    def keeps_checkpoint(self, step_in_epoch: int) -> bool:
        """Returns whether the training can be resumed behind this step of an epoch."""
        return self.checkpoint_steps is not None and step_in_epoch % self.checkpoint_steps == 0
