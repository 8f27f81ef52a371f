"""The cases: each is made of its seed and number alone, so that any of them can be made again."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.fuzz import pieces
from tests.fuzz.pieces import CONTEXTS, Original, flip, item
from tests.integration.dimse.wire import ABORT, COMMAND, CT, ECHO, EXPLICIT, IMPLICIT, LAST, NONE, RELEASE, STORE, pdu, pdv
from tests.unit.intake.arrivals import encode, make_data_set

DEFLATED = "1.2.840.10008.1.2.1.99"
#: Which share of the cases each family has.
WEIGHTS = {"associate": 140, "pdus": 140, "commands": 200, "stores": 430, "random": 88, "slow": 2}


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is sent, and what may be answered.

    Attributes
    ----------
    sends : bytes
        After the association is established, unless ``alone``.
    alone : bool
        It is all that is sent, on a connection without an association.
    ends : bool
        The sender closes its side behind it; otherwise a C-ECHO follows, by whose answer the case is seen to be over.
    context : tuple
        Abstract and transfer syntax of the context for storage.
    pause_s : float
        Before every byte of the last hundred.
    """

    number: int
    family: str
    kind: str
    sends: bytes
    alone: bool = False
    ends: bool = True
    context: tuple[str, str] = (CT, EXPLICIT)
    pause_s: float = 0.0


