"""Code of the lung nodule bundle: what inference needs (`lungfield`, `candidates`), and the phantoms that it was trained on."""
