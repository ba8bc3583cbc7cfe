"""Arrow without pandas, until somebody imports pandas.

Arrow imports pandas for its first array, to know pandas' types when it meets them: the longest import of a command that
may never have a thing of pandas. `use_arrow_alone` has that first look find nothing; once pandas is imported, by
whomever, Arrow looks again, before the importer can make the first Series. For where no thread will import pandas
meanwhile: dlt takes what another thread has of it for all of it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PANDAS = "pandas"


def use_arrow_alone() -> None:
    """Let Arrow take its first look at pandas now, in vain. Call it before threads; twice is once."""
    import pyarrow as pa

    if PANDAS in sys.modules or any(isinstance(finder, _Announced) for finder in sys.meta_path):
        return
    absent = _Absent()
    sys.meta_path.insert(0, absent)
    try:
        pa.array([0])
        import_module("pyarrow.pandas_compat")  # wanted when pandas comes, which two threads may bring
    finally:
        sys.meta_path.remove(absent)
    sys.meta_path.insert(0, _Announced())


class _Absent(MetaPathFinder):
    """Says that there is no pandas."""

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> None:
        if name == PANDAS:
            raise ModuleNotFoundError(name)


class _Announced(MetaPathFinder):
    """Finds pandas where it is, with a loader that tells Arrow of it."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != PANDAS:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Telling(spec.loader)
        return spec


class _Telling(Loader):
    def __init__(self, own: Loader) -> None:
        self.own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Load the module as its own loader does, which also stays its loader, then have Arrow look again."""
        from pyarrow.lib import _pandas_api

        module.__loader__ = self.own
        if module.__spec__ is not None:
            module.__spec__.loader = self.own
        self.own.exec_module(module)
        _ = _pandas_api.pd  # to give it, Arrow imports it
