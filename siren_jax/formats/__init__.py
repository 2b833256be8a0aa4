"""Lossless decoding of other programs' files to arrays: pictures, sounds, videos and polygons."""
