"""The conversations that jinja_fixtures.py renders, and settings of the templates it renders them with."""


def said(*turns):
    return [{"role": role, "content": content} for role, content in turns]


def call(name, arguments, **more):
    return {"type": "function", "function": {"name": name, "arguments": arguments}} | more


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather.\nFor one place.",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "A town, e.g. \"Zürich\""},
                "unit": {"type": "string", "enum": ["°C", "°F"], "default": "°C", "description": "Unit"},
                "days": {"type": "array", "items": {"type": "integer"}, "description": "Which days"},
            },
            "required": ["place"],
        },
        "return": {"type": "object", "description": "A forecast"},
    },
}
NOTE = {
    "type": "function",
    "function": {
        "name": "note",
        "description": "Notes <something> & more.",
        "parameters": {
            "type": "object",
            "properties": {
                "text": {"type": ["string", "null"], "description": "What to note"},
                "weight": {"type": "number", "description": "How much", "minimum": 0.5, "maximum": 18446744073709551615},
                "pin": {"type": "boolean", "description": "Keep it", "nullable": True},
                "spot": {"type": "object", "properties": {"x": {"type": "integer"}}, "description": "Where"},
            },
        },
    },
}

TOOL_TURNS = said(("user", "Is it warm in Zürich?")) + [
    {"role": "assistant", "content": "", "tool_calls": [call("get_weather", {"place": "Zürich", "unit": "°C"}, id="abc123def")]},
    {"role": "tool", "name": "get_weather", "tool_call_id": "abc123def", "content": "{\"t\": 21.5}"},
    {"role": "assistant", "content": "Yes: 21.5 °C."},
    {"role": "user", "content": "Note it."},
]
PARALLEL_TURNS = said(("system", "Use tools."), ("user", "Compare Rome and Oslo.")) + [
    {
        "role": "assistant",
        "content": "Looking.",
        "tool_calls": [call("get_weather", {"place": "Rome"}, id="a"), call("get_weather", {"place": "Oslo", "days": [1, 2]}, id="b")],
    },
    {"role": "tool", "tool_call_id": "a", "content": "27"},
    {"role": "tool", "tool_call_id": "b", "content": "11"},
]

CONVERSATIONS = {
    "question": {"messages": said(("user", "What is 2 + 2?"))},
    "exchange": {"messages": said(("user", "  Hi there \n"), ("assistant", "\n Hello! 👋 "), ("user", "Say \"ciao\"\tin 日本語"))},
    "system": {
        "messages": said(("system", " Answer in one word. /no_think "), ("user", "Capital of France?"), ("assistant", "Paris"))
    },
    "thinking": {
        "messages": said(("user", "1+1?"), ("assistant", "<think>\none and one\n</think>\n\n2"), ("user", "And 3?"))
        + [{"role": "assistant", "content": "5", "reasoning_content": "\n2 + 3 "}]
    },
    "tools": {"messages": TOOL_TURNS, "tools": [WEATHER, NOTE]},
    "parallel_tools": {"messages": PARALLEL_TURNS, "tools": [WEATHER]},
    "two_users": {"messages": said(("user", "One"), ("user", "Two"))},
    "assistant_first": {"messages": said(("assistant", "Welcome <b>you</b> & yours"), ("user", "Thanks"))},
    "parts": {
        "messages": [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " What is it? "}]},
            {"role": "assistant", "content": [{"type": "text", "text": "A cat"}]},
        ]
    },
    "odd_role": {"messages": said(("narrator", "Once upon a time"), ("user", "Go on"))},
    "no_content": {"messages": [{"role": "user", "content": None}, {"role": "assistant"}]},
    "empty": {"messages": []},
    "documents": {
        "messages": said(("user", "Sum up")),
        "documents": [{"title": "A", "text": "First\ntext"}, {"title": "B", "text": "Second"}],
    },
}

FAMILIES = {
    "deepseek": {"tokens": {"bos_token": "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "eos_token": "<\uff5cend\u2581of\u2581sentence\uff5c>"}},
    "granite": {"extra": [{"controls": {"length": "short", "citations": False}}]},
    "harmony": {"extra": [{"reasoning_effort": "high"}]},
    "llama31_tools": {
        "extra": [
            {"date_string": "1 Apr 2030", "show_tools_in_user_turn": False},
            {"builtin_tools": ["code_interpreter", "get_weather"]},
        ]
    },
    "qwen3": {"extra": [{"enable_thinking": False}]},
    "smollm3": {"extra": [{"enable_thinking": False}]},
}
