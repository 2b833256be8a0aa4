"""Files of other programs, decoded to arrays: pictures, sounds, videos and polygons, with nothing lost."""
