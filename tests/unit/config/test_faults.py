"""Every fault is reported at once, with its path and what to write instead; nothing that was given is quoted."""

import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from node.config import AETitle, Config, read_config
from node.core.errors import ConfigError

DESTINATION = '[[destination]]\nname = "{}"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 4242\n'
PASSWORD = "hunter2"


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "config.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_config(path)

    return read


@pytest.fixture
def faults(read):
    def faults(text):
        with pytest.raises(ConfigError) as caught:
            read(text)
        head, *lines = caught.value.sentence.splitlines()
        assert f"has {len(lines)} fault{'s' if len(lines) > 1 else ''}:" in head
        return sorted(line.strip() for line in lines)

    return faults


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[listen]\ncaled_ae = []", "listen.caled_ae: there is no such key; did you mean called_ae?"),
        ("[lisen]\n", "lisen: there is no such key; did you mean listen?"),
        ("[work]\nlease = 5", "work.lease: there is no such key; did you mean lease_s?"),
        ("[deliver]\nanswers = 5", "deliver.answers: there is no such key; did you mean answer_s?"),
        (DESTINATION.format("a") + "aetitle = 'X'", "destination.0.aetitle: there is no such key; did you mean ae_title?"),
        (DESTINATION.format("a") + DESTINATION.format("b") + "hots = 'X'", "destination.1.hots: there is no such key; did you mean host?"),
        ("[node]\nzzzzzz = 1", "node.zzzzzz: there is no such key; remove it"),
        ("zz = 3", "zz: there is no such key; remove it"),
    ],
)
def test_an_unknown_key_is_a_fault_with_a_suggestion(text, line, faults):
    assert faults(text) == [line]


def test_every_fault_is_reported_at_once(faults):
    found = faults(
        """
        [node]
        ae_title = "much longer than sixteen"
        dta = "var"
        [log]
        level = "loud"
        [listen]
        port = 0
        called_ae = ["GOOD", "BAD\\\\"]
        [assemble]
        quiet_s = -1
        [work]
        attempts = 0
        device = "cuda:one"
        [[destination]]
        name = "Not A Name"
        port = 70000
        """
    )
    keys = [line.partition(":")[0] for line in found]
    assert keys == [
        "assemble.quiet_s",
        "destination.0.ae_title",
        "destination.0.host",
        "destination.0.name",
        "destination.0.port",
        "listen.called_ae.1",
        "listen.port",
        "log.level",
        "node.ae_title",
        "node.dta",
        "work.attempts",
        "work.device",
    ]


@pytest.mark.parametrize("number", ["inf", "-inf", "nan", "0", "-1.5"])
@pytest.mark.parametrize("key", ["assemble.quiet_s", "work.retry_first_s", "deliver.connect_s"])
def test_a_duration_is_a_positive_finite_number(key, number, faults):
    table, _, name = key.partition(".")
    (line,) = faults(f"[{table}]\n{name} = {number}")
    assert line.startswith(key)


@pytest.mark.parametrize(("table", "number"), [("work", "inf"), ("deliver", "nan"), ("work", "0.5")])
def test_a_lease_is_a_second_at_least_and_ends(table, number, faults):
    assert faults(f"[{table}]\nlease_s = {number}")


