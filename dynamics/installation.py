"""The installed packages: which one a failed import is about, and what cures it."""

from __future__ import annotations

import re
import traceback
import warnings
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version

OURS = "training-dynamics"

# Built for each other to the last digit: either is cured by both.
PAIRS = (("torch", "torchaudio"),)

# Modules that are called otherwise than what is installed, for when nothing is.
_CALLED = {
    "PIL": "pillow",
    "fsspec": "fsspec",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
_ONLY_FOR = re.compile(r"extra\s*==\s*['\"]([\w-]+)['\"]")
_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[^\]]*\])?\s*([^;]*)")


def load(*modules: str) -> None:
    """Import modules, such as the libraries of an adapter, before work begins.

    Parameters
    ----------
    *modules : str
        Names of modules.

    Raises
    ------
    ImportError
        One sentence that names the package and the cure, whatever the import raises.
    """
    for name in modules:
        try:
            with warnings.catch_warnings():
                # In notebooks tqdm wants a package for its bars, of which none is drawn here.
                warnings.filterwarnings("ignore", message="IProgress not found")
                import_module(name)
        except Exception as error:
            raise explained(error, module=name) from error


def version_of(package: str) -> str:
    """Return the version of what is installed; "unknown" where nothing of the name is."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def while_importing(fault: BaseException) -> bool:
    """Whether an exception of any type was raised by the body of a package that was imported."""
    return _importing(fault) is not None


def explained(fault: BaseException, *, module: str = "") -> ImportError:
    """Make one sentence of a failed import.

    Parameters
    ----------
    fault : BaseException
        What the import raised.
    module : str
        What was imported, where the exception does not tell.

    Returns
    -------
    ImportError
        It names the package, what is wrong with it and the cure.
    """
    if isinstance(fault, ImportError) and _SAID in str(fault):
        return fault
    lacking = getattr(fault, "name", None) if isinstance(fault, ModuleNotFoundError) else None
    top = (lacking or "").partition(".")[0]
    if top and not _distribution(top):
        package = _CALLED.get(top, top.replace("_", "-"))
        return ImportError(f"the package {package} is not installed{_SAID}{_cure(package)}")
    broken = _importing(fault) or getattr(fault, "name", None) or module
    top = broken.partition(".")[0]
    reason = " ".join(str(fault).split())[:200] or type(fault).__name__
    package = _distribution(top)
    if not package:
        return ImportError(f"the module {top} cannot be imported ({reason})" if top else reason)
    beside = [f" beside {o} {version_of(o)}" for pair in PAIRS if package in pair for o in pair
              if o != package]  # fmt: skip
    return ImportError(
        f"the package {package} {version_of(package)} cannot be loaded{''.join(beside)} ({reason})"
        f"{_SAID}{_cure(package, again=True)}"
    )


_SAID = ": install it with `pip install "


def _cure(package: str, *, again: bool = False) -> str:
    """Return the rest of the command that installs a package, and what must match it."""
    together = next((pair for pair in PAIRS if package in pair), (package,))
    force = "--force-reinstall " if again else ""
    wanted = {_normal(name): (bounds, extra) for name, bounds, extra in _requirements()}
    if len(together) == 1 and (extra := wanted.get(_normal(package), ("", ""))[1]) and not again:
        return f"'{OURS}[{extra}]'`"
    names = (f"'{name}{wanted.get(_normal(name), ('', ''))[0]}'" for name in together)
    return f"{force}{' '.join(names)}`"


def _requirements() -> Iterator[tuple[str, str, str]]:
    """Yield name, bounds and extra of what this package requires; without an extra last."""
    try:
        stated = requires(OURS) or []
    except PackageNotFoundError:
        stated = []
    for text in sorted(stated, key=lambda text: ("extra" not in text, "test" not in text)):
        match, extra = _REQUIREMENT.match(text), _ONLY_FOR.search(text)
        if match:
            yield match[1], match[2].strip(" ()"), extra[1] if extra else ""


def required() -> list[tuple[str, str]]:
    """Return what this package cannot do without: names and bounds of versions."""
    return [(name, bounds) for name, bounds, extra in _requirements() if not extra]


def extras() -> dict[str, list[str]]:
    """Return what each extra brings, by its name; those for developers are left out."""
    found: dict[str, list[str]] = {}
    for name, _, extra in _requirements():
        if extra and extra not in ("test", "benchmark"):
            found.setdefault(extra, []).append(name)
    return found


def within(found: str, bounds: str) -> bool:
    """Whether a version is one of those that are wanted, such as ``>=2,<3``."""
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(bounds).contains(found, prereleases=True)


def _importing(fault: BaseException) -> str | None:
    """Return the outermost foreign module whose body was running when an exception was raised."""
    frames = [frame for frame, _ in traceback.walk_tb(fault.__traceback__)]
    # The first frame is where it was caught: a script's own body is no import.
    for frame in frames[1:]:
        name = str(frame.f_globals.get("__name__", ""))
        if frame.f_code.co_name == "<module>" and name.partition(".")[0] not in _NOT_PACKAGES:
            return name
    return None


_NOT_PACKAGES = ("dynamics", "__main__", "")


def _distribution(module: str) -> str:
    """Return what installed a module; empty where nothing did."""
    found = packages_distributions().get(module, [])
    return found[0] if found else ""


def _normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()
