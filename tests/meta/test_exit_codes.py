"""Each exit code has a test that produces it through the command line and reads where it is told: the log's last line, or,
for what must not or can't reach the log, standard error.
"""

import ast
import re
from pathlib import Path

import pytest

from pipeline.core.exits import ExitCode

ROOT = Path(__file__).resolve().parents[2]

FAULTS, MAIN = "tests/integration/test_faults.py", "tests/integration/test_main_job.py"
LOG, STDERR = r"(check_exit_line|_ends)\((\w+, )?{code}\b", r"exit code: {code}\b"

# By code: the file, the test, and the words by which it reads the code.
SHOWN = {
    0: (MAIN, "test_an_invited_member_is_updated_only_after_joining", LOG),
    2: (FAULTS, "test_a_person_whom_nobody_knows_is_2_and_harms_no_pass", LOG),
    -1: (
        "tests/meta/test_python_version.py",
        "test_an_old_python_alone_ends_with_minus_one_and_says_so",
        "{code}:",
    ),
    -10: (FAULTS, "test_an_unknown_key_is_minus_10_with_the_nearest_known_one", LOG),
    -11: (FAULTS, "test_a_literal_secret_in_a_file_that_others_may_read_is_minus_11", LOG),
    -12: (FAULTS, "test_a_wrong_bind_password_is_minus_12", LOG),
    -13: (FAULTS, "test_a_revoked_refresh_token_is_minus_13", LOG),
    -14: (FAULTS, "test_a_revoked_access_token_is_minus_14", LOG),
    -15: (FAULTS, "test_nobody_in_scope_is_minus_15_and_never_everybody_left", LOG),
    -16: (FAULTS, "test_members_that_can_not_be_listed_are_minus_16", LOG),
    -17: (MAIN, "test_the_authorising_admin_is_never_suspended_and_the_others_go_on", LOG),
    -18: (
        "tests/integration/test_brake.py",
        "test_a_nested_group_of_many_removed_is_held_told_and_released_by_its_hash",
        LOG,
    ),
    -19: (
        "tests/integration/test_watch.py",
        "test_a_second_instance_ends_with_minus_19_and_names_the_first",
        STDERR,  # the log belongs to the instance that is running
    ),
    -20: (FAULTS, "test_a_journal_that_can_not_be_used_is_minus_20", LOG),
}


def test_there_is_one_for_every_code() -> None:
    assert set(SHOWN) == {int(code) for code in ExitCode}


@pytest.mark.parametrize("code", SHOWN)
def test_the_test_is_there_and_reads_the_code(code: int) -> None:
    file, name, words = SHOWN[code]
    text = (ROOT / file).read_text(encoding="utf-8")
    (found,) = [
        node
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
    ]
    source = ast.get_source_segment(text, found)
    assert source is not None
    assert re.search(words.replace("{code}", str(code)), source), f"{name} does not read {code}"


def test_the_helpers_that_they_read_with_read_the_last_line_of_the_log() -> None:
    world = (ROOT / "tests/integration/world.py").read_text(encoding="utf-8")
    assert 'assert self.log_lines[-1] == f"exit code: {code}"' in world
    assert "world.check_exit_line(code)" in (ROOT / FAULTS).read_text(encoding="utf-8")
