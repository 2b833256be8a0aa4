"""The error for input that cannot be used."""


class InputError(ValueError):
    """A file, array or setting that cannot be used. The message says what was given, what is needed and what to do."""
