#!/usr/bin/env python3
"""Labelled requests for `a-io calibrate`: a calibration split and two unseen ones.

    calibration_requests.py OUT_FOLDER [--prompts ../shared/prompts] [--seed 7]

writes calibration.jsonl, unseen-1.jsonl and unseen-2.jsonl: one object a line with id, kind, intent and prompt.
Python's standard library only. The demo models were trained on none of these texts:

  generated   probe_texts' patterns, the half of their fillings that is kept for tests, new seeds
  tasks       the demo tasks' test side, new seeds
  plain       sentence patterns of this file, each clearly of one intent
  ambiguous   sentence patterns of this file that mix the words of several intents
  real        held-out GSM8K, NQ-open, CMMLU, HumanEval (where the folder of prompts is there), handwritten

The label rule, also of mixed requests: the kind of answer that the request asks for, the last one if it asks for
several. `code`: the answer is program text, a command, or is about program text that is given. `math`: the answer
has to be worked out from what is given. `qa`: anything else, that is, the answer has to be known. Topics do not
count: who invented quicksort is qa, a program that solves a word problem is code, the value that a
description of a loop comes to is math.

All texts are different. Each kind is dealt out to the three splits at random, so that they are exchangeable: that
is what a limit chosen on one can promise for another.
"""

import argparse
import json
import os
import random
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../demo_models"))

import probe_texts  # noqa: E402
import tasks_code  # noqa: E402
import tasks_math  # noqa: E402
import tasks_qa  # noqa: E402

LABELS = ["code", "math", "qa"]
SPLITS = ["calibration", "unseen-1", "unseen-2"]
# Of each kind and label, all splits together. Real requests come on top, as many as there are.
GENERATED, TASKS, PLAIN, AMBIGUOUS = 690, 210, 690, 780
# The first so many of a source were trained on (models/demo/README.md).
REAL = {
    "gsm8k": ("math.jsonl", "math", 1700),
    "nq-open": ("qa.jsonl", "qa", 1300),
    "cmmlu": ("qa.jsonl", "qa", 0),
    "humaneval": ("code.jsonl", "code", 0),
}

