"""Small templates that jinja_fixtures.py renders: statements, whitespace control, syntax errors."""

LINES = """
{% for x in l %}{{ x }}{% endfor %}|{% for x in 'abc' %}{{ x }}.{% endfor %}|{% for k in d %}{{ k }},{% endfor %}|{% for x in missing %}{{ x }}{% else %}none{% endfor %}|{% for x in [] %}{% else %}empty{% endfor %}
{% for x in 5 %}{{ x }}{% endfor %}
{% for x in nil %}{{ x }}{% endfor %}
{% for x in l %}{{ loop.index }}/{{ loop.index0 }}/{{ loop.first }}/{{ loop.last }}/{{ loop.length }}/{{ loop.revindex }}/{{ loop.revindex0 }}/{{ loop.depth }};{% endfor %}
{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %} {% for x in l %}{{ loop.cycle('a', 'b') }}{% endfor %} {% for x in [1, 1, 2, 2, 1] %}{{ x if loop.changed(x) }}{% endfor %}
{% for x in l if x > 1 %}{{ loop.index }}:{{ x }}:{{ loop.last }}:{{ loop.length }} {% else %}none{% endfor %}|{% for x in l if x > 9 %}{{ x }}{% else %}none{% endfor %}
{% set ns = namespace(stop=false) %}{% for x in [1, 2, 3, 4] if not ns.stop %}{{ x }}{% if x == 2 %}{% set ns.stop = true %}{% endif %}{% endfor %}
{% set ns = namespace(stop=false) %}{% for x in [1, 2, 3, 4] if not ns.stop %}{{ x }}{{ loop.last }}{% if x == 2 %}{% set ns.stop = true %}{% endif %}{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %} {% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %} {% for a, b in ['xy', 'zw'] %}{{ b }}{{ a }}{% endfor %}
{% for a, b in l %}{{ a }}{% endfor %}
{% for a, b in [[1, 2, 3]] %}{{ a }}{% endfor %}
{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}|{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}|{% for x in l %}{% for y in l %}{% if y == 1 %}{% break %}{% endif %}{{ x }}{{ y }} {% endfor %}{% endfor %}
{% for x in l %}{% break %}{% else %}none{% endfor %}|{% for x in l %}{% set y = x %}{% endfor %}{{ y }}|{% set z = 1 %}{% for x in l %}{{ z }}{% set z = x %}{{ z }} {% endfor %}{{ z }}
{% for x in l %}{% for y in 'ab' %}{{ loop.index }}{{ y }}{% endfor %}{{ loop.index }} {% endfor %}{{ loop }}|{{ x }}
{% set x = 5 %}{% if yes %}{% set x = 6 %}{% endif %}{{ x }}{% if no %}{% set q = 1 %}{% endif %}{{ q }}|{% set a, b = 1, 2 %}{{ a }}{{ b }}|{% set a, b = b, a %}{{ a }}{{ b }}|{% set t = 1, %}{{ t }}|{% set (p, q) = [8, 9] %}{{ p }}{{ q }}
{% set a, b = [1] %}
{% set n = n + 1 %}{{ n }}|{% if n == 8 %}{% set s = 'new' %}{% endif %}{{ s }}|{% for i in [1, 2] %}{% set s = s ~ i %}{{ s }} {% endfor %}{{ s }}
{% set b %}  block {{ n }}{% for x in l %}{{ x }}{% endfor %} {% endset %}[{{ b }}]{% set b | trim | upper %} up {% endset %}[{{ b }}]{% set ns = namespace() %}{% set ns.t %}in{{ n }}{% endset %}{{ ns.t }}{% set v %}{% set inner = 1 %}{{ inner }}{% endset %}{{ inner }}|{{ v is string }}
{% with a = 1, b = n %}{{ a }}{{ b }}{% set a = 5 %}{{ a }}{% endwith %}{{ a }}|{% set a = 3 %}{% with a = 4, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}|{% with %}{{ n }}{% endwith %}
{% if n > 5 %}a{% elif n > 3 %}b{% else %}c{% endif %}{% if no %}a{% elif yes %}b{% else %}c{% endif %}{% if no %}a{% elif no %}b{% else %}c{% endif %}{% if missing %}a{% endif %}{% if l and d and s %}t{% endif %}{% if not (no or nil) %}u{% endif %}
{% macro m(a, b='B', c=none) %}[{{ a }},{{ b }},{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(1, c=3) }}{{ m(b=2, a=1) }}{{ m() }}{{ m | string | length > 0 }}{{ m.name }}{{ m.arguments }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, z=2) }}
{% macro m(a, b=a ~ '!') %}{{ b }}{% endmacro %}{{ m('x') }}{{ m('x', 'y') }}|{% macro v(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ v(1, 2, 3, k=4) }}{{ v() }}|{{ v(*[5, 6], **{'w': 7}) }}
{% macro m(a) %}{{ a.b }}{% endmacro %}{{ m() }}
{% macro fact(k) %}{{ 1 if k <= 1 else k * (fact(k - 1) | int) }}{% endmacro %}{{ fact(10) }}|{% macro outer() %}{% macro inner() %}i{{ n }}{% endmacro %}{{ inner() }}{% endmacro %}{{ outer() }}{{ inner is defined }}
{% macro m() %}{{ late }}{% endmacro %}{% set late = 'L' %}{{ m() }}|{% macro w() %}{% set n = 99 %}{{ n }}{% endmacro %}{{ w() }}{{ n }}|{% set r = w() %}{{ r ~ r }}|{{ w() | upper | length }}
{% macro wrap(t) %}<{{ t }}>{{ caller() }}</{{ t }}>{% endmacro %}{% call wrap('b') %}in {{ n }}{% endcall %}|{% macro each(xs) %}{% for x in xs %}{{ caller(x, loop.index) }}{% endfor %}{% endmacro %}{% call(a, i=0) each(l) %}{{ i }}:{{ a }} {% endcall %}|{{ wrap is defined }}
{% macro c() %}{{ caller() }}{% endmacro %}{{ c() }}
{% macro c() %}x{{ caller is defined }}{% endmacro %}{{ c() }}
{% macro c() %}x{% endmacro %}{% call c() %}y{% endcall %}
{% filter upper %}shout {{ s }}{% endfilter %}|{% filter replace('a', 'b') | trim %} banana {% endfilter %}|{% filter indent(2) %}a
b{% endfilter %}
{% generation %}gen {{ n }}{% set inside = 1 %}{% endgeneration %}{{ inside }}|{% for x in l %}{% generation %}{{ x }}{% endgeneration %}{% endfor %}
{% print n, s %}|{# comment #}|{#- tight -#} x {{- ' y ' -}} z {%- if yes -%} w {%- endif -%} |{{+ n }}|{%+ if yes +%} v{% endif +%} end
{% raw %}{{ raw }} {% if %}{% endraw %}|{%- raw -%} {{ x }} {%- endraw -%} |{% raw %}
a{% endraw %}
b
{{ '{{' }} {{ '}}' }} {{ '%}' }} {{ "{%" }} {{ {'a': {'b': 1}}['a'] }} {{ {'a': {}} }} {{ '{#' }}{{ [{}] }}
{{ items }}|{{ d.items is callable }}|{{ d['keys'] is callable }}|{{ l.append is defined }}|{{ caller }}|{{ self is defined if no }}
{{ (l | map('string')) | first }} {% set g = l | map('abs') %}{{ g | list }}{{ g | list }} {% set it = l | select %}{{ it | first }}{{ it | first }}{{ it | list }}
{{ l | map('string') | length }}
{{ (l | map('string'))[0] }}|
{{ l | map('string') | last }}
{{ (l | reverse) | length }}
{{ d.nested.x | sum // 2 }} {{ 'a,b'.split(',') | map('upper') | join('/') }} {{ words | map('length') | max }} {{ people | map(attribute='age') | sort | first }} {{ people | selectattr('age', 'ge', 30) | sum(attribute='age') }}
{{ 'x' | default('y') | upper ~ 'z' }} {{ ('x' if yes else 'y') ~ 'z' }} {{ 'a' 'b' | upper }} {{ 1 if n is odd else 2 }} {{ [1 if yes else 2, 3] }} {{ {'k': 1 if no else 2} }} {{ m.x if m is defined else 'no m' }}
{{ loop is defined }} {{ namespace is callable }} {{ s.upper is defined }} {{ nil is not none }} {{ lipsum is defined if no else '' }}
{{ 'a\\r\\nb' }} {{ "x\\
y" }}
{{ l.0 }} {{ people.1.name }} {{ d.nested.x.2 }} {{ people[0]['tags'][0] }} {{ people | length - 1 }} {{ people[people | length - 1].name }}
{{ (none, 1)[0] is none }} {{ [none] | first is none }} {{ not missing }} {{ missing or 'z' }} {{ missing and 1 }}|{{ missing ~ 'a' }} {{ [missing] }} {{ {'a': missing} }}
{{ s * s }}
{{ d + d }}
{{ {} < {} }}
{{ l | join(', ') | upper | replace(',', ';') | trim | title }} {{ s | lower | capitalize | replace('w', 'W') }} {{ s | list | unique | join }} {{ s | lower | list | sort | join | trim }}
{{ '日本語' | length }} {{ '日本語'[1] }} {{ '日本語' | reverse }} {{ '日本語' | list }} {{ '日本語'.center(7, '・') }} {{ 'é' | upper }} {{ 'naïve café' | title }} {{ 'ÀÉ'.lower() }} {{ 'a\\u0301' | length }}
""".strip("\n")


