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


def baseline(A, M, damping):
    """Section 5.1's baseline, a level at a time."""
    A = A.double()
    mu = A[M].mean()
    row = torch.zeros(A.shape[0], dtype=torch.float64)
    col = torch.zeros(A.shape[1], dtype=torch.float64)
    for _ in range(10):
        for i in range(A.shape[0]):
            left = (A[i] - mu - col)[M[i]]
            row[i] = left.sum() / max(len(left) + damping, 1)
        for j in range(A.shape[1]):
            left = (A[:, j] - mu - row)[M[:, j]]
            col[j] = left.sum() / max(len(left) + damping, 1)
    return mu, row, col
