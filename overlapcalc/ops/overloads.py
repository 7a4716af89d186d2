"""An overload is part of an operator's name: `aten::view.dtype`, which reinterprets memory, is no view.

The plain name of an operator stands for its default overload and for those listed here: the ones whose arguments
every rule, slab run, cost and step of that name was written for. Any other overload has a name of its own, under
which it is known or refused.
"""

from __future__ import annotations

DEFAULT = "default"
"""What torch calls the overload that has no name."""

SPOKEN_FOR: dict[str, frozenset[str]] = {
    f"aten::{name}": frozenset("" if overload == DEFAULT else overload for overload in overloads.split())
    for names, overloads in {
        "__and__ __or__ __xor__ __lshift__ __rshift__": "Tensor Scalar",
        "_convolution": "default deprecated",
        "_native_batch_norm_legit": "default no_stats",
        "_unsafe_index index": "Tensor",
        "_upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d upsample_nearest1d "
        "upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d upsample_trilinear3d "
        "upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa _upsample_lanczos2d_aa": "default vec",
        "addmm baddbmm bmm mm": "default dtype",
        "all any": "default dim dims",
        "argsort sort": "default stable",
        "bernoulli": "default p",
        "bucketize": "Tensor Scalar",
        "conv1d conv2d conv3d": "default padding",
        "conv_transpose2d conv_transpose3d": "input",
        "count_nonzero": "default dim_IntList",
        "dequantize": "self tensor",
        "fake_quantize_per_tensor_affine quantize_per_tensor": "default tensor_qparams",
        "fill": "Scalar Tensor",
        "flatten": "using_ints",
        "floor_divide": "default Scalar",
        "frobenius_norm": "dim",
        "index_fill": "int_Tensor int_Scalar",
        "isin": "Tensor_Tensor Tensor_Scalar Scalar_Tensor",
        "ldexp": "Tensor",
        "lstm gru rnn_tanh rnn_relu": "input",
        "max min": "default dim other",
        "mean": "default dim",
        "median": "default dim",
        "movedim": "int intlist",
        "norm": "Scalar ScalarOpt_dim ScalarOpt_dim_dtype ScalarOpt_dtype",
        "normal": "Tensor_float float_Tensor",
        "prod": "default dim_int",
        "rand_like randn_like": "default generator",
        "repeat_interleave": "self_int",
        "scatter": "value src reduce value_reduce",
        "scatter_reduce": "two",
        "searchsorted": "Tensor Scalar",
        "select transpose unbind unflatten": "int",
        "slice": "Tensor",
        "softmax log_softmax": "int",
        "split": "default Tensor sizes",
        "squeeze": "default dim dims",
        "std std_mean var var_mean": "default dim correction",
        "sum": "default dim_IntList",
        "tensor_split": "sections indices",
        "to": "device dtype dtype_layout",
        "unsafe_split": "Tensor",
    }.items()
    for name in names.split()
}
"""The overloads that an ATen operator's plain name stands for; for a name not listed here, the default one alone."""


def full_name(name: str, overload: str) -> str:
    """The name under which an overload is registered.

    >>> full_name("aten::split", "sizes"), full_name("aten::view", "dtype"), full_name("mylib::blur", "default")
    ('aten::split', 'aten::view.dtype', 'mylib::blur')
    """
    overload = "" if overload == DEFAULT else overload
    spoken = SPOKEN_FOR.get(name) or SPOKEN_FOR.get(name.removesuffix("_copy")) or frozenset({""})
    return name if not overload or overload in spoken else f"{name}.{overload}"
