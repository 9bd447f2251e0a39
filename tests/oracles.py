"""What the modules are compared with: the coursework's own loops in PyTorch.

Weight decay is added as the docstrings define it; w = 0 is the coursework's.
"""

import torch


def sgd(A, M, U, V, num_epochs, lr, w=0.0):
    """Section 3.1's loop, and 1.1's where M is all ones; U and V are left unchanged."""
    U, V = U.clone(), V.clone()
    for _ in range(num_epochs):
        for i in range(A.shape[0]):
            for j in range(A.shape[1]):
                if M[i, j]:
                    e = A[i, j] - torch.dot(U[i], V[j])
                    U[i] = U[i] + lr * (e * V[j] - w * U[i])
                    V[j] = V[j] + lr * (e * U[i] - w * V[j])
    return U, V


def gd(A, M, U, V, num_epochs, lr, w=0.0):
    """Section 4.1's function."""
    M = M.to(A.dtype)
    for _ in range(num_epochs):
        err = (A - U @ V.T) * M
        U = U + lr * (err @ V - w * M.sum(1)[:, None] * U)
        V = V + lr * (err.T @ U - w * M.sum(0)[:, None] * V)
    return U, V


def damped_means(A, M, damping):
    """The least-squares problem written out: an equation a rating, and one a damped level."""
    (m, n), entries = A.shape, torch.nonzero(M)
    X = torch.zeros(len(entries) + m + n, 1 + m + n, dtype=torch.float64)
    y = torch.zeros(len(X), dtype=torch.float64)
    for p, (i, j) in enumerate(entries.tolist()):
        X[p, [0, 1 + i, 1 + m + j]] = 1
        y[p] = A[i, j]
    X[len(entries) :, 1:] = damping**0.5 * torch.eye(m + n, dtype=torch.float64)
    mu, row, col = torch.linalg.pinv(X).matmul(y).split([1, m, n])
    return mu[0], row, col
