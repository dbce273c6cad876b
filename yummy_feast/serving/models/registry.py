"""The models of a server by name, each replaced when its folder changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial

from yummy_feast.errors import YummyError
from yummy_feast.models.loading import Model, load_model
from yummy_feast.serving.models.metrics import ModelMetrics
from yummy_feast.serving.models.options import ModelOptions
from yummy_feast.serving.models.work import Served

logger = logging.getLogger(__name__)

# A folder that is being written changes between two looks; one look after the last change it is read.
_LOOKS: float = 0.5


class Models:
    """Loads every model at once; belongs to the event loop later. Raises what ``load_model`` raises.

    A request takes the model that is current when it begins; a new one takes its place in a single assignment.

    Args:
        places: name -> where its MLmodel folder is.
        check: raises for a model that cannot be served otherwise, e.g. with features that are not there.
    """

    def __init__(
        self,
        places: Mapping[str, str],
        options: ModelOptions,
        metrics: ModelMetrics,
        check: Callable[[Model], None] = lambda _: None,
    ) -> None:
        self._options = options
        self._metrics = metrics
        self._check = check
        self._load = partial(load_model, allow_pickle=options.allow_pickle, threads=options.threads)
        self.served = {name: self._served(name, self._load(place)) for name, place in places.items()}
        self._failed: dict[str, str] = {}

    def _served(self, name: str, model: Model) -> Served:
        self._check(model)
        return Served(model, self._metrics.observer(name))

    @property
    def models(self) -> dict[str, Model]:
        """What is served now."""
        return {name: served.model for name, served in self.served.items()}

    async def keep_current(self) -> None:
        """Look at the folders for ever; what cannot be loaded is logged, and the old model stays."""
        while self._options.reload:
            await asyncio.sleep(self._options.reload)
            for name in list(self.served):
                try:
                    await self.refresh(name)
                except (YummyError, OSError) as error:
                    logger.warning("model %s: cannot be looked at, the loaded one is served: %s", name, error)

    async def refresh(self, name: str) -> bool:
        """Replace the model of ``name`` if its folder has another content; True when it was. Raises YummyError."""
        old = self.served[name].model
        mark = await asyncio.to_thread(old.place.mark)
        if mark in (old.mark, self._failed.get(name)):
            return False
        while True:
            await asyncio.sleep(min(_LOOKS, self._options.reload or _LOOKS))
            again = await asyncio.to_thread(old.place.mark)
            if again == mark:
                break
            mark = again
        try:
            new = await asyncio.to_thread(self._load, old.place.text)
            served = self._served(name, new)
        except (YummyError, OSError) as error:
            self._failed[name] = mark
            self._metrics.reload_failed(name)
            logger.warning("model %s: its folder has changed and cannot be loaded, the old one stays: %s", name, error)
            return False
        self._failed.pop(name, None)
        self.served[name] = served
        self._metrics.reloaded(name)
        logger.info("model %s: replaced by %s", name, new.version)
        return True
