"""Types in a litmus test: passed over, but for what is a lock or an srcu_struct."""

from __future__ import annotations

from sugarbush.stress.litmus.syntax.cursor import Cursor

TYPES = frozenset((
    "int", "long", "char", "short", "bool", "_Bool", "void", "signed", "unsigned", "uint", "atomic_t", "atomic_long_t",
    "atomic_int", "spinlock_t", "raw_spinlock_t", "srcu_struct", "intptr_t", "uintptr_t", "size_t", "ssize_t",
    "u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64", "int8_t", "int16_t", "int32_t", "int64_t",
    "uint8_t", "uint16_t", "uint32_t", "uint64_t",
))  # fmt: skip
QUALIFIERS = frozenset(("volatile", "const", "struct", "_Atomic", "__percpu", "__rcu", "static"))
_LOCKS = {"spinlock_t": "l", "raw_spinlock_t": "l", "srcu_struct": "s"}


class Types(Cursor):
    """The part of the parser that passes types.

    Tests leave out ``struct`` and use types of their own, and a type says nothing that matters but for locks: so any
    name counts as a type where only a type can stand. A list of all would refuse tests that herd7 takes.
    """

    def _is_type(self, ahead: int = 0) -> bool:
        token = self._ahead(ahead)
        if token.kind != "name":
            return False
        if token.text in TYPES or token.text in QUALIFIERS:
            return True
        # Any other name is a type where a name or stars and a name follow: "struct" may be missing, types be unknown.
        after = self._ahead(ahead + 1)
        if after.kind == "name" and after.text not in ("and",):
            return True
        return token.text.endswith("_t") and after.text == "*"

    def _type(self) -> str:
        """Pass a type; gives the kind of what has it."""
        kind = "p"
        named = False
        while self._next.kind == "name":
            text = self._next.text
            if text in QUALIFIERS:
                self._take()
                if text == "struct":
                    kind = _LOCKS.get(self._name().text, "p")
                    named = True
            elif text in TYPES:
                self._take()
                kind = _LOCKS.get(text, kind)
                named = True
            elif not named:
                self._take()
                named = True
            else:
                break
        if not named:
            self._stray()
        self._stars()
        return kind

    def _stars(self) -> None:
        while self._is("*") or self._is("volatile") or self._is("const"):
            self._take()
