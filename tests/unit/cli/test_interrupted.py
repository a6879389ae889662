"""Ctrl-C while the libraries are loaded ends the process at once, and without a traceback."""

import signal
import sys

import pytest

import pipeline.cli
from pipeline.__main__ import main


def test_it_is_not_caught_before_the_command_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []
    really = pipeline.cli.build

    def build(modules: list[str]) -> object:
        seen.append(signal.getsignal(signal.SIGINT))
        really(modules)

        def command(*_: object, **__: object) -> None:
            seen.append(signal.getsignal(signal.SIGINT))
            raise KeyboardInterrupt

        return command

    monkeypatch.setattr(pipeline.cli, "build", build)
    monkeypatch.setattr(sys, "argv", ["ad-connector", "status"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.SIG_DFL, signal.default_int_handler]
    assert ended.value.code == 130
