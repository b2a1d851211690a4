#!/usr/bin/env python3
"""Writes the demo's data: reminders typed in a hurry and the one-line JSON they mean.

    rmnd me 2 txt priya abt the invocie on thurs @ 530pm
    {"task":"text about invoice","day":"thu","time":"17:30","who":"Priya"}

The rules a model has to learn: keys in this order, null where nothing is said; the task without
typos, shorthand, articles or the person; days as mon..sun, today, tomorrow or +Nd; times on the
24-hour clock or, for "in 20 min" and "in 2 hrs", today and +20m or +2h; morning, noon and tonight
are 09:00, 12:00 and today 20:00.

No task of the test split occurs in the training split. Some of the test split's words and names do
not either; those words come without typos. Nobody has the same day and time in both splits. The
same seed gives the same bytes.
"""

import argparse
import collections
import json
import pathlib
import random

SEED = 20
TRAIN_ROWS = 1000
TEST_ROWS = 100
TEST_TASKS = 50
ROW_LIMIT = 104  # Characters typed and answered: at most 64 of SmolLM2's tokens with its template.
SYSTEM = "Reminder to JSON"

NAMES = (
    "Ana Ben Carla Dev Elif Farid Greta Hugo Ines Jonas Kemal Lena Marco Nadia Omar Priya Quinn "
    "Rosa Sam Tara Umar Vera Will Yuki Zoe Mom Dad Grandma Leo Mia Noah Olga Paul Ravi Sofia Tom "
    "Emma Luis Aisha Max"
).split()
TEST_ONLY_NAMES = "Nina Oscar Maya Felix".split()

TOPICS = (
    "rent, the invoice, the lease, the budget, the broken heater, the wedding, the holiday, "
    "the school trip, the contract, the car, the exam, the party, the new job, "
    "the concert tickets, the insurance"
)
PAPERS = (
    "the invoice, the contract, the slides, the photos, the report, the address, the recipe, "
    "the schedule, the guest list, the tax form, the meeting notes, the lease"
)
LENDABLES = (
    "the keys, the drill, the ladder, the charger, the book, the umbrella, the suitcase, "
    "the camera, the tent, the bike"
)
PLACES = (
    "the airport, school, the station, work, the gym, the library, the hospital, the cinema, "
    "the park, the hotel"
)
GOODS = (
    "milk, eggs, cat food, bread, printer ink, light bulbs, coffee, stamps, flowers, batteries, "
    "toothpaste, a birthday card, diapers, dog food, paint"
)
BILLS = (
    "rent, the electric bill, the water bill, the phone bill, the credit card, "
    "the parking fine, the gym, the insurance"
)
VISITS = (
    "the dentist, the doctor appointment, a haircut, the vet, the eye test, the flight, "
    "the hotel, the train tickets, the car service, the restaurant"
)
PERMITS = (
    "the passport, the library books, the insurance, the parking permit, the gym membership, "
    "the driving license"
)
CHORES = (
    "water the plants, take out the trash, feed the cat, walk the dog, clean the kitchen, "
    "wash the car, do the laundry, charge the camera, defrost the chicken, vacuum the stairs, "
    "iron the shirts, mow the lawn, back up the laptop, take the vitamins, change the sheets, "
    "empty the dishwasher"
)
# The person stands at {who} and is left out of the task.
PATTERNS = {
    "call {who} about {}": TOPICS,
    "text {who} about {}": TOPICS,
    "ask {who} about {}": TOPICS,
    "email {who} {}": PAPERS,
    "send {who} {}": PAPERS,
    "show {who} {}": PAPERS,
    "give {who} {}": LENDABLES,
    "borrow {} from {who}": LENDABLES,
    "meet {who} at {}": PLACES,
    "pick up {who} from {}": PLACES,
    "have {} with {who}": "lunch, dinner, coffee, breakfast, drinks, tea, pizza",
    "play {} with {who}": "chess, football, cards, squash, golf, tennis",
    "buy {}": GOODS,
    "order {}": GOODS,
    "pay {}": BILLS,
    "book {}": VISITS,
    "cancel {}": VISITS,
    "return {}": LENDABLES,
    "print {}": PAPERS,
    "renew {}": PERMITS,
    "{}": CHORES,
}
TEST_ONLY_WORDS = {"budget", "recipe", "cinema", "batteries", "tennis", "vet"}

