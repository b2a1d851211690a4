"""Small templates of a line each that jinja_fixtures.py renders: operators, methods, filters, tests."""

CONTEXT = {
    "s": "Hello World",
    "pad": "  \t padded text \n ",
    "u": "Straße Ünïcödé 日本 👋",
    "many": "one, two,,three",
    "lines": "first\n\n  second\r\nthird",
    "html": "<a href=\"x\">T & 'C'</a>",
    "empty": "",
    "n": 7,
    "neg": -7,
    "f": 2.5,
    "big": 12345678901234567890,
    "yes": True,
    "no": False,
    "nil": None,
    "l": [3, 1, 2],
    "words": ["pear", "Apple", "fig", "apple"],
    "mixed": [1, "a", None, True, 2.5, [1, 2], {"k": "v"}],
    "d": {"b": 2, "a": 1, "items": "shadowed", "nested": {"x": [10, 20, 30]}},
    "people": [
        {"name": "Ann", "age": 30, "team": "red", "tags": ["x"]},
        {"name": "bob", "age": 25, "team": "Blue"},
        {"name": "Cid", "age": 30, "team": "blue", "tags": []},
    ],
}

EXPRESSIONS = """
{{ s }}|{{ n }}|{{ f }}|{{ yes }}|{{ no }}|{{ nil }}|{{ missing }}
{{ l }} {{ mixed }}
{{ d }}
{{ big }} {{ big + 1 }} {{ -big }} {{ big * 3 }}
{{ 1 + 2 * 3 - 4 }} {{ (1 + 2) * 3 }} {{ 7 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }}
{{ 2 ** 10 }} {{ 2 ** -1 }} {{ 2 ** 3 ** 2 }} {{ -2 ** 2 }} {{ 2.0 ** 3 }} {{ 10 ** 20 }}
{{ 7.5 // 2 }} {{ -7.5 // 2 }} {{ 7.5 % 2 }} {{ -7.5 % 2 }} {{ 1e3 }} {{ 1.5e-7 }} {{ 1e16 }} {{ 123456789.125 }} {{ 0.1 + 0.2 }}
{{ 1 / 3 }} {{ 100.0 }} {{ 1e22 }} {{ 1e-5 }} {{ 0.0001 }} {{ -0.0 }} {{ 6 / 3 }}
{{ 1 / 0 }}
{{ 1 % 0 }}
{{ 5 // 0.0 }}
{{ yes + yes }} {{ yes * 3 }} {{ -yes }} {{ +no }} {{ yes == 1 }} {{ 1 == 1.0 }} {{ no == 0 }}
{{ 'a' + 'b' }} {{ 'ab' * 3 }} {{ 3 * 'ab' }} {{ 'x' * -1 }}|{{ [1] * 2 + [3] }} {{ (1,) + (2, 3) }}
{{ 'a' + 1 }}
{{ 1 + 'a' }}
{{ [1] + (2,) }}
{{ nil + 1 }}
{{ 'a' ~ 1 ~ nil ~ 2.5 ~ [1] ~ missing }}
{{ 1 ~ 2 + 3 }} {{ 1 + 2 ~ 3 }} {{ 2 * 3 ~ 4 }}
{{ 1 < 2 }} {{ 1 < 2 < 3 }} {{ 3 > 2 >= 2 > 5 }} {{ 1 == 1 != 2 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ (1, 2) >= (1,) }}
{{ 1 < 'a' }}
{{ nil < 1 }}
{{ l < d }}
{{ 'a' == 1 }} {{ nil == none }} {{ [1, [2]] == [1, [2]] }} {{ {'a': 1} == {'a': 1.0} }} {{ (1,) == [1] }}
{{ 1 in l }} {{ 9 in l }} {{ 'ell' in s }} {{ 'x' not in s }} {{ 'a' in d }} {{ 'k' in missing }} {{ nil in mixed }}
{{ 1 in s }}
{{ 1 in 5 }}
{{ missing in l }} {{ missing in d }}
{{ yes and no }} {{ no or 'x' }} {{ 1 and 2 }} {{ 0 or '' }}|{{ not 0 }} {{ not l }} {{ not not s }} {{ nil or missing or 3 }}
{{ not 1 == 2 }} {{ not 'a' in 'abc' }} {{ 1 if yes else 2 }} {{ 1 if no else 2 }} {{ 1 if no }}| {{ 'a' if no else 'b' if no else 'c' }}
{{ missing.x }}
{{ missing['x'] }}
{{ missing() }}
{{ missing + 1 }}
{{ 1 + missing }}
{{ -missing }}
{{ missing < 1 }}
{{ missing | upper }}|{{ missing | length }}|{{ missing | list }}|{{ missing | default('d') }}|{{ missing | join }}|{{ missing | string }}
{{ missing == missing2 }} {{ missing == 1 }} {{ missing is defined }} {{ missing is undefined }} {{ missing.y is defined if no else 'skip' }}
{{ d.missing }}|{{ d.missing is defined }}|{{ d.missing | default(5) }}|{{ d['missing'] }}
{{ d.missing.deeper }}
{{ nil.x }}|{{ nil['x'] }}|{{ n.x }}|{{ s.nope }}|{{ l.nope }}|{{ l[10] }}|{{ l['a'] }}
{{ nil.x.y }}
{{ d.a }} {{ d['b'] }} {{ d.nested.x[1] }} {{ d['nested']['x'][-1] }} {{ d.nested.x.0 }} {{ mixed[5][1] }} {{ mixed[6].k }}
{{ d['items'] }} {{ d.items() | list }} {{ d.keys() | list }} {{ d.values() | list }} {{ d.get('a') }} {{ d.get('z') }} {{ d.get('z', 9) }}
{{ d.items() }} {{ d.keys() }} {{ d.nested.values() }}
{{ l[0] }} {{ l[-1] }} {{ l[yes] }} {{ s[0] }} {{ s[-1] }} {{ u[1] }} {{ u[-1] }} {{ u[4:6] }}
{{ l[:2] }} {{ l[1:] }} {{ l[::-1] }} {{ l[-2:] }} {{ l[:-1] }} {{ l[5:] }} {{ l[::2] }} {{ l[2:0:-1] }} {{ l[:] }} {{ l[-100:100] }}
{{ s[:5] }} {{ s[6:] }} {{ s[::-1] }} {{ s[1:-1:2] }} {{ u[:7] }} {{ s[20:] }}| {{ (1, 2, 3)[1:] }} {{ range(10)[2:8:3] | list }}
{{ l[::0] }}
{{ d[1:] }}
{{ nil[1:] }}
{{ l['a':] }}
{{ missing[1:] }}
{% for x in l %}{% continue %}{% else %}else{% endfor %}|{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{% else %}else{% endfor %}
{{ [] }} {{ () }} {{ {} }} {{ (1,) }} {{ (1) }} {{ [1, 'a', none] }} {{ {'a': 1, 2: 'b', none: [true]} }} {{ [1, 2,] }} {{ {'x': 1,} }}
{{ 1, 2 }} {{ 'a', }}
{{ {'a': 1, 'a': 2} }} {{ {1: 'x', true: 'y', 1.0: 'z'} }} {{ {[1]: 2} }}
{{ {[1]: 2} }}
{{ 'single' "double" 'joined' }} {{ 'it\\'s' }} {{ "tab\\tnl\\nq\\"" }} {{ '\\u00e9\\x41\\101' }} {{ 'a\\qb' }}
{{ ['it\\'s', "q\\"", 'both\\'\\"', 'nl\\n\\t\\r\\\\', 'é日👋', '\\x00\\x7f\\xa0\\u200b'] }}
{{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1_000_000 }} {{ 1_0.5 }} {{ 00 }}
{{ True }} {{ False }} {{ None }} {{ true }} {{ none }} {{ [True, none] }}
{{ s.upper() }} {{ s.lower() }} {{ s.title() }} {{ s.capitalize() }} {{ 'hELLO wORLD-x y2k'.title() }} {{ u.upper() }} {{ u.lower() }} {{ 'ΑΣ ΣΑ'.lower() }}
{{ 'ﬁne'.upper() }} {{ 'ǆ'.title() }} {{ 'İ'.lower() | length }} {{ 'ß'.capitalize() }} {{ "they're bill's".title() }}
[{{ pad.strip() }}] [{{ pad.lstrip() }}] [{{ pad.rstrip() }}] [{{ 'xxaxx'.strip('x') }}] [{{ 'abcba'.strip('ab') }}] [{{ '\\u3000a\\xa0'.strip() }}]
{{ many.split(',') }} {{ many.split(', ') }} {{ pad.split() }} {{ many.split(',', 1) }} {{ many.rsplit(',', 1) }} {{ 'a b  c'.split(' ') }} {{ 'a b  c '.split(none, 1) }} {{ ' a b '.rsplit(none, 1) }} {{ ''.split() }} {{ ''.split(',') }}
{{ s.split('') }}
{{ many.partition(', ') }} {{ many.rpartition(',') }} {{ s.partition('zz') }} {{ s.rpartition('zz') }}
{{ s.startswith('Hell') }} {{ s.endswith('ld') }} {{ s.startswith(('x', 'H')) }} {{ s.startswith('World', 6) }} {{ s.endswith('Hello', 0, 5) }} {{ ''.startswith('') }}
{{ s.startswith(1) }}
{{ s.find('o') }} {{ s.find('zz') }} {{ s.rfind('o') }} {{ u.find('日') }} {{ s.find('o', 5) }} {{ s.index('W') }} {{ s.count('o') }} {{ s.count('l', 4) }} {{ s.count('') }}
{{ s.index('zz') }}
{{ s.replace('o', '0') }} {{ s.replace('l', '', 2) }} {{ s.replace('', '-') }} {{ s.replace('zz', 'y') }} {{ s.replace('o', '0', 0) }}
{{ '-'.join(['a', 'b']) }} {{ ', '.join(words) }} {{ ''.join([]) }}| {{ '-'.join('abc') }} {{ ','.join(d) }}
{{ '-'.join([1, 2]) }}
{{ lines.splitlines() }} {{ lines.splitlines(true) }} {{ 'a\\n'.splitlines() }} {{ ''.splitlines() }}
{{ 'abc'.isalpha() }} {{ 'ab1'.isalnum() }} {{ '12'.isdigit() }} {{ ''.isdigit() }} {{ ' \\n'.isspace() }} {{ 'aB'.islower() }} {{ 'AB1'.isupper() }}
{{ 'a'.ljust(3, '.') }} {{ 'a'.rjust(3) }} {{ 'ab'.center(5, '*') }} {{ 'abc'.center(6, '*') }} {{ 'pre_x'.removeprefix('pre_') }} {{ 'x.py'.removesuffix('.py') }}
{{ 'a{}b{}'.format(1, 'x') }} {{ '{0}-{1}-{0}'.format('a', 'b') }} {{ '{name}!{d[a]}{p.a}'.format(name='n', d=d, p=d) }} {{ '{:>5}|{:<5}|{:^5}|{:05d}|{:.2f}|{:,}|{:x}|{:+d}|{:%}'.format('a', 'b', 'c', 42, 3.14159, 1234567, 255, 5, 0.25) }}
{{ '{{}} {!r} {:*^9}'.format('q', 'mid') }} {{ '{:e} {:g} {:.3} {:.3s} {:b} {:#x} {:08.3f} {}'.format(12345.678, 0.00001, 3.14159, 'abcdef', 5, 255, -3.14159, none) }}
{{ '{}'.format() }}
{{ '{'.format() }}
{{ '{x}'.format(1) }}
{{ '%s-%d-%5.2f-%x-%r' % ('a', 3, 2.5, 255, 'q') }} {{ '%s' % 5 }} {{ '%s %s' % (1, [2]) }} {{ '100%%' % () }} {{ '%(a)s/%(b)03d' % {'a': 'x', 'b': 7} }} {{ '%-5s|%5s|%+d|%e|%g' % ('a', 'b', 1, 1234.5, 0.5) }}
{{ '%d' % 'a' }}
{{ '%s %s' % 'a' }}
{{ '%s' % (1, 2) }}
{{ '%s' % missing }}| {{ '%s' % nil }} {{ '%.3s|' % 'abcdef' }} {{ '%c%c' % ('a', 66) }} {{ '%d' % 3.9 }} {{ '%i%%' % 50 }}
{{ l.append(4) }}
{{ l.append }}|
{{ d.update({'x': 1}) }}
{{ d.pop('a') }}
{{ l.sort() }}
{{ s.__class__ }}|
{{ s.__class__.__mro__ }}
{{ l.index(2) }} {{ l.count(1) }} {{ (1, 1).count(1) }} {{ l.copy() }} {{ d.copy() == d }}
{{ l.index(9) }}
{{ s.upper(1) }}
{{ s.nope() }}
{{ n() }}
{{ 'a'() }}
{{ s | upper }} {{ s | lower }} {{ 'hello wORLD' | title }} {{ "they're (in) [a-b]" | title }} {{ 'hELLO' | capitalize }} {{ n | upper }} {{ nil | lower }}
[{{ pad | trim }}] [{{ 'xax' | trim('x') }}] [{{ 5 | trim }}] [{{ '' | trim }}]
{{ s | length }} {{ u | count }} {{ l | length }} {{ d | length }} {{ '' | length }} {{ range(5) | length }} {{ (1, 2) | count }}
{{ 5 | length }}
{{ nil | length }}
{{ l | join }} {{ l | join(', ') }} {{ mixed | join('|') }} {{ people | join(', ', attribute='name') }} {{ 'abc' | join('-') }} {{ d | join(',') }} {{ [] | join(',') }}| {{ l | join(1) }}
{{ 5 | join }}
{{ missing | default('x') }} {{ nil | default('x') }} {{ nil | default('x', true) }} {{ '' | d('e', boolean=true) }} {{ 0 | d(5) }} {{ missing | d }}|
{{ s | replace('o', '0') }} {{ s | replace('l', 'L', 1) }} {{ n | replace('7', '8') }} {{ s | replace('', '.') }}
{{ s | replace('o') }}
{{ l | first }} {{ l | last }} {{ s | first }} {{ s | last }} {{ [] | first }}|{{ [] | last }}|{{ d | first }} {{ d | last }} {{ range(3) | last }}
{{ 5 | first }}
{{ l | list }} {{ s[:3] | list }} {{ d | list }} {{ (1, 2) | list }} {{ range(3) | list }} {{ missing | list }}
{{ 5 | list }}
{{ 5 | string + 'x' }} {{ [1] | string }} {{ nil | string }} {{ '5' | int + 1 }} {{ '5.7' | int }} {{ 'x' | int }} {{ 'x' | int(9) }} {{ 3.9 | int }} {{ -3.9 | int }} {{ ' 12 ' | int }} {{ '1_0' | int }} {{ '0x1f' | int(base=16) }} {{ 'ff' | int(0, 16) }} {{ '0b11' | int(base=0) }} {{ nil | int }} {{ true | int }} {{ [] | int(3) }}
{{ '2.5' | float }} {{ 'x' | float }} {{ 'x' | float(1.5) }} {{ 3 | float }} {{ '1e3' | float }} {{ 'inf' | float }} {{ nil | float }} {{ ' 7 ' | float }} {{ '-nan' | float }}
{{ missing | int }}
{{ missing | float }}
{{ 2.5 | round }} {{ 3.5 | round }} {{ 2.567 | round(2) }} {{ 2.561 | round(1, 'ceil') }} {{ 2.569 | round(2, 'floor') }} {{ 5 | round }} {{ 1234.5 | round(-2) }} {{ 15 | round(-1) }} {{ 25 | round(-1) }} {{ 2.675 | round(2) }} {{ -2.5 | round }} {{ 7 | round(0, 'ceil') }}
{{ 2 | round(1, 'up') }}
{{ 'a' | round }}
{{ -5 | abs }} {{ neg | abs }} {{ -2.5 | abs }} {{ false | abs }}
{{ 'a' | abs }}
{{ lines | indent }}
{{ lines | indent(2, true) }}|{{ 'a\\n\\nb' | indent(2, blank=true) }}|{{ 'a\\nb' | indent('> ') }}|{{ 'a\\nb\\n' | indent(1) }}|{{ '' | indent(3) }}|{{ '' | indent(3, true) }}|{{ 'x' | indent(width=2, first=true) }}
{{ 5 | indent }}
{% for k, v in d | items %}{{ k }}={{ v }};{% endfor %} {{ missing | items | list }} {{ {} | items | list }}
{{ l | items | list }}
{{ d | dictsort }} {{ {'B': 1, 'a': 2} | dictsort }} {{ {'B': 1, 'a': 2} | dictsort(true) }} {{ {'x': 2, 'y': 1} | dictsort(by='value') }} {{ {'x': 2, 'y': 1} | dictsort(false, 'key', true) }}
{{ {'x': 2, 'y': 'a'} | dictsort(by='value') }}
{{ d | dictsort(by='nope') }}
{{ l | dictsort }}
{{ words | unique | list }} {{ words | unique(true) | list }} {{ people | unique(attribute='age') | map(attribute='name') | list }} {{ [1, 1.0, true, '1'] | unique | list }}
{{ [[1], [1]] | unique | list }}
{{ l | sort }} {{ words | sort }} {{ words | sort(case_sensitive=true) }} {{ l | sort(reverse=true) }} {{ people | sort(attribute='age') | map(attribute='name') | list }} {{ people | sort(attribute='age,name') | map(attribute='name') | join }} {{ 'hello' | sort }} {{ d | sort }}
{{ mixed | sort }}
{{ l | reverse | list }} {{ s | reverse }} {{ range(3) | reverse | list }} {{ words | reverse | first }}
{{ 5 | reverse }}
{{ l | sum }} {{ people | sum(attribute='age') }} {{ l | sum(start=10) }} {{ [] | sum }} {{ [0.5, 1] | sum }} {{ [[1], [2]] | sum(start=[]) }}
{{ words | sum }}
{{ l | min }} {{ l | max }} {{ words | min }} {{ words | max }} {{ words | max(true) }} {{ [] | min }}| {{ (people | max(attribute='age')).name }} {{ (people | min(attribute='age')).name }}
{{ mixed | max }}
{{ l | map('string') | list }} {{ words | map('upper') | join(',') }} {{ people | map(attribute='name') | list }} {{ people | map(attribute='tags') | list }} {{ people | map(attribute='tags', default='-') | list }} {{ people | map(attribute='tags.0', default='-') | list }} {{ words | map('replace', 'p', 'P') | list }} {{ l | map('default', 1) | list }} {{ [[1, 2], [3, 4]] | map(attribute=1) | list }} {{ missing | map('upper') | list }} {{ nil | map('upper') | list }}
{{ l | map | list }}
{{ l | map('nope') | list }}
{{ people | map(attribute='name.x.y') | list }}
{{ l | select('odd') | list }} {{ l | reject('odd') | list }} {{ l | select('gt', 1) | list }} {{ mixed | select | list }} {{ mixed | reject('none') | list }} {{ words | select('in', ['fig', 'pear']) | list }} {{ l | select('divisibleby', 3) | list }} {{ mixed | select('string') | first }} {{ mixed | reject | list }}
{{ l | select('nope') | list }}
{{ people | selectattr('age', 'equalto', 30) | map(attribute='name') | join(',') }} {{ people | selectattr('tags') | list | length }} {{ people | selectattr('tags', 'defined') | list | length }} {{ people | rejectattr('tags') | map(attribute='name') | list }} {{ people | rejectattr('team', '==', 'red') | list | length }} {{ people | selectattr('name', 'in', 'Ann Cid') | list | length }}
{{ people | selectattr | list }}
{% for g in people | groupby('team') %}{{ g.grouper }}:{{ g.list | map(attribute='name') | join('+') }};{% endfor %} {% for k, v in people | groupby('age') %}{{ k }}={{ v | length }};{% endfor %} {{ people | groupby('team', case_sensitive=true) | map('first') | list }} {{ people | groupby('tags', default='none') | length if no else '' }}
{{ [1, 2, 3, 4, 5] | batch(2) | list }} {{ [1, 2, 3] | batch(2, 'x') | list }} {{ [1, 2, 3, 4, 5] | slice(2) | list }} {{ [1, 2, 3, 4, 5] | slice(3, 'z') | list }}
{{ html | e }} {{ html | escape }} {{ html | safe }} {{ (html | e) | e }} {{ html | safe | e }} {{ (html | safe) + '<' }} {{ '<' + (html | e) }} {{ (html | e) ~ '<' }} {{ 5 | e }} {{ html | forceescape if no else '' }}
{{ html | striptags }} {{ '<!-- c --> a  <b>b</b>\\n c' | striptags }} {{ 'a b  c-d e_f' | wordcount }} {{ '' | wordcount }}
{{ 'foo bar baz qux' | truncate(9) }} {{ 'foo bar baz qux' | truncate(9, true) }} {{ 'foo bar baz qux' | truncate(11) }} {{ 'foo bar baz qux' | truncate(11, false, '..', 0) }} {{ 'foobarbazqux' | truncate(5, end='!', leeway=0) }}
{{ 'abc' | truncate(2) }}
{{ 10 | truncate }}
{{ missing | reverse | list }}|{{ missing | last }}|{{ 'abc' % [1] }}{{ 'abc' % missing }}{{ 'abc' % d }}
[{{ 'ab' | center(7) }}] {{ '%s %05.1f' | format('a', 2.25) }} {{ '%(x)s' | format(x=1) }} {{ 5 | format }}
{{ '%s' | format(1, x=2) }}
{{ people[0] | attr('name') }}|{{ s | attr('upper') is defined }}|{{ d | attr('a') is defined }}
{{ s | nope if no else 'ok' }}
{{ d | tojson }} {{ mixed | tojson }} {{ 'é"\\n\\\\/<&>\\u2028\\x07' | tojson }} {{ u | tojson(ensure_ascii=true) }} {{ big | tojson }} {{ 1e16 | tojson }} {{ 2.0 | tojson }} {{ (1, 2) | tojson }}
{{ d | tojson(indent=2) }}
{{ {'a': [], 'b': {}, 'c': [1, {'d': none}]} | tojson(indent=4) }}
{{ d | tojson(sort_keys=true, separators=(',', ':')) }} {{ [1, 2] | tojson(separators=['; ', '=']) }} {{ {'b': 1, 'a': 2} | tojson(indent=0, sort_keys=true) }} {{ [1] | tojson(indent='--') }} {{ {1: 'a', none: 2, true: 3, 2.5: 4} | tojson }} {{ 'x' | tojson(true) }}
{{ missing | tojson }}
{{ {'f': range} | tojson }}
{{ range(3) | tojson }}
{{ d.items() | tojson }}
{{ {(1, 2): 3} | tojson }}
{{ 'nan' | float | tojson }} {{ 'inf' | float | tojson }} {{ '-inf' | float | tojson }} {{ '\\x7f' | tojson }} {{ '\\x7f' | tojson(ensure_ascii=true) }} {{ '👋' | tojson(true) }}
{{ 1 is defined }} {{ nil is none }} {{ missing is none }} {{ s is string }} {{ 1 is string }} {{ 1 is number }} {{ true is number }} {{ 2.5 is number }} {{ '1' is number }} {{ 1 is integer }} {{ true is integer }} {{ 1.0 is integer }} {{ 1.0 is float }} {{ 1 is float }}
{{ d is mapping }} {{ l is mapping }} {{ l is iterable }} {{ s is iterable }} {{ 5 is iterable }} {{ nil is iterable }} {{ missing is iterable }} {{ l is sequence }} {{ s is sequence }} {{ d is sequence }} {{ missing is sequence }} {{ 5 is sequence }} {{ (l | map('abs')) is sequence }} {{ d.items() is sequence }} {{ range(2) is sequence }} {{ d.items() is iterable }} {{ (1,) is sequence }}
{{ true is boolean }} {{ 1 is boolean }} {{ true is true }} {{ 1 is true }} {{ false is false }} {{ 0 is false }} {{ nil is false }}
{{ 1 is eq 1 }} {{ 1 is eq(1) }} {{ 1 is ne 2 }} {{ 1 is lt 2 }} {{ 1 is le 1 }} {{ 2 is gt 1 }} {{ 2 is ge 3 }} {{ 1 is equalto 1.0 }} {{ 2 is greaterthan 1 }} {{ 1 is lessthan 2 }} {{ 1 is sameas 1 }} {{ nil is sameas none }} {{ l is sameas l }} {{ l is sameas [3, 1, 2] }} {{ true is sameas 1 }}
{{ 2 is in [1, 2] }} {{ 3 is in [1, 2] }} {{ 'a' is in 'abc' }} {{ 3 is not in [1, 2] }} {{ 6 is divisibleby 3 }} {{ 6 is divisibleby(4) }} {{ 3 is odd }} {{ 3 is even }} {{ 3 is not even }} {{ -3 is odd }} {{ 2.0 is even }}
{{ range is callable }} {{ s is callable }} {{ s.upper is callable }} {{ missing is callable }} {{ 'abc' is lower }} {{ 'ABC' is upper }} {{ 'aBc' is lower }} {{ 'upper' is filter }} {{ 'odd' is test }} {{ 'nope' is filter }} {{ (s | e) is escaped }} {{ s is escaped }}
{{ 1 is defined and 2 is defined }} {{ not missing is defined }} {{ missing is not defined or no }} {{ 5 is number == true }} {{ s is string | string }} {{ 1 + 1 is even }} {{ -1 is number }} {{ d.a is defined and d.a is number }}
{{ 'a' is odd }}
{{ 1 is divisibleby 0 }}
{{ 5 is nope if no else 'ok' }}
{{ range(3) }} {{ range(1, 4) | list }} {{ range(5, 0, -2) | list }} {{ range(0) | list }} {{ range(1, 9, 2) }} {{ range(3)[1] }} {{ 2 in range(3) }} {{ range(3) == range(0, 3) }}
{{ range(100001) }}
{{ range(1, 2, 0) }}
{{ range('a') }}
{{ dict(a=1, b='x') }} {{ dict([('k', 1), ['j', 2]]) }} {{ dict(d, a=5).a }} {{ dict() }} {{ dict({'x': 1}, y=2) }}
{{ dict([1]) }}
{% set ns = namespace(a=1) %}{% set ns.b = ns.a + 1 %}{{ ns.a }}{{ ns.b }}{{ ns.c }}|{{ ns['b'] }}|{{ ns.c is defined }}
{% set x = 1 %}{% set x.y = 2 %}
{% set nope.y = 2 %}
{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.next() }}{% set _ = c.reset() %}{{ c.next() }}
{% set j = joiner(', ') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}
{{ raise_exception('no ' ~ n ~ ' way') }}
{{ raise_exception() }}
{{ strftime_now('%Y-%m-%d %H:%M:%S %A %B %j %p %y %d %b %a %I') }}
{{ s.upper().lower().split()[0][::-1] }} {{ (s ~ '!') | upper | length }} {{ [s, s | upper] | map('length') | sum }} {{ ('a' ~ 'b').upper() }} {{ s|upper()|lower }} {{ (l | sort)[0] }} {{ {'a': {'b': [1, 2]}}['a'].b[1] }} {{ -l[0] }} {{ -2 | abs }} {{ - 2 }} {{ 'x' if l else 'y' }} {{ (1 if 0) is defined }}
""".strip("\n").split("\n")