class Cases:
    """Makes case after case of a seed."""

    def __init__(self, seed: int, originals: Sequence[Original]) -> None:
        self._seed, self._originals = seed, originals
        self._bombs = [_bomb(b"\0" * (1 << 28)), _bomb(encode(make_data_set(PixelData=None)) + b"\x09\0\x10\0LO\0\0" * (1 << 22))]

    def make(self, number: int) -> Case:
        """The case of a number."""
        chance = random.Random(f"{self._seed}:{number}")
        family = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        maker: Callable[[random.Random, int], Case] = getattr(self, f"_{family}")
        return maker(chance, number)

    def _uid(self, number: int) -> str:
        return f"1.2.826.0.1.3680043.9.8.{self._seed}.{number}"

    def _whole(self, chance: random.Random, uid: str) -> tuple[bytes, bytes]:
        """A small C-STORE that is in order: its bytes, and the data set."""
        content = encode(make_data_set(SOPInstanceUID=uid, PixelData=chance.randbytes(2 * chance.randrange(400))))
        command = pieces.command_set(pieces.store_elements(uid))
        return pdu(pdv(COMMAND | LAST, command)) + pieces.data_pdus(content, STORE, chance.choice([200, 4000, 16000])), content

    # (a) association requests

    def _associate(self, chance: random.Random, number: int) -> Case:
        breakers = [_flipped, _cut, _wrong_length, _items, _user_information, _many_contexts, _odd_uids, _odd_titles, _huge]
        breaker = chance.choice(breakers)
        sends = breaker(chance)
        if chance.random() < 0.3:
            sends += chance.choice([RELEASE, ABORT, pieces.echo(1), chance.randbytes(30)])
        # A sender that waits for the answer: only when the request cannot be complete must it hang up, or it would wait for the time-out.
        is_whole = len(sends) >= 6 + int.from_bytes(sends[2:6].rjust(4, b"\xff"), "big")
        return Case(number=number, family="associate", kind=breaker.__name__.strip("_"), sends=sends, alone=True, ends=not is_whole)

    # (b) PDUs

    def _pdus(self, chance: random.Random, number: int) -> Case:
        uid = self._uid(number)
        message, content = self._whole(chance, uid)
        kinds = {
            "types": lambda: b"".join(_any_pdu(chance) for _ in range(chance.randint(1, 5))),
            "lengths": lambda: _relength(chance, message),
            "flipped": lambda: flip(chance, message, 4),
            "cut": lambda: message[: chance.randrange(len(message))],
            "interleaved": lambda: _interleaved(chance, message, content),
            "fragments": lambda: _fragments(chance, uid, content),
            "release": lambda: RELEASE + message,
            "before": lambda: b"".join(_any_pdu(chance) for _ in range(chance.randint(1, 3))),
        }
        kind = chance.choice(list(kinds))
        sends = kinds[kind]()
        return Case(number=number, family="pdus", kind=kind, sends=sends, alone=kind == "before")

    # (c) command sets

    def _commands(self, chance: random.Random, number: int) -> Case:
        uid = self._uid(number)
        kinds = [_less, _more, _other_field, _nested, _random_elements, _long, _split, _no_group_length, _wrong_sizes]
        kind = chance.choice(kinds)
        command = kind(chance, pieces.store_elements(uid))
        context = chance.choice([STORE, STORE, STORE, ECHO, NONE])
        sends = b""
        step = chance.choice([len(command) or 1, len(command) or 1, 7, 40, 1000])
        parts = [command[place : place + step] for place in range(0, len(command), step)] or [b""]
        for place, part in enumerate(parts, 1):
            sends += pdu(pdv(COMMAND | (LAST if place == len(parts) else 0), part, context))
        if chance.random() < 0.6:
            sends += pieces.data_pdus(encode(make_data_set(SOPInstanceUID=uid)), context, 16000)
        return Case(number=number, family="commands", kind=kind.__name__.strip("_"), sends=sends, ends=False)

    # (d) data sets

    def _stores(self, chance: random.Random, number: int) -> Case:
        original = chance.choice(self._originals)
        uid, content = original.renamed(self._seed * 10_000_000 + number + 1_000_000_000)
        syntax = original.syntax
        kind = chance.choices(
            ["whole", "flipped", "cut", "enlarged", "undefined", "nested", "syntax", "deflated"], [6, 25, 15, 20, 15, 8, 10, 6]
        )[0]
        if kind == "flipped":
            place = chance.choice([min(2000, len(content)), len(content)])
            content = flip(chance, content[:place]) + content[place:]
        elif kind == "cut":
            content = content[: chance.randrange(len(content))]
        elif kind in ("enlarged", "undefined"):
            content = _relengthed(chance, content, undefined=kind == "undefined")
        elif kind == "nested":
            content = _deep(chance, content)
        elif kind == "syntax":
            syntax = chance.choice(
                [EXPLICIT, IMPLICIT, "1.2.840.10008.1.2.2", DEFLATED, "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.95"]
            )
        elif kind == "deflated":
            syntax = DEFLATED
            bomb = chance.random() < 0.05
            content = chance.choice(self._bombs) if bomb else flip(chance, _bomb(content), 3) if chance.random() < 0.7 else _bomb(content)
        size = chance.choice([1000, 16000, 16000, 120_000])
        sends = pdu(pdv(COMMAND | LAST, pieces.command_set(pieces.store_elements(uid, original.sop_class))))
        sends += pieces.data_pdus(content, STORE, size)
        context = (original.sop_class, syntax)
        return Case(number=number, family="stores", kind=kind, sends=sends, ends=False, context=context)

    # (e) random bytes, (f) slow senders

    def _random(self, chance: random.Random, number: int) -> Case:
        kinds = {
            "bytes": lambda: chance.randbytes(chance.choice([1, 5, 6, 7, 12, 74, 500, 20_000])),
            "http": lambda: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * chance.randint(1, 50),
            "tls": lambda: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(507),
            "headed": lambda: struct.pack(">BBI", chance.randint(1, 7), 0, chance.choice([0, 4, 100, 1 << 20])) + chance.randbytes(300),
            "nothing": lambda: b"",
        }
        kind = chance.choice(list(kinds))
        return Case(number=number, family="random", kind=kind, sends=kinds[kind](), alone=chance.random() < 0.6)

    def _slow(self, chance: random.Random, number: int) -> Case:
        message, _ = self._whole(chance, self._uid(number))
        alone = chance.random() < 0.4
        whole = pieces.plain_request() if alone else message
        sends = whole[: chance.randrange(1, len(whole))]
        pause_s = chance.choice([0.0, 0.05])
        return Case(
            number=number,
            family="slow",
            kind="dribble" if pause_s else "silence",
            sends=sends,
            alone=alone,
            ends=False,
            pause_s=pause_s or 9.0,
        )


def _bomb(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


def _items(chance: random.Random) -> bytes:
    items = [item(0x10, pieces.APPLICATION_CONTEXT.encode()), *(pieces.context_item(n, a.encode(), s.encode()) for n, a, s in CONTEXTS)]
    items.append(item(0x50, b"".join(pieces.user_items())))
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(items))
        change = chance.randrange(5)
        if change == 0:
            items.insert(place, items[place])
        elif change == 1 and len(items) > 1:
            del items[place]
        elif change == 2:
            items[place] = bytes((chance.randrange(256),)) + items[place][1:]
        elif change == 3:
            items[place] = items[place][:2] + struct.pack(">H", chance.choice([0, 1, 3, 65535, chance.randrange(300)])) + items[place][4:]
        else:
            items[place] = flip(chance, items[place], 3)
    chance.shuffle(items)
    return pieces.request(items)


def _user_information(chance: random.Random) -> bytes:
    known = pieces.user_items()
    parts = []
    for _ in range(chance.randint(0, 12)):
        part = chance.choice([*known, item(chance.randrange(0x50, 0x60), chance.randbytes(chance.randrange(30)))])
        parts.append(flip(chance, part, 3) if chance.random() < 0.5 else part)
    body = b"".join(parts)
    user = item(0x50, body, chance.choice([None, None, None, len(body) + 1, 0, 65535]))
    return pieces.request([item(0x10, pieces.APPLICATION_CONTEXT.encode()), pieces.context_item(1, CT.encode(), EXPLICIT.encode()), user])