SHORTHAND = {
    "about": ["abt"],
    "appointment": ["appt"],
    "birthday": ["bday"],
    "breakfast": ["brekkie"],
    "from": ["frm"],
    "meeting": ["mtg"],
    "pick": ["pck"],
    "text": ["txt"],
    "tickets": ["tix"],
    "with": ["w", "w/"],
}
OPENERS = {
    "": 10,
    "remind me to ": 2,
    "rmnd me 2 ": 2,
    "dont forget to ": 2,
    "need to ": 2,
    "pls ": 1,
    "gotta ": 1,
}
CLOSERS = {"": 8, "!!": 1, " pls": 1}
DAYS = {
    "mon": ["mon", "monday", "mnday"],
    "tue": ["tue", "tues", "tuesday"],
    "wed": ["wed", "weds", "wednesday", "wensday"],
    "thu": ["thu", "thurs", "thursday"],
    "fri": ["fri", "friday", "firday"],
    "sat": ["sat", "saturday", "satuday"],
    "sun": ["sun", "sunday", "sundy"],
    "today": ["today", "tday", "2day"],
    "tomorrow": ["tomorrow", "tmrw", "tmr", "2moro", "tomorow"],
}
MINUTES = {0: 8, 30: 5, 15: 2, 45: 2}
MOMENTS = {"day and time": 58, "day": 12, "time": 8, "named": 10, "relative": 10, "none": 2}


def pick(rng, weights):
    return rng.choices(list(weights), list(weights.values()))[0]


def mistype(rng, word):
    """Swaps, drops or doubles one letter; the first two stay."""
    at = rng.randrange(2, len(word) - 1)
    kind = rng.choice(["swap", "drop", "double"])
    if kind == "swap":
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == "drop":
        return word[:at] + word[at + 1 :]
    return word[: at + 1] + word[at:]


def hurry(rng, text):
    """Types `text` in a hurry: shorthand, dropped articles, at most one typo."""
    words = []
    typo_left = rng.random() < 0.35
    for word in text.split():
        if word in ("the", "a") and rng.random() < 0.6:
            continue
        if word in SHORTHAND and rng.random() < 0.5:
            word = rng.choice(SHORTHAND[word])
        elif word.isalpha() and len(word) >= 5 and word not in TEST_ONLY_WORDS:
            if typo_left and rng.random() < 0.6:
                word = mistype(rng, word)
                typo_left = False
        words.append(word)
    return " ".join(words)


def clock(rng):
    """A time of day: as typed, as HH:MM."""
    hour, minute = rng.randrange(7, 22), pick(rng, MINUTES)
    half, twelve = ("am" if hour < 12 else "pm"), (hour - 1) % 12 + 1
    time = f"{hour:02}:{minute:02}"
    if minute == 0:
        return rng.choice([time, f"{twelve}{half}", f"{twelve}{half}"]), time
    return rng.choice([time, f"{twelve}:{minute:02}{half}", f"{twelve}{minute:02}{half}"]), time


def relative_moment(rng):
    unit = rng.choice("mhd")
    if unit == "m":
        count = rng.randrange(5, 60, 5)
        return f"in {count} {rng.choice(['min', 'mins', 'minutes'])}", "today", f"+{count}m"
    count = rng.randrange(2, 10)
    if unit == "h":
        return f"in {count} {rng.choice(['hrs', 'hours'])}", "today", f"+{count}h"
    return f"in {count} days", f"+{count}d", None


