"""A start that leads a run to the numbers that somebody printed: notebook 6.1."""

import torch


def find_start(run, printed, seed, steps=140):
    """Fit a start (U0, V0), 3 x 2 each and within (0, 1), to the printed numbers.

    run(U0, V0) gives the numbers of a run, as a vector. Levenberg-Marquardt: replace it
    by its tangent, solve a least-squares problem for the step, and take the step if it
    helps. In the last 40 steps a number counts the more the further off it is, until the
    largest deviation is as small as can be (Lawson 1961). Returns the best start seen,
    in float32, and its largest deviation.
    """
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(12, generator=generator, dtype=torch.float64)

    def start(z):
        return z.sigmoid().view(2, 3, 2).unbind()

    def deviation(z):
        return printed - run(*start(z))

    off, best, tangent = deviation(z), z, None
    least = off.abs().max()
    weight, damping = torch.ones_like(off), 0.01
    nudges = 1e-6 * torch.eye(12, dtype=torch.float64)
    for step in range(steps):
        if tangent is None:
            columns = [(off - deviation(z + nudge)) / 1e-6 for nudge in nudges]
            tangent = torch.stack(columns, 1)
        normal = tangent.T @ (weight[:, None] * tangent) + damping * torch.eye(12)
        trial = z + torch.linalg.solve(normal, tangent.T @ (weight * off))
        trial_off = deviation(trial)
        if (weight * trial_off**2).sum() < (weight * off**2).sum():
            z, off, damping, tangent = trial, trial_off, damping / 3, None
        else:
            damping *= 4
        if off.abs().max() < least:
            best, least = z, off.abs().max()
        if step >= steps - 40:
            weight = weight * off.abs() / (weight * off.abs()).mean()
    U0, V0 = start(best)
    return (U0.float(), V0.float()), deviation(best).abs().max().item()
