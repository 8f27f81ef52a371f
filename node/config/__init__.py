"""config.toml: read once, checked whole, frozen, and passed down as an argument."""

from node.config.destinations import (
    DESTINATIONS,
    DicomDestinationSection,
    PeerSection,
    SenderDestinationSection,
    StowDestinationSection,
)
from node.config.doors import CalledSection, ClientTlsSection, ExpectedSection, ServerTlsSection, TokenSection, WebSection
from node.config.fields import AETitle
from node.config.read import read_config
from node.config.schedule import PrioritySection, ScheduleSection
from node.config.sections import Config, RetrySection

__all__ = [
    "DESTINATIONS",
    "AETitle",
    "CalledSection",
    "ClientTlsSection",
    "Config",
    "DicomDestinationSection",
    "ExpectedSection",
    "PeerSection",
    "PrioritySection",
    "RetrySection",
    "ScheduleSection",
    "SenderDestinationSection",
    "ServerTlsSection",
    "StowDestinationSection",
    "TokenSection",
    "WebSection",
    "read_config",
]
