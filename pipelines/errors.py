"""The lower half of RadNode's one error tree: what can be wrong with an input, a model, a device or a result.

Every class has a stable ``code`` (what operators search for and ``docs/operations.md`` explains), a ``verdict`` (what
the node does next) and carries a sentence that says what to do. The upper half is in ``node.core.errors``::

    CodedError
      InputError        refuse   NoUsableSeries GeometryError IdentityConflict UnsupportedPixelData ImplausibleResult
                                 EvaluationError QualityError
      ModelError        fail     BundleMissing DigestMismatch BundleContract WrongOutput
      DeviceError       retry    OutOfMemory DeviceLost TimedOut
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Verdict(StrEnum):
    """What the node does after an error."""

    RETRY = "retry"  # the same work may succeed later
    REFUSE = "refuse"  # the input is not fit for this work; trying again changes nothing
    FAIL = "fail"  # the node or the model is wrong; a person must look


class CodedError(Exception):
    """Base of every error that RadNode raises on purpose.

    Parameters
    ----------
    sentence : str
        What is wrong and what to do about it, for an operator. Never a patient's name.
    reason : str, optional
        A finer, stable reason under the class's code, ``gap`` under ``GEOMETRY`` for example.
    """

    code: ClassVar[str] = "ERROR"
    verdict: ClassVar[Verdict] = Verdict.FAIL

    def __init__(self, sentence: str, *, reason: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.sentence, self.reason)

    @property
    def full_code(self) -> str:
        """The code with its reason: ``GEOMETRY.gap``."""
        return f"{self.code}.{self.reason}" if self.reason else self.code

    def __str__(self) -> str:
        return f"{self.full_code}: {self.sentence}"


def _rebuild(kind: type[CodedError], sentence: str, reason: str) -> CodedError:
    return kind(sentence, reason=reason)


class InputError(CodedError):
    """The series cannot be used; the same series will be refused every time."""

    code = "INPUT"
    verdict = Verdict.REFUSE


class NoUsableSeries(InputError):
    """No series of the study is what the pipeline takes."""

    code = "NO_USABLE_SERIES"


class GeometryError(InputError):
    """The instances do not form one uniform volume in patient coordinates."""

    code = "GEOMETRY"


class IdentityConflict(InputError):
    """The instances of one series disagree on the patient or the study."""

    code = "IDENTITY_CONFLICT"


class UnsupportedPixelData(InputError):
    """The pixel data cannot be decoded, or is not what the modality promises."""

    code = "UNSUPPORTED_PIXEL_DATA"


class QualityError(InputError):
    """The voxels are not what the header promises, or show something else than the pipeline is about."""

    code = "QUALITY"


class ImplausibleResult(InputError):
    """The model ran, but its result is outside what can be true; nothing is reported."""

    code = "IMPLAUSIBLE_RESULT"


class EvaluationError(InputError):
    """References and outputs cannot be compared."""

    code = "EVALUATION"


class ModelError(CodedError):
    """The model or its declaration is wrong; a person must look."""

    code = "MODEL"
    verdict = Verdict.FAIL


class BundleMissing(ModelError):
    """The bundle folder, or a file that it needs, is not there."""

    code = "BUNDLE_MISSING"


class DigestMismatch(ModelError):
    """The bundle's files are not the ones that were pinned."""

    code = "DIGEST_MISMATCH"


class BundleContract(ModelError):
    """The bundle and pipeline.toml do not fit together."""

    code = "BUNDLE_CONTRACT"


class WrongOutput(ModelError):
    """The model's output has the wrong shape, geometry or labels."""

    code = "WRONG_OUTPUT"


class DeviceError(CodedError):
    """The device failed, not the input; the same work may succeed later."""

    code = "DEVICE"
    verdict = Verdict.RETRY


class OutOfMemory(DeviceError):
    """The device's memory did not suffice."""

    code = "OUT_OF_MEMORY"


class DeviceLost(DeviceError):
    """The device or the process that held it is gone."""

    code = "DEVICE_LOST"


class TimedOut(DeviceError):
    """The work took longer than it may; its process was killed."""

    code = "TIMED_OUT"
