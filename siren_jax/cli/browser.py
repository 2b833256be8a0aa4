"""The browser of this computer, in which the command shows pages."""

import os
import sys
import webbrowser


def opened(address: str) -> bool:
    """Whether a browser with windows shows an address; one in the terminal would take the terminal over."""
    if sys.platform not in ("darwin", "win32") and not any(
        map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    ):
        return False
    try:
        return webbrowser.open(address)
    except (webbrowser.Error, OSError):
        return False
