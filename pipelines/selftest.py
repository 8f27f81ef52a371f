"""Does this device compute what it should? A fixed input through a small fixed network, before any patient's image.

Releases of torch and cuDNN have given silently wrong results in reduced precision for exactly the operations that segmentation networks
are made of (pytorch issues 163539, 166122 and 167024), and hardware ages. The network here is made of these operations. Input and weights
come from a formula, so that they are the same everywhere.
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from pipelines.errors import DeviceLost

#: The sum of the reference output over its 48,000 values, in double precision: what a healthy CPU computes.
EXPECTED_SUM = 34896.4904006324
EXPECTED_TOLERANCE = 1e-6
#: Single precision on the device against double precision on the CPU, relative to the largest value.
FULL_DIFFERENCE = 1e-4
_SHAPE = (1, 2, 24, 40, 50)
_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found, and on what.

    Attributes
    ----------
    full_difference : float
        Single precision on the device against double precision on the CPU, relative to the largest value.
    reduced_difference : float
        Reduced precision against single precision, likewise.
    free_bytes, total_bytes : int
        The device's own memory; nothing for a CPU.
    """

    device: str
    name: str
    reduced: str
    full_difference: float
    reduced_difference: float
    torch: str
    cuda: str
    cudnn: str
    driver: str
    free_bytes: int
    total_bytes: int

    def as_detail(self) -> dict[str, Any]:
        """For the audit log."""
        return {
            **asdict(self),
            "full_difference": float(f"{self.full_difference:.2e}"),
            "reduced_difference": float(f"{self.reduced_difference:.2e}"),
        }


def examine(device: str, most_difference: float) -> Report:
    """Examine one device.

    Parameters
    ----------
    device : str
        ``cpu`` or ``cuda:N``.
    most_difference : float
        How far reduced precision may be from single precision, relative to the largest value.

    Raises
    ------
    DeviceLost
        reason ``absent`` (there is no such device), ``broken`` (it cannot compute), ``wrong`` (single precision is not what it should
        be, or not the same twice) or ``reduced`` (reduced precision is too far off). The sentence has the numbers.
    """
    place = torch.device(device)
    try:
        report, again = _measure(place)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was built without CUDA
        absent = place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count()
        words = "is not there" if absent else "cannot compute"
        raise DeviceLost(f"{device} {words} ({type(error).__name__}).", reason="absent" if absent else "broken") from error
    judge(report, again, most_difference)
    return report


def judge(report: Report, again: float, most_difference: float) -> None:
    """Compare what was found with what is allowed; see ``examine``. ``again`` is the difference between two runs."""
    versions = f"torch {report.torch}, CUDA {report.cuda}, cuDNN {report.cudnn}, driver {report.driver}"
    # Written so that what is not a number is refused too.
    if not report.full_difference <= FULL_DIFFERENCE or again != 0:
        found = f"full precision is off by {report.full_difference:.2e} (allowed {FULL_DIFFERENCE:.0e}), two runs by {again:.2e}"
        raise DeviceLost(f"{report.device} computes wrongly: {found}; {versions}.", reason="wrong")
    if not report.reduced_difference <= most_difference:
        found = f"{report.reduced} is off by {report.reduced_difference:.2e} (allowed {most_difference:g})"
        raise DeviceLost(f"{report.device} computes wrongly in reduced precision: {found}; {versions}.", reason="reduced")


def _measure(device: torch.device) -> tuple[Report, float]:
    # As jobs are run; see pipelines.runner. TF32 is another reduced precision, and would hide behind the word full.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.inference_mode():
            exact = run_network(torch.device("cpu"), torch.float64)
            full, twin = run_network(device, torch.float32), run_network(device, torch.float32)
            reduced_type = torch.bfloat16 if device.type == "cpu" or torch.cuda.is_bf16_supported() else torch.float16
            with torch.autocast(device.type, dtype=reduced_type):
                reduced = run_network(device, torch.float32)
    finally:
        torch.backends.cudnn.allow_tf32 = tf32
    off = abs(float(exact.sum()) - EXPECTED_SUM) / float(exact.abs().sum())
    full_difference = _difference(full, exact) if off <= EXPECTED_TOLERANCE else float("inf")
    is_cuda = device.type == "cuda"
    free, total = torch.cuda.mem_get_info(device) if is_cuda else (0, 0)
    report = Report(
        device=str(device),
        name=torch.cuda.get_device_name(device) if is_cuda else platform.machine(),
        reduced=str(reduced_type).removeprefix("torch."),
        full_difference=full_difference,
        reduced_difference=_difference(reduced, full),
        torch=torch.__version__,
        cuda=str(torch.version.cuda or "none"),
        cudnn=str(torch.backends.cudnn.version()) if is_cuda else "none",  # type: ignore[no-untyped-call]
        driver=_driver() if is_cuda else "none",
        free_bytes=free,
        total_bytes=total,
    )
    return report, _difference(twin, full)


def run_network(device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Convolution, normalisation, activation, a step down and a step up: a segmentation network in small, back in double precision."""

    def made(*shape: int, pitch: float) -> torch.Tensor:
        count = torch.Size(shape).numel()
        return torch.sin(torch.arange(count, dtype=torch.float64) * pitch).reshape(shape).to(device, dtype)

    image = made(*_SHAPE, pitch=0.37)
    wide = functional.conv3d(image, made(8, 2, 3, 3, 3, pitch=0.73), padding=1)
    wide = functional.leaky_relu(functional.instance_norm(wide), 0.01)
    down = functional.conv3d(wide, made(16, 8, 3, 3, 3, pitch=1.13), stride=2, padding=1)
    down = functional.relu(functional.group_norm(down, 4))
    up = functional.conv_transpose3d(down, made(16, 8, 2, 2, 2, pitch=0.41), stride=2)
    return functional.conv3d(up + wide, made(1, 8, 1, 1, 1, pitch=0.59)).double().cpu()


def _difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())


def _driver() -> str:
    """The version of the NVIDIA kernel driver, as the driver itself says it."""
    try:
        return _DRIVER.read_text(encoding="ascii").splitlines()[0].partition("Kernel Module")[2].split()[0]
    except (OSError, IndexError):
        return "unknown"
