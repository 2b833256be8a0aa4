"""Subjects of a fit: a signal with its loss, points, quality, figure and files, one module per kind."""