# fmt: off
SLOTS = {
    "tool": "Kubernetes|Terraform|Prometheus|Ansible|ffmpeg|ImageMagick|tmux|vim|rsync|curl|openssl|sqlite|Elasticsearch|Kafka|gdb|valgrind|Gradle|Maven".split("|"),
    "plang": "Elixir|Julia|Dart|Clojure|OCaml|Fortran|COBOL|Erlang|R|MATLAB|Zig|Nim|F#|Objective-C|Groovy|Python|Java|C++|Go|Rust".split("|"),
    "job": "merges overlapping intervals|checks whether a sudoku grid is valid|turns snake case into camel case|finds the longest run of equal characters|rotates a log file|computes a running median|reads temperatures from a serial port|serves the files of a folder|validates an IBAN|draws a progress bar|diffs two directories|picks a random line|splits a PDF into pages|retries a failed request|reads a spreadsheet and prints the row sums|walks a maze|deals a deck of cards|simulates a queue at a counter|packs boxes into crates|parses command line flags".split("|"),
    "algoname": "quicksort|the A* algorithm|the Fourier transform|the RSA cipher|the binary search tree|backpropagation|PageRank|the simplex method|Euclid's algorithm|Dijkstra's algorithm|the Game of Life|the bloom filter|the Turing machine".split("|"),
    "theorem": "Fermat's last theorem|the four colour theorem|the theorem of Pythagoras|the central limit theorem|the Poincare conjecture|the fundamental theorem of algebra|Bayes' rule|the parallel postulate|Zeno's paradox|the Riemann hypothesis".split("|"),
    "softw": "Linux|the first web browser|Minecraft|the spreadsheet|Photoshop|Git|the World Wide Web|Windows 95|Excel|Wikipedia|the C compiler|Java|Python|COBOL|the mouse|UTF-8|TCP/IP|the QR code".split("|"),
    "thing2": "a violin|a standard chess board|a rugby team|the Olympic flag|a cricket match|an octopus|a spider|the periodic table|a sonnet|a haiku|the European Union|the human spine|a full deck of cards|a ballet|an orchestra|the alphabet of Hawaiian".split("|"),
    "part": "strings|squares|players|rings|overs|hearts|legs|elements|lines|syllables|members|vertebrae|kings|acts|letters".split("|"),
    "place": "Lake Baikal|the Sahara|Reykjavik|the Great Barrier Reef|Timbuktu|Mount Kilimanjaro|the Panama Canal|Petra|Easter Island|the Black Forest|Angkor Wat|Samarkand|Patagonia|the Dead Sea".split("|"),
    "craft": "pottery|fencing|beekeeping|calligraphy|sailing|origami|glass blowing|falconry|chess|yoga|knitting|opera|surfing|gardening".split("|"),
    "animal": "hedgehogs|swans|elephants|bats|salmon|owls|wolves|butterflies|camels|dolphins|bees|tortoises".split("|"),
    "who": "Nadia|Oskar|Yuki|Fatima|Pedro|Ingrid|Kwame|the gardener|my neighbour|the school cook|a courier|the captain|Zoe|Bruno|Amira".split("|"),
    "stuff": "tiles|planks|candles|jars of honey|postcards|seedlings|kilos of flour|spools of thread|buttons|lanterns|bags of cement|crates|melons|photographs".split("|"),
    "n": lambda r: str(r.randint(3, 97)), "N": lambda r: str(r.randint(110, 9400)), "d": lambda r: str(r.randint(2, 9)),
    "p": lambda r: str(r.choice([4, 6, 8, 11, 14, 16, 18, 22, 35, 45, 55, 65, 70, 85])),
    "zlan": "Elixir|Kotlin|Swift|R语言|MATLAB|Python|Java|C++|Rust|Lua".split("|"),
    "zjob": "合并重叠的区间|判断数独是否合法|找出最长的相同字符串|读取温度传感器|下载一个文件夹里的图片|随机发牌|把PDF拆成单页|重试失败的请求|计算移动平均|画进度条".split("|"),
    "zthing2": "小提琴|国际象棋棋盘|奥运五环|章鱼|蜘蛛|一副扑克牌|人体脊柱|京剧|古筝|交响乐团".split("|"),
    "zplace": "贝加尔湖|撒哈拉沙漠|敦煌|乞力马扎罗山|巴拿马运河|死海|张家界|布达拉宫|冰岛|好望角".split("|"),
    "zwho": "阿强|小雨|园丁|陈师傅|邻居|小满|船长|厨师|快递员|静静".split("|"),
    "zstuff": "块瓷砖|根木板|罐蜂蜜|张明信片|袋水泥|个灯笼|个西瓜|颗纽扣|株树苗|公斤面粉".split("|"),
    "story": ["<who> packs <n> <stuff> into each of <d> crates and has <d> left over", "<who> rents a van for $<n> a day plus $<d> a kilometre and drives <n> kilometres",
              "a shelf holds <n> <stuff>; every hour <d> are taken away", "<who> pays <p>% tax on every dollar above <N>", "a tank of <N> litres loses <d> litres an hour",
              "<who> walks <n> steps, turns round and walks back <d> of them", "<who> saves <n> coins in the first week and <d> more each week than in the week before"],
    "zstory": ["<zwho>每箱装<n><zstuff>，装了<d>箱，还剩<d><zstuff>", "租车每天<n>元，每公里另付<d>元，<zwho>开了<n>公里", "水箱有<N>升水，每小时漏<d>升"],
    "loop": ["total = 0\nfor i in range(<d>):\n    total += i * <d>", "x = <n>\nwhile x > <d>:\n    x -= <d>", "n = <n>\nn = n * <d> + <d>", "a = <d>; b = a * a; c = b - <d>", "int s = 0; for (int i = 1; i <= <d>; i++) s += i;"],
    "fact": ["who painted {Guernica|the Night Watch|the Starry Night}", "what {is|was} <place> {known for|famous for}", "which country lies south of {Bolivia|Laos|Sudan|Latvia|Nepal}", "why {do|can} <animal> {sleep so long|find their way|live so long}",
             "who founded {the Red Cross|the city of Rome|the Bauhaus|Nintendo}", "where {does|did} <craft> come from", "when did {the Berlin wall fall|the Hundred Years' War end|Krakatoa erupt|women vote for the first time in New Zealand}"],
    "sum": ["what {is|do you get for} <n> {times|plus|minus} <n>", "how much is <p>% of <N>", "what is the area of a rectangle of <n> by <n>", "solve <d>x + <n> = <N>", "how many {minutes|seconds} are <d> and a half hours", "what is <N> divided by <d>"],
    "write": ["write {a|the} <plang> {code|function|program} that <job>", "give me a {shell command|one-liner} that <job>", "show {how to|how I can} do {that|it} in <plang> {code|with an example program}", "implement <algoname> in <plang>"],
    "zfact": ["<zplace>{在哪里|以什么闻名}", "谁{画了《格尔尼卡》|创立了红十字会|写了《史记》|发明了印刷术}", "{刺猬|候鸟|骆驼|蜜蜂}为什么{冬眠|迁徙|能忍耐干旱|会跳舞}"],
    "zsum": ["<n>乘以<n>是多少", "<N>的<p>%是多少", "解方程<d>x+<n>=<N>", "长<n>米、宽<d>米的院子面积多大"],
    "zwrite": ["用<zlan>写一个程序<zjob>", "给我一段<zlan>代码，<zjob>", "写个脚本<zjob>"],
}

