"""What the configuration asks of a study, and whom it has asked for it."""

from __future__ import annotations

from dataclasses import replace

from node.app.remotes import caller_of, remote_of, tls_of
from node.config import CalledSection, Config
from node.core.rules import ExpectedSeries, RuleBook, Rules
from node.core.study import StudyCount
from node.dimse.count import count_study
from node.intake.census import Ask
from node.intake.pace import Pace

#: A peer that takes longer than this over a number is asked again later: studies wait for its answer.
_LONGEST_ANSWER_S = 20.0


def rule_book_of(config: Config) -> RuleBook:
    """The rules of every title that we answer to."""
    section = config.assemble
    default = Rules(pipelines=config.pipelines.enabled, quiet_s=section.quiet_s, patience_s=section.patience_s)
    return RuleBook(default=default, by_title={called.ae_title: _rules_of(called, default) for called in config.called})


def _rules_of(called: CalledSection, default: Rules) -> Rules:
    return Rules(
        pipelines=default.pipelines if called.pipelines is None else called.pipelines,
        quiet_s=called.quiet_s or default.quiet_s,
        patience_s=called.patience_s or default.patience_s,
        expected=tuple(ExpectedSeries(**wish.model_dump()) for wish in called.expected_series),
        ask=(called.ask,) if called.ask else (),
    )


def pace_of(config: Config) -> Pace | None:
    """Who learns the quiet time of each sender; nobody unless it is asked for."""
    section = config.assemble
    return Pace(section.quiet_least_s, section.quiet_most_s) if section.adapt else None


def ask_of(config: Config) -> Ask:
    """How a remote AE is asked how much a study holds."""
    usual = caller_of(config)
    caller, secured = replace(usual, answer_s=min(usual.answer_s, _LONGEST_ANSWER_S)), tls_of(config)
    remotes = {found.name: remote_of(found) for found in config.remotes}

    def ask(peer: str, study_instance_uid: str) -> StudyCount:
        return count_study(caller, remotes[peer], study_instance_uid, secured.get(peer))

    return ask
