"""Another processor, imitated: what torch computes in an order of its own is off by up to one ulp.

Kernels that are started with this folder on PYTHONPATH and a seed in MF_NOISE load it: see
comparison.py. What a notebook prints must not change by more than the last digit. On real
processors it is sums, products, LAPACK's results and functions such as exp that differ. All of
these are shaken, also those that are written into `out=` or in place.
"""

import os
import re

PRODUCTS = "matmul mm bmm mv dot vdot inner einsum tensordot addmm addmv addbmm baddbmm addr"
SUMS = "sum nansum mean nanmean std var norm prod cumsum logsumexp softmax cov corrcoef cdist dist"
FUNCTIONS = "exp expm1 log log2 log10 log1p sigmoid tanh sin cos tan pow rpow rsqrt lerp mse_loss"
NAMES = f"{PRODUCTS} {SUMS} {FUNCTIONS} addcmul addcdiv svd".split()

if os.environ.get("MF_NOISE"):
    import torch
    from torch.overrides import TorchFunctionMode

    GENERATOR = torch.Generator().manual_seed(int(os.environ["MF_NOISE"]))

    def shaken(x):
        if isinstance(x, torch.Tensor):
            if x.layout != torch.strided or not x.is_floating_point() or x.requires_grad:
                return x
            ulps = torch.randint(-1, 2, x.shape, generator=GENERATOR).to(x.dtype)
            return x * (1 + torch.finfo(x.dtype).eps * ulps)
        if type(x).__module__.startswith("torch.return_types"):
            return type(x)([shaken(y) for y in x])
        return tuple(map(shaken, x)) if isinstance(x, tuple) else x

    class Inexact(TorchFunctionMode):
        def __torch_function__(self, function, types, arguments=(), options=None):
            result = function(*arguments, **(options or {}))
            name = function.__name__
            if name.strip("_") not in NAMES and not name.startswith("linalg_"):
                return result
            if re.search("[^_]_$", name) or (options or {}).get("out") is not None:
                for x in result if isinstance(result, tuple) else (result,):
                    x.copy_(shaken(x))
                return result
            return shaken(result)

    Inexact().__enter__()
