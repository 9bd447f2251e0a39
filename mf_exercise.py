"""The check of the exercises, "Write it yourself"."""

import torch


def check(value, expected):
    """Say whether the value is as expected, to four digits, or where it differs.

    Both are a tensor, a number, or a tuple of these; None is not yet written.
    """
    values = value if isinstance(value, tuple) else (value,)
    if any(x is None for x in values):
        print("… not written yet")
        return
    wanted = expected if isinstance(expected, tuple) else (expected,)
    options = {"rtol": 1e-3, "atol": 1e-4, "check_dtype": False}
    try:
        pairs = [tuple(map(torch.as_tensor, x)) for x in (values, wanted)]
        torch.testing.assert_close(*pairs, **options)
    except (AssertionError, TypeError, ValueError, RuntimeError) as difference:
        print(f"✗ not yet. {difference}")
    else:
        print("✓ as expected")
