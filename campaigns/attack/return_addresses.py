"""Addresses to come back to after paying, written to lead somewhere else."""

from __future__ import annotations

import re
from random import Random

from campaigns.attack.byte_mutations import mutated
from campaigns.attack.fuzzing import Target
from stripe_payments.arguments import Arguments
from stripe_payments.errors import CODES, PaymentError
from stripe_payments.return_urls import SESSION_PLACEHOLDER, resolve, with_session_id

__all__ = ["ALLOWED", "OWN", "PIECES", "ReturnAddresses", "foreign", "invented"]

OWN = "http://192.168.1.1"
ALLOWED = (OWN, "https://pay.example.net:8443", "http://[fd00::1]")

PIECES: tuple[tuple[str, ...], ...] = (
    (
        "http:",
        "https:",
        "HTTP:",
        "hTTps:",
        "javascript:",
        "data:",
        "vbscript:",
        "file:",
        "ftp:",
        "blob:",
        "view-source:",
        "",
        " http:",
        "http\t:",
        "ht\ntp:",
        "ｈttp:",
        "http&colon;",
        "http%3a",
        "x:",
    ),
    (
        "//",
        "/",
        "///",
        "\\\\",
        "/\\",
        "\\/",
        "//\t",
        "/\n/",
        "",
        "////",
        "／／",
        "%2f%2f",
        "//%00",
        "/.//",
    ),
    (
        "",
        "192.168.1.1@",
        "a:b@",
        "%40",
        "192.168.1.1:80@",
        "192.168.1.1\\@",
        "192.168.1.1%00@",
        "192.168.1.1#@",
        "192.168.1.1?@",
        "192.168.1.1/@",
        "192.168.1.1;@",
        "@",
        "[fd00::1]@",
    ),
    (
        "192.168.1.1",
        "evil.example",
        "192.168.1.1.evil.example",
        "evil.example.",
        "192.168.1.1.",
        "3232235777",
        "0xC0A80101",
        "192.168.257",
        "0300.0250.1.1",
        "[fd00::1]",
        "[::ffff:192.168.1.1]",
        "evil。example",
        "ⅇvil.example",
        "еvil.example",
        "xn--vil-tkc.example",
        "pay.example.net",
        "PAY.EXAMPLE.NET",
        "localhost",
        "",
        "192.168.1.1%2eevil.example",
        "192.168.1.1\u200b",
        "１９２.168.1.1",
        "192.168.1.1\x00.evil.example",
        "ß.example",
        "a b",
    ),
    (
        "",
        ":80",
        ":443",
        ":8443",
        ":0",
        ":65536",
        ":-1",
        ":80:80",
        ":８０",
        ":",
        ":80@evil.example",
        ":1e1",
    ),
    (
        "",
        "/",
        "/payment-success",
        "/..//evil.example",
        "/\\evil.example",
        "?x=1",
        "#y",
        "?//evil.example",
        "/%0d%0aX:%20y",
        "/\r\nX: y",
        "/@evil.example",
        "//evil.example",
        "/;@evil.example",
        "/{CHECKOUT_SESSION_ID}",
        "/è",
        "/%e8",
        "/ ",
        "?redirect=https://evil.example",
        "/" + "a" * 3000,
        "/\u202e",
        "/<script>",
        "/'\"",
        "/.%2e/%2e%2e//evil.example",
    ),
)
"""Scheme, slashes, user, host, port, and the rest: what each part can be written as."""

_PLAIN = re.compile(r"(https?)://([A-Za-z0-9.:\[\]-]+)(/[!-~]*)")
_DEFAULT_PORT = {"http": ":80", "https": ":443"}


class ReturnAddresses(Target):
    """Either a documented refusal, or an address of an allowed origin that no browser reads otherwise."""

    name = "return-addresses"

    async def attempt(self, given: bytes) -> str | None:
        return self.check(given)

    @staticmethod
    def check(given: bytes) -> str | None:
        url = given.decode("utf-8", "surrogateescape")
        for base in ALLOWED:
            try:
                text = Arguments({"success_url": url}).text("success_url") or "/"
                found = with_session_id(resolve(text, base=base, allowed_origins=ALLOWED))
            except PaymentError as error:
                if (
                    error.code not in ("invalid_argument", "foreign_return_url")
                    or CODES[error.code].http != 400
                ):
                    return f"refused as {error.code}"
                error.body("it")
                continue
            if (problem := foreign(found, ALLOWED)) is not None:
                return f"{url!r} became {found!r}: {problem}"
            if SESSION_PLACEHOLDER not in found:
                return f"{found!r} would not tell which payment it was"
        return None

    def mutate(self, chance: Random, given: bytes) -> bytes:
        if chance.random() < 0.7:
            return invented(chance).encode("utf-8", "surrogatepass")
        return mutated(chance, given, (b"//", b"\\", b"@", b"#", b"?", b"%2f", b"\t", b"\n", b"\xe3\x80\x82"))


def invented(chance: Random) -> str:
    """An address of one of each of the pieces."""
    return "".join(chance.choice(parts) for parts in PIECES)


def foreign(address: str, allowed: tuple[str, ...]) -> str | None:
    """Why an address may lead elsewhere; read without any library, as strictly as can be."""
    shape = _PLAIN.fullmatch(address)
    if shape is None:
        return "it is no plain http(s) address"
    scheme, authority, rest = shape.groups()
    host = authority.lower().removesuffix(_DEFAULT_PORT[scheme])
    if f"{scheme}://{host}" not in allowed:
        return f"it is of {scheme}://{host}"
    return "it holds a backslash" if "\\" in rest else None
