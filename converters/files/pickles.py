"""Reads the pickle inside a ``.pth`` file as data: a stack machine that can build records, but call nothing.

A pickle is a program. This reader knows the instructions that checkpoints use and a table of constructors (tensors,
ordered dicts, ``argparse.Namespace``, numpy scalars, paths), each replaced by a pure function of ours; no class of the
file is ever imported, made or called. Objects of other packages (callbacks, settings) become inert records; a call of
a function of Python itself, torch or numpy off the table ends the reading (``pickle_names``). Work and memory
are bounded by the size of the pickle: keys become plain scalars (hashing nested tuples can take for ever), numbers are
short, nothing is copied.
https://docs.python.org/3/library/pickletools.html
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MAX_BYTES = 16 * 2**20
MAX_OPERATIONS = 500_000
MAX_NUMBER_BITS = 512


class PickleError(ValueError):
    """The pickle cannot be read; the message says why, without the file's name."""


@dataclass
class Record:
    """An object of the file as inert data. name: its class.  fields: its attributes (empty when it had none)."""

    name: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Constructor:
    """A name that a pickle may mention. make: arguments -> our value, or None when it may not be called."""

    name: str
    make: Callable[..., Any] | None = None


Lookup = Callable[[str, str], Constructor]


class _Mark:
    pass


MARK = _Mark()


def read_pickle(data: bytes, lookup: Lookup, persistent: Callable[[Any], Any]) -> Any:
    """The value a pickle describes.

    lookup: (module, name) -> what stands for it here.  persistent: persistent id -> value (torch's storages).
    Raises PickleError for calls that are not allowed, unknown instructions, truncation, and sizes beyond the limits.
    """
    if len(data) > MAX_BYTES:
        raise PickleError(f"its pickle has {len(data)} bytes, more than any real checkpoint's ({MAX_BYTES})")
    machine = _Machine(lookup, persistent)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if count > MAX_OPERATIONS:
                raise PickleError(f"its pickle has more than {MAX_OPERATIONS} instructions")
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument)
    except PickleError:
        raise
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, RecursionError) as error:
        raise PickleError(f"its pickle is damaged ({str(error)[:200] or type(error).__name__})") from None
    raise PickleError("its pickle has no end")


class _Machine:
    """Stack and memo of one reading. One method per group of instructions."""

    def __init__(self, lookup: Lookup, persistent: Callable[[Any], Any]):
        self.lookup, self.persistent = lookup, persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is MARK:
            raise PickleError("its pickle is damaged (a mark where a value is due)")
        return value

    def pop_to_mark(self) -> list[Any]:
        for at in range(len(self.stack) - 1, -1, -1):
            if self.stack[at] is MARK:
                values = self.stack[at + 1 :]
                del self.stack[at:]
                return values
        raise PickleError("its pickle is damaged (no mark)")

    def discard(self) -> None:
        self.stack.pop()

    def discard_to_mark(self) -> None:
        self.pop_to_mark()

    def step(self, name: str, argument: Any) -> None:
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _LITERALS:
            self.stack.append(_literal(argument))
        elif name in _STEPS:
            _STEPS[name](self, argument)
        elif name not in ("PROTO", "FRAME"):
            raise PickleError(
                f"its pickle uses the instruction {name}, which no checkpoint needs; nothing was executed"
            )

    # -- names and calls -------------------------------------------------------------------------------------------
    def name(self, module: Any, attribute: Any) -> None:
        if not isinstance(module, str) or not isinstance(attribute, str):
            raise PickleError("its pickle is damaged (a name that is no text)")
        self.stack.append(self.lookup(module, attribute))

    def stack_global(self, _: Any) -> None:
        attribute, module = self.pop(), self.pop()
        self.name(module, attribute)

    def call(self, arguments: Any, target: Any) -> None:
        if not isinstance(target, Constructor) or target.make is None:
            raise refused(target.name if isinstance(target, Constructor) else "a value that is no known constructor")
        if not isinstance(arguments, tuple):
            raise PickleError("its pickle is damaged (arguments that are no tuple)")
        self.stack.append(target.make(*arguments))

    def reduce(self, _: Any) -> None:
        arguments, target = self.pop(), self.pop()
        self.call(arguments, target)

    def new_with_keywords(self, _: Any) -> None:
        keywords, arguments, target = self.pop(), self.pop(), self.pop()
        if keywords and not isinstance(keywords, dict):
            raise PickleError("its pickle is damaged (keywords that are no dict)")
        self.call(arguments, target)
        if keywords and not isinstance(self.stack[-1], Record):
            raise refused(f"{getattr(target, 'name', 'a constructor')} with keywords")

    def build(self, _: Any) -> None:
        """State given to an object: kept as data for records, dropped for everything else. Runs nothing."""
        state = self.pop()
        target = self.stack[-1]
        if isinstance(target, Record):
            parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)  # (attributes, slots)
            for part in parts:
                if isinstance(part, dict):
                    target.fields = target.fields | part if target.fields else part

    def persistent_id(self, _: Any) -> None:
        self.stack.append(self.persistent(self.pop()))

    # -- containers ------------------------------------------------------------------------------------------------
    def tuple_of(self, count: int) -> None:
        values = [self.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(values)))

    def extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Record):  # of a class that is a list or a set: its items are nothing to us
            return
        if not isinstance(target, list):
            raise PickleError("its pickle is damaged (items for something that is no list)")
        target.extend(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1].fields if isinstance(self.stack[-1], Record) else self.stack[-1]
        if not isinstance(target, dict) or len(values) % 2:
            raise PickleError("its pickle is damaged (pairs for something that is no dict)")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if isinstance(key, (dict, list)):
                raise PickleError(f"its pickle has a dict key of type {type(key).__name__}, which cannot be one")
            target[_key(key, len(target))] = value

    def set_item(self, _: Any) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def dict_from_mark(self, _: Any) -> None:
        values = self.pop_to_mark()
        self.stack.append({})
        self.set_items(values)

    # -- memo ------------------------------------------------------------------------------------------------------
    def put(self, index: Any) -> None:
        self.memo[len(self.memo) if index is None else index] = self.stack[-1]

    def get(self, index: Any) -> None:
        if index not in self.memo:
            raise PickleError("its pickle is damaged (it recalls what it never stored)")
        self.stack.append(self.memo[index])


