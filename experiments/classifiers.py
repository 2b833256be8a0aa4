"""Classifiers of scikit-learn that find the label of a digit from a code; principal components as a code."""

import warnings

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

CLASSIFIERS = {"logistic": "logistic regression", "mlp": "MLP"}


def accuracies(
    code: Float[ndarray, "n k"],
    labels: Int[ndarray, "n"],
    train: Int[ndarray, "t"],
    test: Int[ndarray, "s"],
    *,
    hidden: int,
    seed: int,
) -> dict[str, float]:
    """Share of the test digits whose label each classifier finds.

    Inputs are standardised. The regularisation is chosen on a fifth of the training digits.

    Args:
        code: numbers of every digit.
        labels: labels of every digit.
        train: numbers of the training digits.
        test: numbers of the test digits.
        hidden: units of the MLP.
        seed: seed of the classifiers and of the split.
    """
    from sklearn.exceptions import ConvergenceWarning  # pyright: ignore
    from sklearn.linear_model import LogisticRegression  # pyright: ignore
    from sklearn.model_selection import GridSearchCV, ShuffleSplit  # pyright: ignore
    from sklearn.neural_network import MLPClassifier  # pyright: ignore
    from sklearn.pipeline import Pipeline  # pyright: ignore
    from sklearn.preprocessing import StandardScaler  # pyright: ignore

    held_out = ShuffleSplit(1, test_size=0.2, random_state=seed)
    candidates = {
        "logistic": (LogisticRegression(max_iter=1000), "C", (1e-3, 1e-2, 1e-1, 1.0)),
        "mlp": (MLPClassifier((hidden,), random_state=seed), "alpha", (1e-4, 1e-2, 1.0, 10.0)),
    }
    found = {}
    for name, (classifier, strength, values) in candidates.items():
        model = Pipeline([("scale", StandardScaler()), ("classify", classifier)])
        search = GridSearchCV(model, {f"classify__{strength}": values}, cv=held_out)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a classifier that ends early is judged as it is
            search.fit(code[train], labels[train])
        found[name] = float(np.mean(search.predict(code[test]) == labels[test]))
    return found


def principal(pixels: Float[ndarray, "n p"], train: Int[ndarray, "t"], count: int) -> tuple[ndarray, ndarray]:
    """Every digit's principal components of the training pixels, and the PSNR of the digit from them."""
    mean = pixels[train].mean(axis=0)
    axes = np.linalg.svd(pixels[train] - mean, full_matrices=False)[2][:count]
    code = (pixels - mean) @ axes.T
    error = np.mean((code @ axes + mean - pixels) ** 2, axis=1)
    return code, 10 * np.log10(255**2 / np.maximum(error, 1e-6))  # at most 108 dB
