"""Chat templates that are wrong, endless or greedy; always the same ones for a seed."""

import re

LONG = 10**9
BY_HAND = [
    # endless or nearly so
    "{% for i in range(1000000000) %}{% endfor %}",
    "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
    "{% macro m(n) %}{{ m(n + 1) }}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
    "{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}",
    "{% set ns = namespace(x='a') %}{% for i in range(64) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace(x=[1]) %}{% for i in range(64) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x|length }}",
    "{% set ns = namespace(x=[1]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace(x='a') %}{% for i in range(40) %}{% set ns.x = ns.x|replace('a', 'aa') %}{% endfor %}{{ ns.x|length }}",
    "{{ range(1000000000)|list }}",
    "{{ range(0, 9223372036854775807)|list|length }}",
    "{{ range(1000000000)|join(',') }}",
    "{{ range(-9223372036854775808, 9223372036854775807)|sum }}",
    "{{ range(10000000)|map('string')|join|length }}",
    "{% for i in range(3000000) %}{% set x = range(3000000)|list %}{% endfor %}",
    # sizes
    "{{ 'x' * 1000000000 }}",
    "{{ [1] * 1000000000 }}",
    "{{ ('x' * 100000) * 100000 }}",
    "{{ 'x'|center(1000000000) }}",
    "{{ 'x'|indent(1000000000) }}",
    "{{ ('x\n' * 100000)|indent(100000) }}",
    "{{ '%1000000000d'|format(1) }}",
    "{{ '%.1000000000f' % 1.5 }}",
    "{{ 'x'.ljust(1000000000) }}",
    "{{ 'x'|wordwrap(0) }}",
    "{{ messages|tojson(indent=1000000000) }}",
    "{{ 'ab' * 30000 | replace('', 'x' * 30000) }}",
    "{{ ('x' * 60000).replace('', 'y' * 60000)|length }}",
    "{{ ('x,' * 1000000).split(',')|length }}",
    "{{ 10 ** 1000000000 }}",
    "{{ 2 ** 2 ** 2 ** 2 ** 2 ** 2 }}",
    "{{ 9223372036854775807 + 1 }}{{ -9223372036854775808 // -1 }}{{ -9223372036854775808 % -1 }}",
    "{{ 1 / 0 }}",
    "{{ 1 // 0 }}{{ 1 % 0 }}",
    "{{ 1e308 * 10 }}{{ (1e308 * 10)|int }}",
    "{{ range(1, 10, 0) }}",
    "{{ 'abc'[9223372036854775807:] }}{{ 'abc'[::-9223372036854775808] }}{{ 'abc'[::0] }}",
    "{{ messages|batch(0)|list }}",
    "{{ messages|slice(1000000000)|list }}",
    "{{ messages|batch(1000000000, 'x')|list }}",
    "{{ range(1000000)|list|sort(reverse=true)|unique|list|length }}",
    # depth
    "{{ " + "(" * 100_000 + "1" + ")" * 100_000 + " }}",
    "{{ " + "[" * 100_000 + "]" * 100_000 + " }}",
    "{{ " + "not " * 100_000 + "1 }}",
    "{{ " + "-" * 100_000 + "1 }}",
    "{{ 1" + "|string" * 100_000 + " }}",
    "{{ x" + ".a" * 100_000 + " }}",
    "{{ 1" + " + 1" * 100_000 + " }}",
    "{{ 'a'" + " ~ 'a'" * 100_000 + " }}",
    "{% if 1 %}" * 50_000 + "{% endif %}" * 50_000,
    "{% for m in messages %}" * 5_000 + "{% endfor %}" * 5_000,
    "{% macro m() %}" * 5_000 + "{% endmacro %}" * 5_000,
    "{% set x %}" * 5_000 + "{% endset %}" * 5_000,
    "{{ {'a': " * 5_000 + "1" + "}" * 5_000 + " }}",
    "{% for a" + ", a" * 100_000 + " in messages %}{% endfor %}",
    # what there is not
    "{{ x|nothing }}",
    "{{ x is nothing }}",
    "{{ nothing() }}",
    "{{ messages.nothing.nothing }}",
    "{{ messages[0]['nothing']['nothing'] }}",
    "{% nothing %}",
    "{% include '/etc/passwd' %}",
    "{% import '/etc/passwd' as p %}{{ p }}",
    "{% extends 'x' %}",
    "{% from 'x' import y %}",
    "{{ self }}{{ caller() }}{{ varargs }}{{ kwargs }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ raise_exception('\\x00') }}",
    "{{ raise_exception('x' * 1000000) }}",
    "{{ raise_exception() }}",
    "{{ raise_exception(messages) }}",
    "{{ strftime_now('%' ~ '1000000000' ~ 'd') }}",
    "{{ strftime_now('%Q%!%') }}",
    "{% break %}",
    "{% continue %}",
    "{% call x %}{% endcall %}",
    "{% set messages = 1 %}{% for m in messages %}{% endfor %}",
    "{% for k, v in messages %}{% endfor %}",
    "{{ loop.index }}",
    "{{ messages|map(attribute='content.x.y')|list }}",
    "{{ messages|selectattr('role', 'nothing')|list }}",
    "{{ dict(1) }}",
    "{{ namespace(1) }}",
    "{% set ns.x = 1 %}",
    "{{ messages|sort(attribute='content')|first|last }}",
    "{{ none + 1 }}{{ true + 'x' }}",
    "{{ [] < {} }}",
    "{{ {}[[]] }}",
    "{{ 'x'|int(base=1000) }}{{ 'x'|float }}",
    # unfinished
    "", "{", "{{", "{%", "{#", "{{ }}", "{% %}", "{{ '", '{{ "\\', "{% if", "{% if 1 %}", "{% endif %}", "{% for %}",
    "{% raw %}", "{% else %}", "{% macro %}", "{% set %}", "{{ 'a' 'b' }}", "{{ 1 2 }}", "{{ a b }}", "{{ [1, }}", "{{ {1: }}",
    "{{ 1 if }}", "{{ | }}", "{{ .a }}", "{{ a. }}", "{{ a[ }}", "{{ '\\u12' }}", "{{ '\\N{' }}", "\0", "\ufeff{{ 1 }}",
]  # fmt: skip
WORDS = [
    "{{",
    "}}",
    "{%",
    "%}",
    "{%-",
    "-%}",
    "{#",
    "#}",
    "if",
    "else",
    "endif",
    "for",
    "in",
    "endfor",
    "set",
    "macro",
    "endmacro",
]
WORDS += [
    "messages",
    "range(100000000)",
    "'x' * 100000000",
    "|",
    "(",
    ")",
    "[",
    "]",
    "'",
    '"',
    "not",
    "is",
    "none",
    "+",
    "~",
    "0",
    "-1",
]


def mutations(random, text):
    """A sound template with words gone, twice, exchanged or put in, or cut."""
    parts = re.findall(r"\s+|\w+|[^\w\s]+", text)
    for _ in range(random.choice([1, 1, 2, 4, 16])):
        at, way = random.randrange(len(parts)), random.choice(["gone", "twice", "exchanged", "put in", "put in", "cut"])
        if way == "gone" and len(parts) > 1:
            del parts[at]
        elif way == "twice":
            parts.insert(at, parts[at])
        elif way == "exchanged":
            other = random.randrange(len(parts))
            parts[at], parts[other] = parts[other], parts[at]
        elif way == "put in":
            parts.insert(at, f" {random.choice(WORDS)} ")
        elif way == "cut" and len(parts) > 8 and random.random() < 0.3:
            parts = parts[:at] or parts
    return "".join(parts)
