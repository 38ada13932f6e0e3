"""The training mixture: an endless, seeded stream of examples for both models, and the probe's data with its splits."""

import json
import os
import random

import chat
import probe_texts
import tasks_code
import tasks_math
import tasks_qa
from bpe import IM_END

PROMPTS = os.environ.get("DEMO_PROMPTS", os.path.join(os.path.dirname(__file__), "../../../shared/prompts"))
LONG_LOW, LONG_HIGH = 400, 560
SYSTEMS = [
    "You are a helpful assistant.",
    "You are a helpful assistant.",
    "Answer briefly.",
    "You are A-IO.",
    "你是一个有用的助手。",
    "Be short and precise.",
]
SHARES = [("qa", 0.43), ("math", 0.20), ("calc", 0.07), ("code", 0.17), ("long", 0.008), ("probe", 0.122)]
PROBE_WEIGHT = 6.0


def real():
    """Real requests by source: {source: {"train": [...], "test": [...]}}. CMMLU and HumanEval are never trained on."""
    sources = {
        "gsm8k": ("math.jsonl", "math", 1700),
        "nq-open": ("qa.jsonl", "qa", 1300),
        "cmmlu": ("qa.jsonl", "qa", 0),
        "humaneval": ("code.jsonl", "code", 0),
    }
    out = {}
    for name, (path, label, trained) in sources.items():
        with open(os.path.join(PROMPTS, path), encoding="utf-8") as f:
            rows = [r["prompt"] for r in map(json.loads, f) if r["id"].lower().startswith(name)]
        out[name] = {"label": label, "train": rows[:trained], "test": rows[trained:]}
    return out


class Mixture:
    """Draws examples (ids, index of the first target, weight a target)."""

    def __init__(self, tok, seed):
        self.tok, self.rng = tok, random.Random(seed)
        self.labels = dict(zip(chat.LABELS, chat.label_ids(tok)))
        self.real = real()
        self.facts = []

    def count(self, text):
        return len(self.tok.encode(text))

    def long_code(self):
        return tasks_code.long_prompt(self.rng, "train", self.count, LONG_LOW, LONG_HIGH)

    def fact(self):
        """Facts in shuffled rounds, so that each is seen equally often."""
        if not self.facts:
            self.facts = tasks_qa.FACTS[:]
            self.rng.shuffle(self.facts)
        return self.facts.pop()

    def task(self, name):
        r = self.rng
        if name == "qa":
            return tasks_qa.make(r, "train", self.fact())
        if name == "math":
            return tasks_math.make(r, "train")
        if name == "calc":
            return tasks_math.make_calc(r)
        if name == "long":
            return self.long_code()
        if r.random() < 0.15:  # some file in front, within the small model's window
            return tasks_code.long_prompt(r, "train", self.count, 80, 250)
        return tasks_code.make(r, "train")

    def around(self, text, other):
        """A conversation ending in the text: mostly it alone, now and then with a system message or earlier turns."""
        messages = [("user", text)]
        r = self.rng.random()
        if r < 0.03:
            turn = self.task(other)
            messages = [("user", turn[0]), ("assistant", turn[1])] + messages
        if r < 0.015 or r > 0.95:
            messages = [("system", self.rng.choice(SYSTEMS))] + messages
        return messages

    def probe_text(self, label):
        r, q = self.rng, self.rng.random()
        sources = {"code": [], "qa": ["nq-open"], "math": ["gsm8k"]}[label]
        if q < 0.2:
            return tasks_code.make(r, "train")[0] if label == "code" else self.task(label)[0]
        if q < 0.27:  # long ones, which the window cuts
            if label == "code":
                return self.long_code()[0]
            return r.choice(["\n", " ", "\n\n"]).join(self.probe_text(label) for _ in range(r.randint(2, 6)))
        if q < 0.55 and sources:
            text = r.choice(self.real[r.choice(sources)]["train"])
            return probe_texts.noise(r, text) if r.random() < 0.3 else text
        return probe_texts.make(r, label, "train")

    def draw(self):
        r = self.rng
        name = r.choices([s for s, _ in SHARES], [w for _, w in SHARES])[0]
        other = r.choice(["qa", "math", "code"])
        if name == "probe":
            label = r.choice(chat.LABELS)
            ids = chat.probe(self.tok, self.around(self.probe_text(label), other))
            return name, ids + [self.labels[label]], len(ids), PROBE_WEIGHT
        prompt, answer, _ = self.task(name)
        ids = chat.conversation(self.tok, self.around(prompt, other))
        return name, ids + self.tok.encode(answer) + [IM_END], len(ids), 1.0


def sample_texts(n, seed):
    """Plain texts like the mixture's, for training the vocabulary."""

    class Words:
        def encode(self, text):
            return text.split()

    m = Mixture.__new__(Mixture)
    m.tok, m.rng, m.real, m.facts = Words(), random.Random(seed), real(), []
    for i in range(n):
        k = i % 10
        if k < 5:
            prompt, answer, _ = m.task(["qa", "math", "code", "qa", "code"][k])
            yield "user\n" + prompt
            yield answer
        else:
            yield "user\n" + m.probe_text(chat.LABELS[k % 3])
    for source in m.real.values():
        yield from source["train"]