def test_two_destinations_cannot_have_one_name(faults):
    text = DESTINATION.format("a") + DESTINATION.format("b") + DESTINATION.format("a")
    assert faults(text) == ["(file): two destinations or peers are called a; give each its own name"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[[called]]\nae_title = 'A'\n[[called]]\nae_title = ' A '", "(file): two [[called]] tables are for A; put them together"),
        ("[[called]]\nae_title = 'A'\nask = 'pacs'", "(file): [[called]] asks pacs; give the name of a [[peer]] or a [[destination]]"),
        ("[assemble]\nquiet_least_s = 301", "assemble: quiet_least_s is above quiet_most_s; exchange them"),
        ("[[called]]\nae_title = 'A'\nquiet_s = 0", "called.0.quiet_s: Input should be greater than 0"),
        ("[[called]]\nae_title = 'A'\nquite_s = 1", "called.0.quite_s: there is no such key; did you mean quiet_s?"),
        (
            "[[called]]\nae_title = 'A'\nexpected_series = [{ modality = 'CT', description = '(' }]",
            "called.0.expected_series.0.description: it is no regular expression: missing ), unterminated subpattern at position 0",
        ),
        (
            "[[called]]\nae_title = 'A'\nexpected_series = [{ modality = 'CT', instance = 1 }]",
            "called.0.expected_series.0.instance: there is no such key; did you mean instances?",
        ),
    ],
)
def test_a_rule_that_cannot_be_kept_is_a_fault(text, fault, faults):
    assert faults(text) == [fault]


def test_a_title_with_rules_of_its_own_is_answered_to_and_its_pipelines_are_known(read):
    config = read(
        """
        [listen]
        called_ae = ["B"]
        [pipelines]
        enabled = ["one"]
        [[called]]
        ae_title = "A"
        pipelines = ["two", "one"]
        [[called]]
        ae_title = "B"
        pipelines = []
        """
    )
    assert config.called_ae_titles == {"RADNODE", "A", "B"}
    assert config.every_pipeline == ("one", "two")


@pytest.mark.parametrize("content", [b"[node", b"\xff\xfe", b"a = 1\na = 2"])
def test_what_is_not_toml_is_said_to_be_none(content, read):
    with pytest.raises(ConfigError, match="is not TOML"):
        read(content)


def test_a_file_that_is_not_there_or_a_folder_is_said_to_be_unreadable(tmp_path):
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigError, match=r"cannot be read: .*Copy config\.toml from the project"):
            read_config(path)


@pytest.mark.parametrize(("given", "title"), [("A", "A"), ("A B", "A B"), (" PACS  ", "PACS"), ("~!#[]^", "~!#[]^"), ("X" * 16, "X" * 16)])
def test_an_ae_title_is_taken_without_the_spaces_that_mean_nothing(given, title):
    assert TypeAdapter(AETitle).validate_python(given) == title


@pytest.mark.parametrize("title", ["", "    ", "X" * 17, "A\\B", "A\n", "\tA", "A\0", "A\x7f", "ÄRZTE", "A\u00a0"])
def test_an_ae_title_that_ps3_5_does_not_allow_is_a_fault(title):
    with pytest.raises(ValidationError, match="1 to 16 characters of ASCII"):
        TypeAdapter(AETitle).validate_python(title)


@given(st.text(alphabet=st.characters(max_codepoint=0x17F), max_size=20))
def test_the_rule_for_ae_titles_is_that_of_the_standard(text):
    allowed = 0 < len(text.strip(" ")) <= 16 and all(" " <= char <= "~" and char != "\\" for char in text.strip(" "))
    try:
        assert TypeAdapter(AETitle).validate_python(text) == text.strip(" ")
    except ValidationError:
        assert not allowed
    else:
        assert allowed


def test_what_was_read_cannot_be_changed(read):
    config = read("")
    with pytest.raises(ValidationError):
        config.node.ae_title = "OTHER"
    with pytest.raises(ValidationError):
        config.node = Config().node


@pytest.mark.parametrize(
    "text",
    [
        f"[node]\ndatabase = ['{PASSWORD}']",
        f"[node]\ndatabase = {{ value = '{PASSWORD}' }}",
        f"node = '{PASSWORD}'",
        f"[node]\ndatabase = '{PASSWORD}'\ndatabse = '{PASSWORD}'",
        f"[node]\ndatabase = '{PASSWORD}'\n" + DESTINATION.format("a") * 2,
        f"[node]\ndatabase = '{PASSWORD}'\n[listen]\nport = 0",
    ],
)
def test_no_fault_quotes_a_secret_even_in_its_traceback(text, read):
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
