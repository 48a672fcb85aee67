"""When too many items have failed for the result to be worth finishing."""

from collections.abc import Mapping

from cluster.fan_out.policy import FanOutPolicy


def tolerated_failures(num_final: int, total: int | None, policy: FanOutPolicy) -> int:
    """Failed items that are still tolerated.

    Without a known total the share is taken of the items that are final so far.

    Args:
        num_final: Items done or failed.
        total: Items in the whole job, if known.
        policy: Gives the share and the floor.
    """
    share = int(policy.error_budget_fraction * max(num_final, total or 0))
    return max(policy.error_budget_min_items, share)


def budget_message(num_failed: int, tolerated: int, reasons: Mapping[str, int], policy: FanOutPolicy) -> str:
    """The sentence for an operator whose job was stopped by its error budget."""
    ranked = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    causes = ", ".join(f"{reason} ({count})" for reason, count in ranked[:5])
    return (
        f"{num_failed} items failed, {tolerated} are tolerated "
        f"(the larger of error_budget_min_items {policy.error_budget_min_items} and error_budget_fraction "
        f"{policy.error_budget_fraction:g} of the items). Reasons: {causes}. Mend the cause, or raise the budget."
    )
