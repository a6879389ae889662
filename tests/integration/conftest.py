"""A sandbox of its own for every test, and after every test the official SDK's validators over all that went to the team."""

import importlib.util
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from sandbox.environment import Sandbox, SandboxOptions
from sandbox.samba import missing_for_samba
from sandbox.team import TeamSimulator

_ROOT = Path(__file__).resolve().parents[2]
_CACHE = _ROOT / ".sandbox" / "cache"


def _load(name):
    spec = importlib.util.spec_from_file_location(
        f"integration_{name}", Path(__file__).with_name(f"{name}.py")
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


WORLD = _load("world")


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("samba")


@pytest.fixture(scope="session")
def portal():
    with start_blocking_portal("asyncio") as opened:
        yield opened


@contextmanager
def _factory(portal, folder):
    if missing := missing_for_samba():
        pytest.skip(missing)
    worlds = []
    with ExitStack() as stack:

        def make(*, team=None, **options):
            sandbox = Sandbox(folder / f"w{len(worlds)}", cache=_CACHE, options=SandboxOptions(**options))
            if team:
                sandbox.team = TeamSimulator(replace(sandbox.team.config, **team))
            stack.enter_context(portal.wrap_async_context_manager(sandbox))
            world = WORLD.World(sandbox, portal, exit_stack=stack)
            worlds.append(world)
            stack.callback(world.close)
            return world

        yield make
        for world in worlds:
            world.close()
            world.check_exchanges()


@pytest.fixture
def make_world(portal, tmp_path):
    """A factory: `make_world(seats=3, people=200, team={"page_cap": 2})`. Each world has its own domain, team and mailbox."""
    with _factory(portal, tmp_path) as make:
        yield make


@pytest.fixture(scope="module")
def make_shared_world(portal, tmp_path_factory):
    """The same for the tests of a module, where none of them changes what the others see."""
    with _factory(portal, tmp_path_factory.mktemp("shared")) as make:
        yield make


@pytest.fixture
def world(make_world):
    """The standard population, nobody in the team but its admin."""
    return make_world()


@pytest.fixture
def settled(world):
    """A world where everybody is an active member already, known to the journal, and the timeline is empty.

    The members carry our external ids, as after the loss of a journal: one pass, which writes nothing, links them.
    """
    world.join_standard_people()
    world.ok("run")
    assert world.writes() == []
    world.forget_exchanges()
    return world


@pytest.fixture(scope="session")
def tools():
    """`wait_until`, `standard_emails` and the like."""
    return WORLD
