# SPDX-License-Identifier: Apache-2.0
"""Which of PyTorch's attention kernels a run uses."""

from contextlib import AbstractContextManager, nullcontext

from torch.nn.attention import SDPBackend, sdpa_kernel

from vla_core.model.config import Precision


def attention_kernel(device_type: str, precision: Precision) -> AbstractContextManager[None]:
    """Return the context in which a run computes.

    On a processor the fused kernel's backward pass in bfloat16 takes four times as long as in float32, longer than
    all matrix products together; plain matrix products are faster there.

    Args:
        device_type: Type of the model's device.
        precision: Type of the arithmetic.
    """
    if device_type == "cpu" and precision == "bfloat16":
        kernel: AbstractContextManager[None] = sdpa_kernel(SDPBackend.MATH)
        return kernel
    return nullcontext()
