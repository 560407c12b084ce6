"""Drawing in place: one write a frame, no leftovers, nothing wider than the window."""

import io

import pytest
from ascend_jobs.cli.screen import Screen, clean, cut


class Terminal(io.StringIO):
    """A stream that says it is a terminal and remembers each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.writes.append(text)
        return len(text)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "5")
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


def test_second_frame_goes_over_the_first(terminal: Terminal) -> None:
    screen = Screen(terminal)
    screen.draw(["one", "two"])
    screen.draw(["only"])
    assert terminal.writes == ["one\x1b[K\ntwo\x1b[K\n\x1b[J", "\x1b[2Fonly\x1b[K\n\x1b[J"]


def test_frame_fits_the_window(terminal: Terminal) -> None:
    Screen(terminal).draw(["x" * 50] * 9)
    assert terminal.writes[0].count("\n") == 4
    assert "x" * 21 not in terminal.writes[0]


def test_cursor_comes_back_after_an_error(terminal: Terminal) -> None:
    with pytest.raises(RuntimeError), Screen(terminal):
        raise RuntimeError
    assert terminal.writes == ["\x1b[?25l", "\x1b[?25h"]


def test_no_terminal_gets_no_codes() -> None:
    stream = io.StringIO()
    with Screen(stream) as screen:
        assert not screen.live
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("line", "columns", "want"),
    [
        ("short", 10, "short"),
        ("exactly", 7, "exactly"),
        ("too long", 3, "too"),
        ("模型训练", 5, "模型"),
        ("\x1b[1;32mgreen\x1b[0m", 5, "\x1b[1;32mgreen\x1b[0m"),
        ("\x1b[1;32mgreen\x1b[0m", 3, "\x1b[1;32mgre\x1b[0m"),
    ],
)
def test_cut(line: str, columns: int, want: str) -> None:
    assert cut(line, columns) == want


def test_clean_takes_control_from_the_text() -> None:
    assert clean("a\x1b[2Jb\nc\u202ed") == "a [2Jb c d"
