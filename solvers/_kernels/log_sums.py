"""Sums of exponentials whose terms would underflow."""

import numpy as np

from .jit import kernel

# Terms below exp(−45) of the largest do not change a sum of up to a thousand.
_SMALLEST = -45.0


@kernel
def weak_log_sums(logs, lines, sums, least, out):
    """out (m, n) = log Σ_k exp(A_ik + l_jk) where sums (m, n) are below the least, from A = logs (n, n) and l = lines (m, n)."""
    n = logs.shape[0]
    for j in range(lines.shape[0]):
        first, end = 0, n
        while first < end and lines[j, first] == -np.inf:
            first += 1
        while end > first and lines[j, end - 1] == -np.inf:
            end -= 1
        for i in range(n):
            if not sums[j, i] < least:
                continue
            top = -np.inf
            for k in range(first, end):
                top = max(top, logs[i, k] + lines[j, k])
            if top == -np.inf:
                out[j, i] = -np.inf
                continue
            total = 0.0
            for k in range(first, end):
                term = logs[i, k] + lines[j, k] - top
                if term > _SMALLEST:
                    total += np.exp(term)
            out[j, i] = top + np.log(total)
