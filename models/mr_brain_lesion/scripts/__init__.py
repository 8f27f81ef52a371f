"""Code of the brain lesion bundle: what inference needs (`foreground`, `regions`), and the phantom that it was trained on."""
