"""Another processor, imitated: what torch computes in an order of its own is off by up to one ulp.

Kernels that are started with this folder on PYTHONPATH and a seed in MF_NOISE load it: see
comparison.py. What a notebook prints must not change by more than the last digit. On real
processors it is sums, products, LAPACK's results and functions such as exp that differ. All of
these are shaken, also those that are written into `out=` or in place.
"""

import importlib.abc
import importlib.machinery
import os
import sys

PRODUCTS = (
    "matmul mm bmm mv dot vdot inner einsum tensordot addmm addmv addbmm baddbmm addr addcmul"
)
SUMS = "sum nansum mean nanmean std var norm prod cumsum logsumexp softmax cov corrcoef cdist dist"
FUNCTIONS = (
    "exp expm1 log log2 log10 log1p sigmoid tanh sin cos tan pow rsqrt lerp addcdiv mse_loss"
)
OPERATORS = "__matmul__ __rmatmul__ __imatmul__ __pow__ __rpow__ __ipow__"
NAMES = f"{PRODUCTS} {SUMS} {FUNCTIONS}".split()


class ShakeTorch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            shake_module(module)

        spec.loader.exec_module = exec_module
        return spec


def shake_module(torch):
    generator = torch.Generator().manual_seed(int(os.environ["MF_NOISE"]))

    def shaken(x):
        if isinstance(x, torch.Tensor):
            if x.layout != torch.strided or not x.is_floating_point() or x.requires_grad:
                return x
            ulps = torch.randint(-1, 2, x.shape, generator=generator).to(x.dtype)
            return x * (1 + torch.finfo(x.dtype).eps * ulps)
        if type(x).__module__.startswith("torch.return_types"):
            return type(x)([shaken(y) for y in x])
        return tuple(map(shaken, x)) if isinstance(x, tuple) else x

    def wrap(owner, name, in_place=False):
        exact = getattr(owner, name, None)
        if exact is None or isinstance(exact, type):
            return

        def inexact(*args, **kwargs):
            result = exact(*args, **kwargs)
            if in_place or kwargs.get("out") is not None:
                for x in result if isinstance(result, tuple) else (result,):
                    x.copy_(shaken(x))
                return result
            return shaken(result)

        setattr(owner, name, inexact)

    for name in NAMES:
        for owner in (torch, torch.Tensor, torch.nn.functional):
            wrap(owner, name)
            wrap(owner, f"{name}_", in_place=True)
    for name in OPERATORS.split():
        wrap(torch.Tensor, name, in_place=name.startswith("__i"))
    for name in dir(torch.linalg):
        if not name.startswith("_") and callable(getattr(torch.linalg, name)):
            wrap(torch.linalg, name)
    wrap(torch, "svd")


if os.environ.get("MF_NOISE"):
    sys.meta_path.insert(0, ShakeTorch())
