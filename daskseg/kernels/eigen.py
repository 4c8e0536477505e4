"""Eigenvectors of small symmetric matrices, in a fixed order of operations.

Covers: `eigh_falling`, by Jacobi's rotations up to `JACOBI_FEATURES` rows (the same bits on any
machine with IEEE arithmetic, whatever its BLAS and threads) and by LAPACK beyond, and signs
that do not flip. Does not cover: matrices that do not fit memory (`kernels.sketch`).

Reference: Golub and Van Loan, Matrix Computations, 4th edition, section 8.5 (cyclic Jacobi).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.compiling import compiled

Floats = NDArray[np.float64]

# Jacobi takes 0.7 s here and grows with the cube; LAPACK takes over where that would be felt.
JACOBI_FEATURES = 256
_MAX_SWEEPS = 60
# Loadings this close in size tie: rounding must not choose the sign.
_TIE = 1.0 - 1e-8


@compiled()
def _rotate(
    rows: Floats, p: int, q: int, cosine: float, sine: float
) -> None:  # pragma: no cover - compiled
    for k in range(rows.shape[1]):
        one, two = rows[p, k], rows[q, k]
        rows[p, k] = cosine * one - sine * two
        rows[q, k] = sine * one + cosine * two


@compiled()
def _jacobi(matrix: Floats, vectors: Floats) -> bool:  # pragma: no cover - compiled
    """Diagonalise `matrix` in place; the rows of `vectors` become the eigenvectors."""
    size = len(matrix)
    for _ in range(_MAX_SWEEPS):
        n_rotations = 0
        for p in range(size - 1):
            for q in range(p + 1, size):
                off = matrix[p, q]
                first, second = matrix[p, p], matrix[q, q]
                # Far below the rounding of the diagonal (of at most 1), an entry counts as zero.
                small = abs(off) <= 1e-20 + 1e-17 * np.sqrt(abs(first)) * np.sqrt(abs(second))
                if small:
                    matrix[p, q] = matrix[q, p] = 0.0
                    continue
                n_rotations += 1
                theta = (second - first) / (2.0 * off)
                tangent = 1.0 / (abs(theta) + np.sqrt(theta * theta + 1.0))
                if theta < 0.0:
                    tangent = -tangent
                cosine = 1.0 / np.sqrt(tangent * tangent + 1.0)
                sine = tangent * cosine
                _rotate(matrix, p, q, cosine, sine)
                for k in range(size):
                    matrix[k, p] = matrix[p, k]
                    matrix[k, q] = matrix[q, k]
                matrix[p, p] = first - tangent * off
                matrix[q, q] = second + tangent * off
                matrix[p, q] = matrix[q, p] = 0.0
                _rotate(vectors, p, q, cosine, sine)
        if n_rotations == 0:
            return True
    return False


def fix_signs(vectors: Floats) -> Floats:
    """Make the largest entry of every row positive; the first of those that tie counts.

    Parameters
    ----------
    vectors : ndarray of shape (n_vectors, n_features), float64
    """
    sizes = np.abs(vectors)
    largest = np.argmax(sizes >= sizes.max(axis=1, keepdims=True) * _TIE, axis=1)
    signs = np.where(vectors[np.arange(len(vectors)), largest] < 0, -1.0, 1.0)
    return np.asarray(vectors * signs[:, None])


def eigh_falling(matrix: Floats) -> tuple[Floats, Floats]:
    """Find the eigenvalues, largest first, and their eigenvectors.

    Parameters
    ----------
    matrix : ndarray of shape (size, size), float64
        Symmetric and finite.

    Returns
    -------
    values : ndarray of shape (size,), float64
    vectors : ndarray of shape (size, size), float64
        One per row, of length 1, with signs as of `fix_signs`.
    """
    # Scaling by a power of two is exact and keeps squares inside float64.
    largest = float(np.abs(matrix).max(initial=0.0))
    exponent = int(np.frexp(largest)[1])
    scaled = np.ldexp(np.array(matrix, dtype=np.float64), -exponent)
    if len(matrix) > JACOBI_FEATURES:
        values, columns = np.linalg.eigh(scaled)
        vectors = columns.T.copy()
    else:
        vectors = np.eye(len(matrix))
        if not _jacobi(scaled, vectors):
            message = f"the eigenvalues of a matrix of {len(matrix)} rows did not settle"
            raise np.linalg.LinAlgError(message)
        values = np.diag(scaled)
    order = np.argsort(-values, kind="stable")
    return np.ldexp(values[order], exponent), fix_signs(vectors[order])
