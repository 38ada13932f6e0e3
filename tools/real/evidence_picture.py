"""The frontier as SVG: accuracy against the time of an answer, a panel for each way of counting. Any mixture of two points
lies on the straight line between them: time adds up, speed does not. Python's standard library."""

import html

COLUMNS = 2
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 460, 380, 52, 34, 16, 44
COLOURS = ("#1c6dd0", "#c2410c", "#15803d", "#7c3aed", "#b91c1c", "#0f766e", "#a16207", "#475569", "#be185d", "#334155")


def ticks(low, high):
    step = next(s for s in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if (high - low) / s <= 7)
    first = -int(-low // step)
    return [step * i for i in range(first, int(high // step) + 1)]


class Panel:
    def __init__(self, number, title, points, curve):
        times = [x for _, x, _ in points] + [x for x, _ in curve]
        shares = [y for _, _, y in points] + [y for _, y in curve]
        margin = 0.06 * (max(shares) - min(shares) or 1)
        self.x0, self.y0 = WIDTH * (number % COLUMNS), HEIGHT * (number // COLUMNS)
        self.title, self.points, self.curve = title, points, curve
        self.ms = (min(times) - 0.04, max(times) + 0.04)
        self.good = (min(shares) - margin, max(shares) + margin)

    def at(self, time, share):
        x = LEFT + (WIDTH - LEFT - RIGHT) * (time - self.ms[0]) / (self.ms[1] - self.ms[0])
        y = TOP + (HEIGHT - TOP - BOTTOM) * (self.good[1] - share) / (self.good[1] - self.good[0])
        return self.x0 + x, self.y0 + y

    def axes(self):
        yield f'<text x="{self.x0 + LEFT}" y="{self.y0 + 18}" font-weight="bold">{html.escape(self.title)}</text>'
        for time in ticks(*self.ms):
            x, y = self.at(time, self.good[0])
            yield f'<text x="{x:.1f}" y="{y + 15:.1f}" text-anchor="middle">{time:.2g}</text>'
            yield f'<path d="M{x:.1f} {self.y0 + TOP}V{y:.1f}" class="grid"/>'
        for share in ticks(*self.good):
            x, y = self.at(self.ms[0], share)
            yield f'<text x="{x - 5:.1f}" y="{y + 4:.1f}" text-anchor="end">{share:g}</text>'
            yield f'<path d="M{x:.1f} {y:.1f}H{self.x0 + WIDTH - RIGHT}" class="grid"/>'
        yield (
            f'<text x="{self.x0 + WIDTH / 2}" y="{self.y0 + HEIGHT - 8}" text-anchor="middle">'
            "right, % (up), by the time of an answer, the large model's = 1</text>"
        )

    def line(self, places, style):
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in (self.at(*p) for p in places))
        return f'<path d="M{path}" fill="none" {style}/>'

    def marks(self):
        ends = [p[1:] for p in self.points if p[0] in ("small", "large")]
        yield self.line(ends, 'stroke="#94a3b8" stroke-dasharray="4 3"')
        if self.curve:
            yield self.line(self.curve, 'stroke="#1c6dd0" stroke-width="2"')
        key_x, key_y = self.x0 + WIDTH - RIGHT - 200, self.y0 + HEIGHT - BOTTOM - 13 * len(self.points)
        for number, ((name, time, share), colour) in enumerate(zip(self.points, COLOURS), 1):
            x, y = self.at(time, share)
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
            yield f'<text x="{x + 6:.1f}" y="{y - 5:.1f}" fill="{colour}">{number}</text>'
            yield (
                f'<text x="{key_x:.1f}" y="{key_y + 13 * number - 6:.1f}" fill="{colour}">'
                f"{number} {html.escape(name)}</text>"
            )


def draw(panels):
    """`panels`: (title, [(name, time, share)], [(time, share) of the success rule's curve])."""
    rows = (len(panels) + COLUMNS - 1) // COLUMNS
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {COLUMNS * WIDTH} {rows * HEIGHT}" '
        'font-family="system-ui, sans-serif" font-size="11">',
        "<style>.grid{stroke:#e2e8f0}</style>",
        f'<rect width="{COLUMNS * WIDTH}" height="{rows * HEIGHT}" fill="#fff"/>',
    ]
    for number, panel in enumerate(panels):
        drawn = Panel(number, *panel)
        parts += [*drawn.axes(), *drawn.marks()]
    return "\n".join(parts + ["</svg>", ""])
