"""What the methods say to bad input."""


class InvalidInputError(ValueError):
    """An argument breaks a rule of the method; the message names the argument, the rule, the value and the remedy."""
