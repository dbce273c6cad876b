"""The registry as requests see it: one content, frozen, with the plans that were compiled from it.

A request takes the snapshot that is current when it begins and never looks at the registry itself. A new content is
read and compiled in a thread, and then takes the place of the old one, in a single assignment.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from yummy_feast.errors import ConfigError, YummyError
from yummy_feast.online.compile import compile_plan
from yummy_feast.serving.features.answer import Rendering
from yummy_feast.serving.features.request import Selection
from yummy_feast.serving.features.tally import Tally

if TYPE_CHECKING:
    from feast import RepoConfig
    from feast.infra.registry.base_registry import BaseRegistry
    from feast.protos.feast.core.Registry_pb2 import Registry as RegistryProto

    from yummy_feast.online.plan import Binding, OnlinePlan

logger = logging.getLogger(__name__)

_MOST_PLANS: Final = 256
_MOST_RENDERINGS: Final = 64
# So many cells take some ten milliseconds, which other requests need not wait for.
_INLINE_CELLS: Final = 50_000
# A file registry is written in place: whoever reads meanwhile may see none of it, or half.
_SECOND_LOOK: Final = 0.1
_MOST_LOOKS: Final = 50


class Served:
    """A plan, and how its answers are written.

    on_demand: names of the on-demand views it computes; is_slow: whether one of them runs in pandas or the like, which
    takes a millisecond where Python takes microseconds.
    width: features of an answer.
    tally: counts what is read with it.
    """

    __slots__ = ("_renderings", "is_slow", "on_demand", "plan", "tally", "used", "width")

    def __init__(self, plan: OnlinePlan) -> None:
        self.plan = plan
        self.tally = Tally(plan)
        self.used = False
        self.on_demand = [each.view.name for each in plan.on_demand]
        self.is_slow = any(each.view.mode != "python" for each in plan.on_demand)
        self.width = len(plan.columns)
        self._renderings: dict[Binding, Rendering] = {}

    def is_large(self, rows: int) -> bool:
        """Whether an answer of so many rows is made in a thread."""
        return rows * self.width > _INLINE_CELLS

    def rendering(self, binding: Binding) -> Rendering:
        """How answers of ``binding`` are written."""
        found = self._renderings.get(binding)
        if found is None:
            found = Rendering(binding.heading, None if self.on_demand else self.plan, self.tally)
            # As in the plan itself: callers may invent column names without end.
            if len(self._renderings) < _MOST_RENDERINGS:
                self._renderings[binding] = found
        return found


class Snapshot:
    """One content of the registry and the plans of it. Plans are looked up in the loop, and compiled in threads.

    Args:
        content: the whole registry; it is copied.
        config: the repository's configuration, with an online store of ours.
    """

    def __init__(self, content: RegistryProto, config: RepoConfig) -> None:
        self.registry = _frozen(content, config)
        self.loaded = time.time()
        self._config = config
        self._plans: OrderedDict[Selection, Served] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def content(self) -> RegistryProto:
        """The registry. Nobody changes it."""
        return self.registry.proto()

    def known(self, selection: Selection) -> Served | None:
        """The plan that was compiled for ``selection``, if any. Takes no lock."""
        found = self._plans.get(selection)
        if found is not None:
            found.used = True
        return found

    def compile(self, selection: Selection) -> Served:
        """The plan for ``selection``. Takes milliseconds; safe in threads. Raises as ``compile_plan``."""
        # One at a time: they would wait for each other anyway, and many may ask for the same.
        with self._lock:
            found = self._plans.get(selection)
            if found is None:
                features: Any = list(selection.features)
                if selection.feature_service is not None:
                    features = self.registry.get_feature_service(
                        selection.feature_service, self._config.project, allow_cache=True
                    )
                plan = compile_plan(
                    self.registry, self._config.project, self._config, features, selection.full_feature_names
                )
                self._make_room()
                found = self._plans[selection] = Served(plan)
            return found

    def _make_room(self) -> None:
        """Forget the oldest plan that nobody has used since it was last looked at."""
        while len(self._plans) >= _MOST_PLANS:
            selection, served = self._plans.popitem(last=False)
            if served.used:
                served.used = False
                self._plans[selection] = served

    def selections(self) -> list[Selection]:
        """What plans were compiled for."""
        return list(self._plans)

    def warm(self, selections: Iterable[Selection]) -> None:
        """Compile what will be asked for again. What cannot be compiled any more is told to whoever asks for it."""
        from feast.errors import FeastError

        for selection in selections:
            with suppress(YummyError, FeastError, LookupError, ValueError, TypeError, NotImplementedError, ImportError):
                self.compile(selection)


def _frozen(content: RegistryProto, config: RepoConfig) -> BaseRegistry:
    """A registry of Feast's with this content, behind which is no file and no server, and which never expires."""
    from datetime import timedelta

    from feast.infra.registry.registry import Registry

    frozen = Registry(config.project, None, None)
    frozen.cached_registry_proto.CopyFrom(content)
    frozen.cached_registry_proto_ttl = timedelta(0)
    keys = config.registry
    frozen.enable_online_versioning = keys.enable_online_feature_view_versioning
    frozen.serve_features_while_materializing = keys.serve_features_while_materializing
    return frozen


class Registries:
    """The current snapshot, and the task that keeps it current.

    Args:
        source: the repository's registry. Only threads of this class ask it, one at a time.
        config: as for a Snapshot.
        poll: seconds between looks at the registry; 0 never looks again.
    """

    def __init__(self, source: BaseRegistry, config: RepoConfig, poll: float) -> None:
        self._source = source
        self._config = config
        self._poll = poll
        self._is_failing = False
        self._looking = threading.Lock()
        self.current = Snapshot(_whole(source.proto(), config), config)
        self.looked = time.time()

    async def keep_current(self) -> None:
        """Look at the registry for ever. A look that fails is logged, and the snapshot stays."""
        while self._poll:
            await asyncio.sleep(self._poll)
            look = asyncio.ensure_future(asyncio.to_thread(self.refresh))
            # Registries raise what they like; a task's failure is looked at, not caught.
            await asyncio.wait([look])
            error = look.exception()
            if error is None:
                self._is_failing = False
            elif not self._is_failing:
                self._is_failing = True
                logger.warning("the registry cannot be read, the last content is served: %s", error)

    def refresh(self) -> bool:
        """Read the registry, and put its content in the place of the current one. True when it is another one.

        Blocks, also while another thread does it. Raises what the registry raises.
        """
        with self._looking:
            old = self.current
            content = self._read()
            if content != old.content:
                confirmed = self._read_again(content)
                new = Snapshot(_whole(confirmed, self._config), self._config)
                new.warm(old.selections())
                self.current = new
            self.looked = time.time()
            return self.current is not old

    def _read(self) -> RegistryProto:
        self._source.refresh(self._config.project)
        return self._source.proto()

    def _read_again(self, content: RegistryProto) -> RegistryProto:
        """The same content twice in a row: then nobody is writing it. ConfigError while it changes all the time."""
        for _ in range(_MOST_LOOKS):
            time.sleep(_SECOND_LOOK)
            again = self._read()
            if again == content:
                return again
            content = again
        raise ConfigError("the registry was another one at each look", hint="is something writing it in a loop?")


def _whole(content: RegistryProto, config: RepoConfig) -> RegistryProto:
    """``content``, unless it lacks this project: then it is half written, or that of another repository."""
    if all(project.spec.name != config.project for project in content.projects):
        raise ConfigError(f"the registry knows no project {config.project!r}", hint="run `feast apply` first")
    return content