def _join_continued(text):
    """Cases are lines; a line that leaves a string or block open goes on in the next."""
    cases = []
    for line in text.split("\n"):
        if cases and (line.startswith(("y\" }}", "b{% endfilter", "a{% endraw")) or line == "b"):
            cases[-1] += "\n" + line
        else:
            cases.append(line)
    return cases


STATEMENTS = _join_continued(LINES) + [
    "line one\n  {% if yes %}\n  kept\n  {% endif %}\nline two\n",
    "  {%- if yes %}\n a\n {%- endif %}\n b\n\n",
    "x {% if yes %} y {% endif %} z\n{% if yes %}\n\n w{% endif %}\n",
    "\t{% set q = 1 %}\t\n  {{ q }}\n  {# c #}\n  {#- d -#}\n e {# f #}\ng",
    "{% for x in l %}\n  {{ x }}\n{% endfor %}\nend\n\n",
    "{% for x in l -%}\n  {{ x }}\n{%- endfor %}\nend",
    "{%+ if yes %}\n  a {%+ endif +%}\n b",
    "a\r\nb\r{{ s }}\r\n{% if yes %}\r\nc{% endif %}\r\n",
    "{{ s -}}   \n   {{- s }}\n\n{{ n }}\n",
    "   {% raw %}\n {{ x }}\n   {% endraw %}\n y",
    "{% if yes %}\n    {% for x in l %}\n        {{ x }}\n    {% endfor %}\n{% endif %}",
    "\n\n  {# first #}\n\n{{ s }}",
    "{% macro m() %}\n  body\n{% endmacro %}\n{{ m() }}{{ m() }}",
    "{% set t %}\n  text\n{% endset %}\n[{{ t }}]",
    "{{ \"multi\nline\" }}\n{{ 'a' }}\n",
    "{%- for m in people %}\n{%- if m.tags is defined %}\n{{- m.name }}\n{%- endif %}\n{%- endfor %}\n",
    "{{ s\n   | upper\n   | replace('O',\n      '0') }}",
    "{%\n if yes\n%}a{% endif %}",
    "{% if yes: %}colon{% endif %}",
    "no tags at all { } % # {a} }} %}",
    "{{ '' }}{{ none }}{{ [] }}",
    "",
    "\n",
]

