"""Code of the chest radiograph bundle: what inference needs (`picture`), the saliency map, and the phantoms that it was trained on."""
