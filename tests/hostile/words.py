"""What somebody may write into a directory or send over a wire to make trouble, and what Hypothesis makes of it."""

from hypothesis import strategies as some

CRUEL = (
    "",
    " ",
    "x" * 10_000,
    "Zoë" * 3_000,
    "\u202egnp.exe",
    "\u2066RTL\u2069 אבג",
    "\ufeffmark",
    "=cmd|'/c calc'!A0",
    "+1+1",
    "@SUM(A1)",
    "-2+3",
    "x\r\nBcc: evil@example.test",
    "x\n\n<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "{{ 7 * 7 }}{% raw %}",
    "[red]markup[/] [/] [link=file:///etc/passwd]x[/link]",
    "%s %d {0} ${HOME} $(id) `id`",
    "exit code: 0",
    "\nexit code: 0\n",
    "\x1b[2J\x1b]0;title\x07",
    "\x00nul",
    "\x85next line",
    "a\u2028b\u2029c",
    'a,b\\,c=d+e"f;g<h>#',
    "*)(objectClass=*",
    "'; DROP TABLE actions; --",
    "../../etc/passwd",
    "ad-guid:00000000-0000-0000-0000-000000000000",
    "\u0130\u0131\u00df\ufb01",  # change their length with their case
    "e\u0301" * 60,
)

texts = some.sampled_from(CRUEL) | some.text(
    some.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=60
)

raw = texts.map(lambda text: text.encode("utf-8", "surrogatepass")) | some.binary(max_size=40)

numbers = some.sampled_from(
    [b"", b"-1", b"0", b"512", b"9" * 5_000, "²".encode(), "٣".encode(), b" 7", b"1e9", b"0x10"]
)
"""What stands where a number belongs."""

json_values = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | texts,
    lambda inner: (
        some.lists(inner, max_size=3)
        | some.dictionaries(
            some.sampled_from([".tag", "error", "cursor", "members", "x"]) | texts, inner, max_size=3
        )
    ),
    max_leaves=6,
)
