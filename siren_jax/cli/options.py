"""What the commands' options share."""

import tyro


def optional(metavar: str, default: str):
    """How the help shows an option that may be left out."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})")
