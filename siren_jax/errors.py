"""The error that says that a user's input cannot be used, and why."""


class InputError(ValueError):
    """A file, array or setting that cannot be used; the message is one sentence: what came, what was needed, what to
    do."""
