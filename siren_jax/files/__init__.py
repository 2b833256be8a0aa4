"""Files of this library: `.siren` files and their header, PyTorch's weights, atomic writing."""
