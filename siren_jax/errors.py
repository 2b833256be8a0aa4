"""What a user gave cannot be used."""


class InputError(ValueError):
    """A file, array or setting that cannot be used; the message is one sentence: what came, what was needed, what to
    do."""
