"""The colours of curves."""

# Okabe and Ito's palette, which can be told apart in every form of colour blindness.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
