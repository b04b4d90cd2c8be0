"""docs/reproduce.md goes from a failure to the same failure: its commands are run again, one after the other."""

from tests.scenarios.pages import DOCS, blocks, plain, printed

TEXT = (DOCS / "reproduce.md").read_text("utf-8")


def test_page_is_what_its_commands_print(tmp_path):
    """The second command rebuilds what the first one saved."""
    shown = blocks(TEXT)
    assert [command.split()[1] for command, _ in shown] == ["--hostname", "--imitate"]
    for command, output in shown:
        assert plain(printed(command, tmp_path)) == plain(output)