def moment(rng):
    """When: as typed, and the day and time it means."""
    day = rng.choice(list(DAYS))
    day_typed = rng.choice(DAYS[day])
    if day not in ("today", "tomorrow") and rng.random() < 0.3:
        day_typed = "on " + day_typed
    time_typed, time = clock(rng)
    kind = pick(rng, MOMENTS)
    if kind == "none":
        return "", None, None
    if kind == "day":
        return day_typed, day, None
    if kind == "time":
        return rng.choice(["at ", "@ ", ""]) + time_typed, None, time
    if kind == "relative":
        return relative_moment(rng)
    if kind == "named":
        if rng.random() < 0.4:
            return rng.choice(["tonight", "tonite"]), "today", "20:00"
        name, time = rng.choice([("morning", "09:00"), ("noon", "12:00")])
        return f"{day_typed} {name}", day, time
    if rng.random() < 0.3:
        return f"{time_typed} {day_typed}", day, time
    return day_typed + rng.choice([" ", " at ", " @ "]) + time_typed, day, time


def split_tasks(rng):
    """The (pattern, phrase) pairs of the training and of the test split."""
    pairs = [(pattern, phrase) for pattern in PATTERNS for phrase in PATTERNS[pattern].split(", ")]
    rng.shuffle(pairs)
    left = collections.Counter(phrase for _, phrase in pairs)
    train, test = [], []
    for pattern, phrase in pairs:
        met_elsewhere = left[phrase] > 1
        if TEST_ONLY_WORDS & set(phrase.split()) or (met_elsewhere and len(test) < TEST_TASKS):
            left[phrase] -= 1
            test.append((pattern, phrase))
        else:
            train.append((pattern, phrase))
    return train, test


def plain_task(pattern, phrase):
    """The task as the answer has it."""
    text = pattern.removesuffix(" with {who}").removesuffix(" from {who}")
    words = text.replace("{who} ", "").replace("{}", phrase).split()
    return " ".join(word for word in words if word not in ("the", "a"))


def reminder(rng, task, names):
    """What was typed and the answer."""
    pattern, phrase = task
    typed = hurry(rng, pattern.replace("{}", phrase))
    who = None
    if "{who}" in pattern:
        who = rng.choice(names)
        typed = typed.replace("{who}", who.lower())
    when, day, time = moment(rng)
    if when and rng.random() < 0.3:
        typed = f"{when} {typed}"
    else:
        opener = pick(rng, OPENERS)
        typed = f"{opener}{typed} {when}".rstrip()
        if not opener:
            typed += pick(rng, CLOSERS)
    return typed, {"task": plain_task(pattern, phrase), "day": day, "time": time, "who": who}


def rows(rng, tasks, count, pick_names, taken, meetings_to_avoid):
    """`count` JSONL lines and the (who, day, time) in them; adds what is typed to `taken`."""
    lines, meetings = [], set()
    while len(lines) < count:
        typed, answer = reminder(rng, rng.choice(tasks), pick_names(rng))
        content = json.dumps(answer, separators=(",", ":"))
        meeting = (answer["who"], answer["day"], answer["time"])
        clash = answer["who"] is not None and meeting in meetings_to_avoid
        if typed in taken or clash or len(typed) + len(content) > ROW_LIMIT:
            continue
        taken.add(typed)
        meetings.add(meeting)
        messages = [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": typed},
            {"role": "assistant", "content": content},
        ]
        lines.append(json.dumps({"messages": messages}) + "\n")
    return lines, meetings


def generate():
    """The lines of the training and of the test split."""
    rng, test_rng, taken = random.Random(SEED), random.Random(SEED + 1), set()
    train_tasks, test_tasks = split_tasks(rng)
    train, meetings = rows(rng, train_tasks, TRAIN_ROWS, lambda _: NAMES, taken, set())

    def test_names(rng):
        return TEST_ONLY_NAMES if rng.random() < 0.15 else NAMES

    test, _ = rows(test_rng, test_tasks, TEST_ROWS, test_names, taken, meetings)
    return train, test


def main():
    parser = argparse.ArgumentParser(description="Write train.jsonl and test.jsonl.")
    here = pathlib.Path(__file__).resolve().parent
    parser.add_argument("--out", type=pathlib.Path, default=here, help="folder to write to")
    out = parser.parse_args().out
    for name, lines in zip(("train.jsonl", "test.jsonl"), generate()):
        (out / name).write_bytes("".join(lines).encode("ascii"))


if __name__ == "__main__":
    main()
