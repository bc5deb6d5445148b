"""Which classes exist: keys and subclasses to classes, maps to the tokens that stand in chain keys."""

from __future__ import annotations

from itertools import count

from sugarbush.lockdep.model.chains import SUBCLASS_SHIFT, TOKEN_SHIFT
from sugarbush.lockdep.model.classes import Family, LockClass
from sugarbush.lockdep.model.keys import LockClassKey, LockMap

# A map caches its class as a token, and outlives the validator. Were tokens numbered anew in each, one left by an old
# validator could be the token of another class in the new one, and a look-up would answer for the wrong lock.
_TOKENS = count(1)
"""Unique over all validators, so that a token left in a map by one of them means nothing to another."""


class Registry:
    """The classes of one validator."""

    __slots__ = ("_classes", "_families", "_names", "instances", "zapped")

    def __init__(self) -> None:
        self._classes: dict[tuple[LockClassKey, int], LockClass] = {}
        self._families: dict[LockClassKey, Family] = {}
        self._names: dict[str, dict[LockClassKey, int]] = {}
        self.instances = 0
        self.zapped = 0

    @property
    def classes(self) -> list[LockClass]:
        """All living classes, in order of their first acquire."""
        return list(self._classes.values())

    def family(self, key: LockClassKey) -> Family:
        """The classes of a key, made on first use."""
        family = self._families.get(key)
        if family is None:
            family = self._families[key] = Family(next(_TOKENS) << TOKEN_SHIFT)
        return family

    def has(self, key: LockClassKey) -> bool:
        """True when a map of the key was acquired."""
        return key in self._families

    def knows(self, lock_map: LockMap) -> bool:
        """True when the map's token is one of this validator's."""
        family = self._families.get(lock_map.key)
        return family is not None and lock_map.token >> TOKEN_SHIFT << TOKEN_SHIFT == family.token

    def enrol(self, lock_map: LockMap) -> Family:
        """Gives a map that is new to this validator its number and its token."""
        self.instances += 1
        lock_map.number = self.instances
        return self.join(lock_map)

    def join(self, lock_map: LockMap) -> Family:
        """Makes a map one more instance of its key, whose token it gets."""
        family = self.family(lock_map.key)
        family.instances += 1
        lock_map.token = family.token | lock_map.subclass << SUBCLASS_SHIFT
        return family

    def look_up(self, lock_map: LockMap, subclass: int) -> LockClass:
        """The class of a map in a subclass, registered on first use (kernel: `register_lock_class`)."""
        known = self._classes.get((lock_map.key, subclass))
        if known is None:
            # Two keys of one name are two classes, told apart by #2 in reports (`count_matching_names`).
            versions = self._names.setdefault(lock_map.name, {})
            version = versions.setdefault(lock_map.key, len(versions) + 1)
            number = len(self._classes) + self.zapped + 1
            known = LockClass(number, lock_map, subclass, version, self._families[lock_map.key])
            self._classes[lock_map.key, subclass] = known
        return known

    def zap(self, key: LockClassKey) -> list[LockClass]:
        """Forgets all classes of a key and their dependencies; their numbers are not used again."""
        gone = [known for (owner, _), known in self._classes.items() if owner is key]
        for known in gone:
            del self._classes[key, known.subclass]
            for number in known.after:
                if number != known.number:
                    known.after[number].next.before.pop(known.number, None)
            for edge in known.before.values():
                edge.prev.after.pop(known.number, None)
        self._families.pop(key, None)
        self.zapped += len(gone)
        return gone
