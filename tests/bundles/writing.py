"""Write bundles into a folder, with random weights for their networks."""

import json
from pathlib import Path
from typing import Any

import torch
import yaml
from monai.bundle import ConfigParser

from pipelines.catalog import Entry
from pipelines.isolation import OwnModules
from pipelines.result import Model
from pipelines.spec import Pipeline
from tests.bundles.declaring import declare
from tests.bundles.zoo import Published


def write(published: Published, root: Path) -> Path:
    """Write a bundle as it is published: configs/, scripts/, models/."""
    (root / "configs").mkdir(parents=True)
    name, text = ("inference.yaml", yaml.safe_dump) if published.is_yaml else ("inference.json", json.dumps)
    (root / "configs" / name).write_text(text(published.config))
    metadata = {"version": "0.0.1", "name": root.name, "network_data_format": {"outputs": {"pred": published.channels}}}
    (root / "configs" / "metadata.json").write_text(json.dumps(metadata))
    for module, source in published.scripts.items():
        path = root / "scripts" / f"{module}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        for folder in {path.parent, root / "scripts"}:
            (folder / "__init__.py").touch()
    _write_weights(published, root)
    return root


def entry(published: Published, root: Path) -> Entry:
    """A bundle on disk as the catalogue gives it, its files not held against a pinned digest."""
    model = Model(name=root.name, version="0.0.1", manufacturer="test", digest="0" * 64)
    return Entry(pipeline=pipeline_of(published), model=model, bundle=root)


def pipeline_of(published: Published, **changes: Any) -> Pipeline:
    """The pipeline.toml that a bundle needs."""
    return declare(**{**published.declaration, **changes})


def _write_weights(published: Published, root: Path) -> None:
    """Random weights of the network that the configuration, overrides included, describes, under every name that it asks for."""
    parser = ConfigParser(json.loads(json.dumps(published.config)))
    parser.update({key: value for key, value in published.declaration.get("overrides", {}).items() if "network" in key})
    torch.manual_seed(1)
    with OwnModules(root.resolve()).importable():
        network = parser.get_parsed_content("network_def")
    (root / "models").mkdir()
    names = ("dynunet_FT.pt",) if "dynunet_FT.pt" in json.dumps(published.config) else ("model.pt",)
    for name in names:
        torch.save(network.state_dict(), root / "models" / name)
