"""The gateway: what runs in the service centre."""

import os

# Monitors work on many small matrices: the threads of a BLAS would only wait for each other (seen:
# 6 s instead of 0.3 s for one commissioning on two busy cores). Must be set before numpy loads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