PLAIN_TEXTS = {
    "code": ["{Could someone post|I'd like|Looking for} {a snippet|some code|a small tool} in <plang> that <job>{.|, thanks|}", "My <plang> build {breaks|fails} after upgrading <tool>. {Which setting do I change?|How do I pin the old version?}",
             "<tool>: {how do I|how can one} {limit its memory|run it in the background|quote a path with spaces|see the last error}?", "Draft a <plang> {struct|record|type} for {an invoice|a chess position|a bus timetable} and {a method|a routine} that <job>.",
             "Turn this into <plang>:\n<loop>", "{Shorten|Speed up|Document} the following:\n<loop>", "{What flag|Which option} makes <tool> {print less|follow links|skip hidden files}?", "Our {pipeline|nightly job} needs a {step|hook} which <job>. {Write it in|Use} <plang>.",
             "Spot the bug:\n<loop>\n{It should stop earlier.|The result is off by <d>.}", "{请|}{帮忙|}{用|拿}<zlan>{编一个小工具|写段代码}，能<zjob>", "<zlan>{工程|项目}升级以后编译不过，{该改哪个设置|怎么回退}？"],
    "math": ["{Suppose|Say} <story>. {What comes out in the end|How many are there in all|What does it come to}?", "<who> has $<N> and spends <p>% of it, then $<n>. {What remains|How much is left}?", "{A wheel|A drum} turns <n> times a minute. How often does it turn in <d> hours?",
             "{Split|Divide} <N> in the ratio <d> to <d>.", "{Which number|What} is <d> more than {half|a third} of <N>?", "The {sides|legs} of a right triangle measure <d> and <n>. {Find the hypotenuse.|How long is the third side?}",
             "{Expand|Factor} <d>x^2 + <n>x.", "A die is thrown <d> times. {What is the chance of|How likely is} no six?", "By how many percent is <N> larger than <n>?", "<zstory>，{一共多少|最后剩多少}？", "把<N>按<d>比<d>分成两份，{各是多少|较大的一份是多少}？"],
    "qa": ["{Tell me|I wonder|Do you know} <fact>?", "{Summarise|Describe} {in two sentences |}{the history of|what is special about} <craft>.", "{Are <animal>|Is it true that <animal> are} {dangerous to people|colour blind|afraid of water|kept as pets}?", "What should {a visitor|one} {see|eat|know} {at|near} <place>?",
           "{Recommend|Suggest} {a book|a film|a museum} about <craft>.", "{Compare|What is the difference between} <place> and <place>{.|?}", "What do <animal> {eat|do in winter}?", "{Whose idea was|Who came up with} <craft>?", "{请问|想知道|}<zfact>？", "介绍一下<zplace>{的历史|的气候|}。", "去<zplace>{旅游要注意什么|该带什么}？"],
}