def _flipped(chance: random.Random) -> bytes:
    return flip(chance, pieces.plain_request())


def _cut(chance: random.Random) -> bytes:
    whole = pieces.plain_request()
    return whole[: chance.randrange(len(whole))]


def _wrong_length(chance: random.Random) -> bytes:
    whole = pieces.plain_request()
    length = chance.choice(
        [0, 1, 67, 68, 0xFFFFFFFF, 0x7FFFFFFF, 1 << 20, (1 << 20) + 1, len(whole) - 7, len(whole) - 5, chance.randrange(1 << 32)]
    )
    return whole[:2] + struct.pack(">I", length) + whole[6:] + bytes(chance.choice([0, 10]))


def _many_contexts(chance: random.Random) -> bytes:
    numbers = [chance.choice([number, 2 * number + 1]) for number in range(chance.choice([1, 128, 129, 300]))]
    contexts = [pieces.context_item(number, CT.encode(), *([EXPLICIT.encode()] * chance.randint(0, 3))) for number in numbers]
    return pieces.request([item(0x10, pieces.APPLICATION_CONTEXT.encode()), *contexts, item(0x50, b"".join(pieces.user_items()[:2]))])


def _odd_uids(chance: random.Random) -> bytes:
    def odd() -> bytes:
        return chance.choice(
            [b"", b"1" * 200, b"1.2\0", b"\xff\xfe", b"1..2", b" 1.2 ", CT.encode(), b"1.2.3." + b"9" * 58, chance.randbytes(9)]
        )

    contexts = [pieces.context_item(number, odd(), odd()) for number in (1, 3)]
    return pieces.request([item(0x10, odd()), *contexts, item(0x50, item(0x51, bytes(4)) + item(0x52, odd()) + item(0x55, odd()))])


def _odd_titles(chance: random.Random) -> bytes:
    titles = [b"", b" " * 16, b"\0" * 16, b"RADNODE\0\0", "ÜBER".encode(), b"\\\n\r", chance.randbytes(16), b"RADNODE"]
    items = [item(0x10, pieces.APPLICATION_CONTEXT.encode()), pieces.context_item(1, CT.encode(), EXPLICIT.encode())]
    return pieces.request(
        [*items, item(0x50, b"".join(pieces.user_items()[:2]))], calling=chance.choice(titles), called=chance.choice(titles)
    )


def _huge(chance: random.Random) -> bytes:
    contexts = [
        pieces.context_item(2 * number + 1, b"1.2.840.10008." + b"5" * 50, *[b"1.2.840." + b"7" * 56] * 40) for number in range(128)
    ]
    return pieces.request(
        [item(0x10, pieces.APPLICATION_CONTEXT.encode()), *contexts[: chance.choice([20, 128])], item(0x50, item(0x51, bytes(4)))]
    )


def _any_pdu(chance: random.Random) -> bytes:
    body = chance.randbytes(chance.choice([0, 1, 4, 6, 68, 300]))
    length = chance.choice([len(body)] * 4 + [0, 1, 4, 0xFFFFFFFF, 1 << 24, chance.randrange(1 << 32)])
    return struct.pack(">BBI", chance.choice([*range(9), 4, 4, 255]), chance.choice([0, 255]), length) + body


def _relength(chance: random.Random, message: bytes) -> bytes:
    """Give one of the first lengths that there are another value."""
    place = chance.choice([2, 6])
    return (
        message[:place]
        + struct.pack(">I", chance.choice([0, 1, 2, 5, 6, 0xFFFFFFFF, 1 << 31, 70_000, chance.randrange(400)]))
        + message[place + 4 :]
    )


def _interleaved(chance: random.Random, message: bytes, content: bytes) -> bytes:
    other = chance.choice([pieces.echo(5), message, pdu(pdv(0, content[:50], ECHO)), RELEASE, ABORT, pieces.plain_request(), pdu()])
    end = 6 + int.from_bytes(message[2:6], "big")
    return message[:end] + pdu(pdv(0, content[:20])) + other + message[end:]


def _fragments(chance: random.Random, uid: str, content: bytes) -> bytes:
    parts = [pdv(COMMAND | LAST, pieces.command_set(pieces.store_elements(uid)))]
    for _ in range(chance.randint(1, 6)):
        control = chance.choice([0, 0, 2, 1, 3, 0xFC, chance.randrange(256)])
        part = pdv(control, content[: chance.randrange(60)], chance.choice([STORE, STORE, STORE, ECHO, NONE, chance.randrange(256)]))
        parts.append(chance.choice([part, part, part, struct.pack(">I", chance.choice([0, 1, 1 << 31, 3])) + part[4:]]))
    return b"".join(pdu(*parts[place : place + chance.randint(1, 3)]) for place in range(0, len(parts), 2))


