"""Files of networks: `.siren` files and their header, PyTorch's weights, and atomic writing."""
