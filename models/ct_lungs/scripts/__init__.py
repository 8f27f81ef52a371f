"""Code of the CT lungs bundle."""