def _less(chance: random.Random, elements: list[tuple[int, bytes]]) -> bytes:
    return pieces.command_set(chance.sample(elements, chance.randint(0, len(elements) - 1)))


def _more(chance: random.Random, elements: list[tuple[int, bytes]]) -> bytes:
    extra = [(chance.randrange(1 << 16), chance.randbytes(chance.randrange(20))) for _ in range(chance.randint(1, 30))]
    return pieces.command_set(elements + extra)


def _other_field(chance: random.Random, elements: list[tuple[int, bytes]]) -> bytes:
    fields = [
        0x1,
        0x8001,
        0x10,
        0x20,
        0x21,
        0x30,
        0x8030,
        0x100,
        0x110,
        0x120,
        0x130,
        0x140,
        0x150,
        0xFFF,
        0x8110,
        chance.randrange(1 << 16),
    ]
    changed = [(number, struct.pack("<H", chance.choice(fields)) if number == 0x100 else value) for number, value in elements]
    changed = [(number, struct.pack("<H", chance.choice([0x101, 1, 0])) if number == 0x800 else value) for number, value in changed]
    requested = [(0x3, elements[0][1]), (0x1001, elements[-1][1]), (0x1002, b"\1\0"), (0x1008, b"\1\0"), (0x120, b"\1\0"), (0x900, b"\0\0")]
    return pieces.command_set(changed + chance.sample(requested, chance.randint(0, len(requested))))


def _nested(chance: random.Random, elements: list[tuple[int, bytes]]) -> bytes:
    depth = chance.choice([1, 10, 400])
    inner = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + struct.pack("<HHI", 0, 0x1005, 0xFFFFFFFF)
    return pieces.command_set(elements) + struct.pack("<HHI", 0, 0x1005, 0xFFFFFFFF) + inner * depth


def _random_elements(chance: random.Random, _elements: list[tuple[int, bytes]]) -> bytes:
    return chance.choice([chance.randbytes(chance.randrange(400)), b"", bytes(200), pieces.element(0, b"\xff" * 4)])


def _long(chance: random.Random, elements: list[tuple[int, bytes]]) -> bytes:
    return pieces.command_set([*elements, (0x0902, b"x" * chance.choice([3000, 5000, 70_000, 300_000]))])


def _split(_chance: random.Random, elements: list[tuple[int, bytes]]) -> bytes:
    return pieces.command_set(elements)


def _no_group_length(chance: random.Random, elements: list[tuple[int, bytes]]) -> bytes:
    whole = pieces.command_set(elements)
    return chance.choice([whole[12:], pieces.element(0, b"\0\0\0\0") + whole[12:], pieces.element(0, b"") + whole[12:]])


def _wrong_sizes(chance: random.Random, elements: list[tuple[int, bytes]]) -> bytes:
    place = chance.randrange(len(elements))
    changed = list(elements)
    changed[place] = (changed[place][0], chance.randbytes(chance.choice([0, 1, 3, 4, 100])))
    whole = bytearray(pieces.command_set(changed))
    if chance.random() < 0.5:
        where = chance.randrange(len(whole) - 4)
        whole[where : where + 4] = struct.pack("<I", chance.choice([0xFFFFFFFF, 1 << 20, 0, 1 << 31]))
    return bytes(whole)


def _relengthed(chance: random.Random, content: bytes, *, undefined: bool) -> bytes:
    """Enlarge a few of what may be lengths, in the first part of the data set."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 3)):
        place = 6 + 2 * chance.randrange(max(1, min(len(content), 3000) // 2 - 4))
        if undefined:
            changed[place : place + 4] = b"\xff\xff\xff\xff"
        elif chance.random() < 0.5:
            changed[place : place + 2] = struct.pack("<H", chance.choice([0xFFFF, 0xFFFE, 0x8000, 100]))
        else:
            changed[place : place + 4] = struct.pack("<I", chance.choice([0xFFFFFFFE, 1 << 31, 1 << 20, len(content)]))
    return bytes(changed[: max(len(content), 1)])


def _deep(chance: random.Random, content: bytes) -> bytes:
    """Sequences within sequences in front of everything else, some of them never closed."""
    depth = chance.choice([3, 17, 60, 1000, 5000])
    begin = b"\x08\0\x05\0SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
    end = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    return begin * depth + end * (depth if chance.random() < 0.5 else 0) + content
