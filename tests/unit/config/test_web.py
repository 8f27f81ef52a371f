"""Nobody can open the HTTP port to strangers without having said who may come."""

import pytest

from node.config import read_config
from node.core.errors import ConfigError

TOKEN = '[[web.tokens]]\nname = "GATEWAY"\ntoken = "{}"\n'
TLS = '[web.tls]\ncertificate = "a.pem"\nkey = "a.key"\n'


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "config.toml"
        path.write_text(text)
        return read_config(path)

    return read


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_on_this_machine_anyone_may_come(read, host):
    assert read(f"[web]\nenabled = true\nhost = '{host}'").web.host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "node.hospital.example"])
@pytest.mark.parametrize("more", ["", TLS])
def test_from_elsewhere_only_those_who_are_known(read, host, more):
    text = f"[web]\nenabled = true\nhost = '{host}'\n"
    with pytest.raises(ConfigError, match="web: anyone could store: give tokens or"):
        read(text + more)
    assert read(text + more + TOKEN.format("0123456789abcdef")).web.enabled
    assert read(text + TLS + "authority = 'ca.pem'").web.enabled
    assert not read(text.replace("true", "false") + more).web.enabled


@pytest.mark.parametrize("token", ["", "short", "0123456789 abcdef", "0123456789abcde\u00e9"])
def test_a_token_that_can_be_guessed_or_not_be_sent_is_a_fault_that_does_not_quote_it(read, token):
    with pytest.raises(ConfigError, match="a token is 16 characters or more") as caught:
        read(TOKEN.format(token))
    assert not token or token not in str(caught.value)


def test_a_token_comes_from_a_file_and_is_never_shown(read, tmp_path):
    (tmp_path / "secret").write_text("0123456789abcdef\n")
    config = read(TOKEN.replace('"{}"', '{{ file = "secret" }}').format())
    assert config.web.tokens[0].token.get_secret_value() == "0123456789abcdef"
    assert "0123456789abcdef" not in f"{config!r}{config.model_dump_json()}"


def test_the_files_of_tls_begin_at_the_folder_of_the_file(read, tmp_path):
    assert read(TLS).web.tls.certificate == tmp_path.resolve() / "a.pem"
