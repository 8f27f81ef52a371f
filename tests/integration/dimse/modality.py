"""A modality that tells of its procedure steps, by pynetdicom's own user calls."""

from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pynetdicom.association import Association

from node.dimse.mpps import MPPS, PerformedSteps
from node.intake.steps import StepDesk
from node.ledger import views
from tests.integration.dimse.station import Station

IMPLICIT = "1.2.840.10008.1.2"
STUDY, SERIES, STEP = "1.2.826.0.1.1", "1.2.826.0.1.1.1", "1.2.826.0.1.9"


class StepStation(Station):
    """A listener that offers the service."""

    def services(self) -> list[PerformedSteps]:
        return [PerformedSteps(StepDesk(self.ledger, patience_s=0.2))]

    def modality(self, *contexts: tuple[str, str]) -> Association:
        association = self.connect((MPPS, IMPLICIT), *contexts, calling="CT1")
        assert association.is_established
        return association

    def steps(self) -> list[dict]:
        with self.ledger.reading() as tx:
            return views.all_rows(tx, "procedure_step")


def item(**values) -> Dataset:
    """A data set, be its values as their VRs allow or not."""
    found = Dataset()
    with disable_value_validation():
        for keyword, value in values.items():
            setattr(found, keyword, value)
    return found


def begun(*studies: str, **changes) -> Dataset:
    """The attribute list of an N-CREATE as Table F.7.2-1 demands it; None takes an attribute away."""
    values = {
        "ScheduledStepAttributesSequence": [item(StudyInstanceUID=uid, AccessionNumber="A1") for uid in studies or [STUDY]],
        "PatientName": "Secret^Name",
        "PatientID": "P1",
        "PatientBirthDate": "",
        "PatientSex": "",
        "ReferencedPatientSequence": [],
        "PerformedProcedureStepID": "PPS1",
        "PerformedStationAETitle": "CTROOM1",
        "PerformedStationName": "",
        "PerformedLocation": "",
        "PerformedProcedureStepStartDate": "20261120",
        "PerformedProcedureStepStartTime": "101500",
        "PerformedProcedureStepStatus": "IN PROGRESS",
        "PerformedProcedureStepDescription": "Chest of Secret^Name",
        "ProcedureCodeSequence": [],
        "PerformedProcedureStepEndDate": "",
        "PerformedProcedureStepEndTime": "",
        "PerformedProcedureStepDiscontinuationReasonCodeSequence": [],
        "Modality": "CT",
        "StudyID": "",
        "PerformedProtocolCodeSequence": [],
        "PerformedSeriesSequence": [],
    }
    return item(**{keyword: value for keyword, value in (values | changes).items() if value is not None})


def series(uid: str = SERIES, images: list[str] | None = (), others: list[str] | None = ()) -> Dataset:
    """One item of the Performed Series Sequence; None leaves one of the two lists out."""
    found = item(ProtocolName="Chest", SeriesInstanceUID=uid, PerformingPhysicianName="Secret^Doctor", RetrieveAETitle="")
    for keyword, uids in (("ReferencedImageSequence", images), ("ReferencedNonImageCompositeSOPInstanceSequence", others)):
        if uids is not None:
            references = [item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID=each) for each in uids]
            setattr(found, keyword, references)
    return found


def ended(state: str = "COMPLETED", *performed: Dataset, **changes) -> Dataset:
    """The modification list of an N-SET that ends a step; None takes an attribute away."""
    values = {
        "PerformedProcedureStepStatus": state,
        "PerformedProcedureStepEndDate": "20261120",
        "PerformedProcedureStepEndTime": "103000.5",
        "PerformedSeriesSequence": list(performed) or [series(images=[f"{SERIES}.1", f"{SERIES}.2"], others=[f"{SERIES}.3"])],
    }
    return item(**{keyword: value for keyword, value in (values | changes).items() if value is not None})


def reason(code: str = "110514", meaning: str = "Incorrect worklist entry selected") -> list[Dataset]:
    return [item(CodeValue=code, CodingSchemeDesignator="DCM", CodeMeaning=meaning)]


def create(association: Association, uid: str | None = STEP, attributes: Dataset | None = None) -> int:
    status, _ = association.send_n_create(attributes or begun(), MPPS, uid)
    return int(status.Status)


def change(association: Association, modifications: Dataset, uid: str = STEP) -> Dataset:
    """The command set's status of an N-SET, with its comment."""
    status, _ = association.send_n_set(modifications, MPPS, uid)
    return status
