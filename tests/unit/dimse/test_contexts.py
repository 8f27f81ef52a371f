"""What the listener offers to accept."""

import pytest
from pydicom.uid import UID_dictionary
from pynetdicom import AE, _config, build_context, sop_class
from pynetdicom.presentation import PresentationContext, negotiate_as_acceptor, negotiate_unrestricted

from node.dimse.contexts import VERIFICATION, storage_sop_classes, support_storage, transfer_syntaxes

NAMED = {uid: entry[0] for uid, entry in UID_dictionary.items() if entry[1] == "SOP Class"}
STORAGE = {uid for uid, name in NAMED.items() if "Storage" in name}
DICOMDIR = "1.2.840.10008.1.3.10"
COMMITMENT = {"1.2.840.10008.1.20.1", "1.2.840.10008.1.20.2"}
MODALITY_WORKLIST, STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.31", "1.2.840.10008.5.1.4.1.2.2.1"
PRIVATE = "1.2.826.0.1.3680043.9.7433.1.999"


@pytest.fixture(params=[True, False], ids=["unknown_storage", "known_only"])
def unknown(request):
    before = _config.UNRESTRICTED_STORAGE_SERVICE
    yield request.param
    _config.UNRESTRICTED_STORAGE_SERVICE = before


def negotiate(ae: AE, abstract: str, syntaxes: list[str]) -> PresentationContext:
    """Let pynetdicom judge one proposal as it does for a real association."""
    proposed = build_context(abstract, syntaxes)
    proposed.context_id = 1
    judge = negotiate_unrestricted if _config.UNRESTRICTED_STORAGE_SERVICE else negotiate_as_acceptor
    (result,), _ = judge([proposed], ae.supported_contexts, {})
    return result


def listening(unknown: bool) -> AE:
    ae = AE("RADNODE")
    support_storage(ae, unknown=unknown)
    return ae


def test_every_storage_class_is_accepted_in_every_transfer_syntax(unknown):
    ae = listening(unknown)
    refused = []
    for abstract in storage_sop_classes():
        for syntax in transfer_syntaxes():
            result = negotiate(ae, abstract, [syntax])
            if result.result != 0 or result.transfer_syntax != [syntax]:
                refused.append((abstract, syntax))
    assert refused == []


def test_no_storage_class_that_pydicom_knows_is_left_out():
    left_out = STORAGE - set(storage_sop_classes())
    assert {NAMED[uid] for uid in left_out} == {
        name for uid, name in NAMED.items() if uid == DICOMDIR or uid in COMMITMENT or name.startswith("Stored Print Storage")
    }


def test_no_storage_class_that_pynetdicom_knows_is_left_out():
    assert set(sop_class._STORAGE_CLASSES.values()) <= set(storage_sop_classes())


def test_retired_classes_are_storage_too():
    retired = {uid for uid in STORAGE if UID_dictionary[uid][3] == "Retired"}
    assert "1.2.840.10008.5.1.4.1.1.6" in retired, "Ultrasound Image Storage (Retired), which old scanners send"
    assert len(retired & set(storage_sop_classes())) > 5


def test_every_accepted_class_is_served_as_storage(unknown):
    """A context that was negotiated but has no service behind it would be answered 0x0122 for every instance."""
    listening(unknown)
    services = {sop_class.uid_to_service_class(uid).__name__ for uid in storage_sop_classes()}
    assert services == {"StorageServiceClass"} or (unknown and services <= {"StorageServiceClass", "ServiceClass"})


def test_other_services_are_not_taken_for_storage(unknown):
    """A sender that proposes Modality Worklist or commitment must hear that we do not have it."""
    ae = listening(unknown)
    # Retired classes of which PS3.6 has forgotten the names are taken for what anything unknown is taken for.
    others = (
        {uid for uid, entry in UID_dictionary.items() if entry[1] != "Transfer Syntax" and entry[4]}
        - set(storage_sop_classes())
        - {VERIFICATION}
    )
    assert {DICOMDIR, MODALITY_WORKLIST, STUDY_ROOT_FIND, *COMMITMENT} <= others
    assert {UID_dictionary[uid][0] for uid in others if negotiate(ae, uid, ["1.2.840.10008.1.2"]).result == 0} == set()


def test_private_classes_are_accepted_only_when_configured(unknown):
    assert (negotiate(listening(unknown), PRIVATE, ["1.2.840.10008.1.2.1"]).result == 0) == unknown


def test_every_binary_transfer_syntax_is_offered():
    known = {uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"}
    missing = {UID_dictionary[uid][0] for uid in known - set(transfer_syntaxes())}
    assert all("RFC 2557" in name or "XML" in name for name in missing)
    assert len(transfer_syntaxes()) == len(set(transfer_syntaxes())) > 40


def test_of_several_proposed_syntaxes_one_of_them_is_chosen(unknown):
    proposed = ["1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.1"]
    assert negotiate(listening(unknown), "1.2.840.10008.5.1.4.1.1.2", proposed).transfer_syntax[0] in proposed


def test_verification_is_supported(unknown):
    assert negotiate(listening(unknown), VERIFICATION, ["1.2.840.10008.1.2"]).result == 0
