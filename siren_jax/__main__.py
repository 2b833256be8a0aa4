"""`python -m siren_jax` is the command `siren-jax`."""

from siren_jax.cli import run

if __name__ == "__main__":
    run()