def _key(key: Any, place: int) -> Any:
    """A dict key as a plain scalar. Classes give their name; tuples and objects a text that no other key has."""
    if isinstance(key, (str, int, float, bytes, type(None))):
        return key
    return f"<{key.name}>" if isinstance(key, Constructor) else f"<{type(key).__name__} at {place}>"


def refused(name: str) -> PickleError:
    return PickleError(f"its pickle asks for {name[:200]!r}, which is not on the allow-list; nothing was executed")


def _literal(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > MAX_NUMBER_BITS:
        raise PickleError(f"its pickle has a number of {value.bit_length()} bits")
    return value


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": list, "MARK": lambda: MARK,
}  # fmt: skip
_LITERALS = (
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8",
)  # fmt: skip
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "GLOBAL": lambda m, a: m.name(*a.split(" ", 1)),
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.reduce,
    "NEWOBJ_EX": _Machine.new_with_keywords,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent_id,
    "TUPLE": lambda m, a: m.stack.append(tuple(m.pop_to_mark())),
    "TUPLE1": lambda m, a: m.tuple_of(1),
    "TUPLE2": lambda m, a: m.tuple_of(2),
    "TUPLE3": lambda m, a: m.tuple_of(3),
    "LIST": lambda m, a: m.stack.append(m.pop_to_mark()),
    "DICT": _Machine.dict_from_mark,
    "FROZENSET": lambda m, a: m.stack.append(m.pop_to_mark()),
    "APPEND": lambda m, a: m.extend([m.pop()]),
    "APPENDS": lambda m, a: m.extend(m.pop_to_mark()),
    "ADDITEMS": lambda m, a: m.extend(m.pop_to_mark()),
    "SETITEM": _Machine.set_item,
    "SETITEMS": lambda m, a: m.set_items(m.pop_to_mark()),
    "POP": lambda m, a: m.discard(),
    "POP_MARK": lambda m, a: m.discard_to_mark(),
    "DUP": lambda m, a: m.stack.append(m.stack[-1]),
    "PUT": _Machine.put, "BINPUT": _Machine.put, "LONG_BINPUT": _Machine.put, "MEMOIZE": _Machine.put,
    "GET": _Machine.get, "BINGET": _Machine.get, "LONG_BINGET": _Machine.get,
}  # fmt: skip
