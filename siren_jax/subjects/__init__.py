"""What is fitted: a signal with its loss, points, quality, figure and files, one module a kind."""
