"""What the log tells once."""

from pathlib import Path

from pipeline import log
from pipeline.app.news import log_held
from pipeline.core.brake import HeldSet, Subject


def held(digest: str) -> HeldSet:
    return HeldSet(
        hash=digest,
        subject=Subject.LEAVERS,
        items=(),
        wanted=3,
        sent=0,
        limit=2,
        rule="2 of 40",
        kinds=(),
        clusters=(),
    )


def test_a_held_set_is_told_once_a_pass_however_often_it_plans(tmp_path: Path) -> None:
    log.configure(log.LogOptions(path=tmp_path / "log", to_stderr=False))
    told: set[str] = set()
    log_held([held("aaa")], told)
    log_held([held("aaa"), held("bbb")], told)
    log_held([held("aaa")], set())  # the next pass
    log.close()
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert [line.count("set=aaa") for line in lines] == [1, 0, 1]
    assert sum("set=bbb" in line for line in lines) == 1