SYNTAX_ERRORS = [
    "{{ 1 + }}",
    "{{ (1 }}",
    "{{ [1, 2 }}",
    "{{ 1 2 }}",
    "a\nb\n{% if x %}c",
    "{% if %}a{% endif %}",
    "{% for x %}{% endfor %}",
    "{% for x in %}{% endfor %}",
    "{% endif %}",
    "a\n\n{% nope %}",
    "{% if x %}{% endfor %}",
    "{{ s | }}",
    "\n{{ s | nosuchfilter }}",
    "{{ s is nosuchtest }}",
    "{{ 'open }}",
    "{# open",
    "{% raw %}open",
    "{{ a.'b' }}",
    "{{ ]1 }}",
    "{{ {1: 2 }",
    "{% set 5 = 1 %}",
    "{% set none = 1 %}",
    "{% macro m( %}{% endmacro %}",
    "{% macro m(a=1, b) %}{% endmacro %}",
    "{% call 5 %}{% endcall %}",
    "{{ f(a=1, 2) }}",
    "{{ a ? b }}",
    "{{ 1 is odd is even }}",
    "{% set x %}open",
    "{{ 'bad \\x4' }}",
    "{{ @ }}",
    "{{",
    "{%",
    "{% if x %}{% else %}{% else %}{% endif %}",
]