AMBIGUOUS_TEXTS = {
    # Word problems and facts around a request for a program; programs that are asked about.
    "code": ["<story>. {Write|Give me} {a function|a program} in <plang> that {works this out for any numbers|prints the result}{.|}", "{I know that|Given that} {12 times 12 is 144|the square of <n> is known}, but {write|show} the <plang> {code|loop} that computes it.",
             "{First|Before that:} <fact>? {But really|And then} <write>.", "{No need to tell me|Forget about} <sum>; <write>.", "{Put|Store} the {capitals of all countries|planets and their distances|kings of England} {in|into} a {dictionary|table} in <plang> {and look one up|and sort it by name}.",
             "<sum>? {Actually|No,} <write>.", "{Explain|Say} line by line what {this|the following} does, no need for the result:\n<loop>", "{A quiz program|A calculator|A history game} in <plang> {that asks|which prints} {<sum>|<fact>}.",
             "{Solve|Do} {the equation|the problem} <d>x + <n> = <N> {in|with} <plang>{, source only|: show me the code}.", "<zstory>。{用<zlan>写程序求结果|写一个函数，输入任意数字都能算}", "<zfact>？{算了|另外}，<zwrite>。", "不用算<zsum>，<zwrite>。"],
    # Programs and facts around something to be worked out.
    "math": ["<loop>\n{How large is the last value?|What number comes out?|Work out the final value.}", "A {function|program|loop} {takes a number|starts at <n>}, {doubles|triples} it and {adds|subtracts} <d>, <d> times over. {What number does it return|What is the result}{ for <n>|}?",
             "{An array|A list} of <n> {bytes|integers} {grows|is copied} <d> times, each time by <p>%. How {big|long} is it {at the end|then}?", "{A server|A script} handles <n> requests a second. How many {is that in|does it handle in} <d> hours?",
             "{You asked me|Someone asked} <fact>, but {tell me|work out} <sum>?", "{The first emperor ruled|A king reigned|A war lasted} from year <n> to year <N>. {How many years is that|For how long}?", "<write>... no, {wait|leave it}: <sum>?", "{In which year|When} {is|will} someone born in <N> {be|turn} <n>?",
             "How many comparisons does {bubble sort|a linear search|a full bracket check} make {at most|in the worst case} for <n> {items|entries}?", "<place> gets <n> visitors a day at $<d> each. {What does it take in a week|How much money is that in <d> days}?", "一个循环从<d>加到<n>，{结果是多少|最后的和是几}？", "<zwrite>……不，先告诉我<zsum>？", "<zfact>先不管，<zsum>？"],
    # Programs and numbers as topics of what has to be known.
    "qa": ["{Who|Which person} {invented|came up with|first described} <algoname>?", "{Who|Which mathematician} {proved|stated|is named in} <theorem>?", "{In which year|When} {was <softw> {released|introduced}|did <softw> appear}?", "{How many|What number of} <part> {does <thing2> have|are there in <thing2>}?",
           "{Where does|What is} the name <plang> {come from|named after}?", "{Is|Was} <plang> {older|younger} than <plang>?", "{What is|Who owns} <tool> {and who made it|today}?", "{Which company|Who} {is behind|maintains} {<softw>|<tool>|<plang>}?",
           "{How high is|How deep is|How many people live near} <place>?", "{Forget the code|Do not write a program}: <fact>?", "{What is <n> times <n>? More important|Never mind the sum}: <fact>?", "<write>? {No|Rather}: <fact>?", "Why is {zero|pi|the number <d>|a byte} {so special|important in religion|called that}?",
           "{谁|哪位数学家}{发明了|提出了}{快速排序|勾股定理|微积分|图灵机|二进制}？", "<zthing2>有几{个|根|条|张|块}？", "不要写代码，告诉我<zfact>？", "<zlan>这个名字{是怎么来的|有什么含义}？"],
}
# fmt: on


