"""Signals as a page for a browser, which evaluates them itself: `page` makes it of `web/`, `server` shows it."""
