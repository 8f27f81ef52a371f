"""Pipelines: DICOM series in, findings out.

The only home of torch and MONAI. This package knows arrays, DICOM files and MONAI bundles; it knows nothing of
sockets, SQL or the node around it, and is usable alone: ``python -m pipelines run ct_lungs FOLDER``.

Nothing is imported here, so that ``pipelines.spec``, ``pipelines.result`` and ``pipelines.geometry`` stay light: the
listener reads declarations without ever loading torch.
"""
