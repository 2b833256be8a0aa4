"""Signals as a page for a browser, which evaluates them itself: `page` makes it of `web/`, `server` shows it."""

from siren_jax.viewer.entries import bare_entry as bare_entry
from siren_jax.viewer.entries import entry as entry
from siren_jax.viewer.html import Entry as Entry
from siren_jax.viewer.html import page as page
