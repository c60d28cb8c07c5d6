"""Have steps and results of a store done again: those that are named, or all that is damaged."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import zarr
from zarr.core.sync import sync

from dynamics.store import hashes, nodes
from dynamics.store.clearing import clear
from dynamics.store.damage import some
from dynamics.store.health import verify, verify_controls, verify_results
from dynamics.store.layout import DONE, FAILED, PENDING
from dynamics.store.locking import lock
from dynamics.store.making import mend_table
from dynamics.store.place import Place, Where, open_zarr, place_of, writing
from dynamics.store.read import controls_group, open_group, records, steps
from dynamics.store.repository import save
from dynamics.store.results import uncommit

_SHOWN = 12


def redo(where: Where, chosen: Sequence[int], *, untrained: Sequence[int] = ()) -> None:
    """Mark steps as pending, so that the next crawl does them again.

    Parameters
    ----------
    where : str, Path or Place
        A store.
    chosen : sequence of int
        Training steps.
    untrained : sequence of int
        Numbers of untrained networks.

    Raises
    ------
    ValueError
        If a step or network is not in the store; none is marked then.
    """
    with lock(where):
        root = open_group(where, mode="r+")
        _redo_steps(root, where, chosen, untrained)


def _redo_steps(
    root: zarr.Group, where: Where, chosen: Sequence[int], untrained: Sequence[int]
) -> None:
    tables = [(root, "step", chosen)]
    if untrained:
        group = controls_group(root)
        if group is None:
            raise ValueError(f"store {where} has no controls: its sweep asks for none")
        tables.append((group, "untrained network", untrained))
    for group, name, numbers in tables:
        rows = steps(group)
        if unknown := [number for number in numbers if number not in rows]:
            raise ValueError(
                f"store {where} has no {name} {unknown[0]}: it has {some(sorted(rows), _SHOWN)}"
            )
    with writing(root):
        for group, _, numbers in tables:
            rows = steps(group)
            for number in numbers:
                nodes.array(group, "checkpoints/status")[rows[number]] = PENDING
                nodes.array(group, "checkpoints/content")[rows[number]] = ""
            if numbers:
                _forget_lost_coordinates(nodes.group(group, "activations"))
        save(root, f"redo {', '.join(map(str, [*chosen, *untrained]))}")


def redo_results(where: Where, target: str, metric: str, chosen: Sequence[int] = ()) -> None:
    """Have results computed again by the next `analyze` or `probe`.

    Parameters
    ----------
    where : str, Path or Place
        A store.
    target, metric : str
        Their labels.
    chosen : sequence of int
        Steps; by default all, with coordinates and levels: the group is removed.

    Raises
    ------
    ValueError
        If there are no such results, or no such step.
    """
    with lock(where):
        _redo_results(open_group(where, mode="r+"), where, target, metric, chosen)


def _redo_results(
    root: zarr.Group, where: Where, target: str, metric: str, chosen: Sequence[int]
) -> None:
    name = f"results/{target}/{metric}"
    known_groups = hashes.stated(nodes.group(root, "results"))
    if not _is_there(root, name) and (chosen or f"{target}/{metric}/" not in known_groups):
        raise ValueError(f"store {where} has no {name}: `dynamics verify` names what there is")
    with writing(root):
        if not chosen:
            # Whatever is damaged in it.
            sync(root.store.delete_dir(f"{root.path}/{name}".lstrip("/")))
            hashes.note_group(nodes.group(root, "results"), f"{target}/{metric}", there=False)
        group = nodes.group(root, name if chosen else "results")
        known = nodes.values(group, "step").tolist() if chosen else []
        if unknown := [step for step in chosen if step not in known]:
            raise ValueError(
                f"{name} has no step {unknown[0]}: it has {some(sorted(known), _SHOWN)}"
            )
        _remove_unreadable(group, [known.index(step) for step in chosen])
        for step in chosen:
            uncommit(group, known.index(step))
        save(root, f"redo {name}")


def _is_there(root: zarr.Group, name: str) -> bool:
    try:
        return nodes.has(root, name)
    except ValueError:  # it is, and is damaged
        return True


def redo_damaged(where: Where) -> list[str]:
    """Have all that `verify` finds done again, and take away what cannot be read at all.

    Parameters
    ----------
    where : str, Path or Place
        A store.

    Returns
    -------
    list of str
        What is done again, or was taken away, such as ``step 20``; empty for a sound store.
    """
    with lock(where):
        place = place_of(where)
        store, top = open_zarr(place, write=True)
        with writing(place):
            done = [f"{path} (could not be read)" for path in clear(store, top)]
        try:
            root = open_group(place, mode="r+")
        except FileNotFoundError:  # its root is among what was taken away
            return done
        with writing(root):
            for group in (root, controls_group(root)):
                if group is not None:
                    mend_table(group)
            done += _redo_found(root, place)
            save(root, "redo what is damaged")
    return done


def _redo_found(root: zarr.Group, place: Place) -> list[str]:
    steps_of, controls_of = verify(place), verify_controls(place)
    rest = verify_results(place)
    for start, chosen in (("", steps_of), ("controls/", controls_of)):
        # Of a status that is none, or coordinates that are lost, a step is done again.
        group = controls_group(root) if start else root
        rows = {} if group is None else records(group, "status", "content")
        odd = [step for step, row in rows.items() if row["status"] not in (DONE, FAILED, PENDING)]
        done = [step for step, row in rows.items() if row["status"] == DONE]
        lost = [step for step in done if not rows[step]["content"]]
        some = done[:1] if (f"{start}activations", None) in rest and not chosen else []
        chosen.update({step: "" for step in (*odd, *lost, *some)})
    _redo_steps(root, place, list(steps_of), list(controls_of))
    told = [*(f"step {step}" for step in steps_of), *(f"control {n}" for n in controls_of)]
    groups: dict[tuple[str, str], list[int | None]] = {}
    for (path, step), _ in rest.items():
        room, _, name = path.partition("/")
        if room == "results" and name.count("/") == 1:
            target, metric = name.split("/")
            groups.setdefault((target, metric), []).append(step)
    for (target, metric), which in groups.items():
        numbers = [step for step in which if step is not None]
        _redo_results(root, place, target, metric, [] if None in which else numbers)
        at = "" if None in which else f" of step {', '.join(map(str, numbers))}"
        told.append(f"results/{target}/{metric}{at}")
    return told


def _remove_unreadable(group: zarr.Group, rows: Sequence[int]) -> None:
    """Remove the files of some rows that no row could be written into, as each holds many."""
    for array in nodes.members(group).values():
        if not hashes.has_steps(array):
            continue
        shape = array.shards or array.chunks
        size = max(1, shape[0])
        for first in {row // size for row in rows if row < array.shape[0]}:
            others = (range(-(-n // k)) for n, k in zip(array.shape[1:], shape[1:]))
            for place in itertools.product([first], *others):
                where = tuple(slice(k * n, (k + 1) * n) for k, n in zip(place, shape))
                try:
                    array[where]
                except (OSError, ImportError):
                    raise
                except Exception:  # whatever the decompressor makes of it
                    key = array.metadata.encode_chunk_key(place)
                    sync(array.store.delete(f"{array.path}/{key}"))


def _forget_lost_coordinates(group: zarr.Group) -> None:
    """Have coordinates of activations written again with the next step, if one is damaged."""
    if not hashes.faults_of_constants(group):
        return
    for name in {*nodes.members(group), *hashes.stated(group)} - {"step"}:
        if name in group and isinstance(group[name], zarr.Group):
            continue
        if name in group:
            del group[name]
        hashes.note(group, name, None)
