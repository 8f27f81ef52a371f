"""Two bundles that both call their code ``scripts`` run in one device at the same time, each with its own."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from node.core.memory import Memory, Need
from node.work.device import Device
from node.work.seat import Limits
from tests.bundles.writing import write
from tests.bundles.zoo import ZOO
from tests.integration.work import bundle_jobs

BUNDLES = ("renalStructures_UNEST_segmentation", "wholeBrainSeg_Large_UNEST_segmentation")


def test_two_bundles_with_a_scripts_package_each_run_at_once(tmp_path: Path) -> None:
    needs = Need(peak=Memory(host=1_000_000), held=Memory(host=1_000_000))
    device = Device(bundle_jobs.run, Limits(at_once=2), needs=lambda _model: needs)
    asked = [
        {
            "bundle": name,
            "root": str(write(ZOO[name](), tmp_path / name)),
            "loaded": str(tmp_path / f"{name}.loaded"),
            "other": str(tmp_path / f"{other}.loaded"),
        }
        for name, other in zip(BUNDLES, reversed(BUNDLES), strict=True)
    ]
    try:
        with ThreadPoolExecutor(2) as pool:
            jobs = [pool.submit(device.run, f"job {one['bundle']}", one, 110, one["bundle"]) for one in asked]
            made = [job.result().made for job in jobs]
    finally:
        device.close()
    assert made[0]["pid"] != made[1]["pid"]
    for one, result in zip(asked, made, strict=True):
        assert result["scripts"] == str(Path(one["root"]) / "scripts" / "__init__.py")
        assert result["output"] == "LabelMap"
    assert [result["network"] for result in made] == ["scripts.networks.unest", "scripts.networks.unest_base_patch_4"]
