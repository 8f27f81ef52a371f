"""What the pipelines need in tests that treat every warning as an error."""

import warnings

# Importing ignite, on which MONAI's evaluators stand, still meets functions that torch calls deprecated. Once is enough: with the
# module loaded nobody warns again.
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="`torch.jit.", category=DeprecationWarning)
    import ignite.engine  # noqa: F401
