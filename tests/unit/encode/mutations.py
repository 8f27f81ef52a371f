"""Changes to good objects, as wrong code would have made them."""

from dataclasses import replace
from io import BytesIO

from pydicom import dcmread


def mutate(objects, kind, change):
    """Change one of the objects and write it again, as wrong code would have written it."""
    return tuple(replace(o, content=change_bytes(o.content, change)) if o.kind == kind else o for o in objects)


def change_bytes(content, change):
    dataset = dcmread(BytesIO(content))
    change(dataset)
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def put(keyword, value, *path):
    """Make a change that sets one attribute, of the item that ``path`` leads to."""

    def change(dataset):
        for step in path:
            dataset = getattr(dataset, step) if isinstance(step, str) else dataset[step]
        setattr(dataset, keyword, value)

    return change


def drop(keyword, *path):
    """Make a change that removes one attribute, of the item that ``path`` leads to."""

    def change(dataset):
        for step in path:
            dataset = getattr(dataset, step) if isinstance(step, str) else dataset[step]
        delattr(dataset, keyword)

    return change