def patterns(rng, texts, label):
    return probe_texts.noise(rng, probe_texts.expand(rng, rng.choice(texts[label]), slots=SLOTS))


def task(rng, label):
    return {"code": tasks_code, "math": tasks_math, "qa": tasks_qa}[label].make_test(1, rng.getrandbits(32))[0][0]


MAKERS = {
    "generated": (GENERATED, lambda rng, label: probe_texts.make(rng, label, "test")),
    "tasks": (TASKS, task),
    "plain": (PLAIN, lambda rng, label: patterns(rng, PLAIN_TEXTS, label)),
    "ambiguous": (AMBIGUOUS, lambda rng, label: patterns(rng, AMBIGUOUS_TEXTS, label)),
}


def make_kind(rng, kind, seen):
    count, maker = MAKERS[kind]
    rows = []
    for label in LABELS:
        made = 0
        while made < count:
            text = maker(rng, label)
            if text not in seen:
                seen.add(text)
                rows.append((kind, label, text))
                made += 1
    return rows


def read_real(folder, seen):
    rows = []
    for source, (name, label, trained) in REAL.items():
        path = os.path.join(folder, name)
        if not os.path.exists(path):
            print(f"{path} is not there: no requests of {source}", file=sys.stderr)
            continue
        with open(path, encoding="utf-8") as lines:
            texts = [r["prompt"] for r in map(json.loads, lines) if r["id"].lower().startswith(source)]
        rows += [("real " + source, label, t) for t in texts[trained:] if t not in seen]
    return rows


def read_handwritten():
    rows = []
    for name in ("handwritten.txt", "handwritten2.txt"):
        label = None
        with open(os.path.join(HERE, "../demo_models", name), encoding="utf-8") as lines:
            for line in lines.read().split("\n"):
                if line.startswith("## "):
                    label = line[3:]
                elif line and not line.startswith("#!"):
                    rows.append(("handwritten", label, line.replace("\\n", "\n")))
    return rows


def deal(rng, rows):
    """One kind's rows to the splits, as evenly as they go; a remainder begins where chance says."""
    rng.shuffle(rows)
    first = rng.randrange(len(SPLITS))
    hands = {name: [] for name in SPLITS}
    for i, row in enumerate(rows):
        hands[SPLITS[(first + i) % len(SPLITS)]].append(row)
    return hands


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--prompts", default=os.path.join(HERE, "../../../shared/prompts"))
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    seen = set()
    kinds = [make_kind(rng, kind, seen) for kind in MAKERS]
    kinds += [read_real(options.prompts, seen), read_handwritten()]
    splits = {name: [] for name in SPLITS}
    for rows in kinds:
        for name, hand in deal(rng, rows).items():
            splits[name] += hand
    os.makedirs(options.folder, exist_ok=True)
    for name, rows in splits.items():
        rng.shuffle(rows)
        with open(os.path.join(options.folder, name + ".jsonl"), "w", encoding="utf-8") as out:
            for i, (kind, label, text) in enumerate(rows):
                row = {"id": f"{name}-{i + 1}", "kind": kind, "intent": label, "prompt": text}
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
        counts = ", ".join(f"{sum(r[1] == label for r in rows)} {label}" for label in LABELS)
        print(f"{name}: {len(rows)} requests ({counts})", file=sys.stderr)


if __name__ == "__main__":
    main()
