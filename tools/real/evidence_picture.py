"""The frontier as SVG: accuracy against tokens a second, a panel for each way of counting. Python's standard library."""
import html

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 460, 380, 52, 34, 16, 44
COLOURS = ("#1c6dd0", "#c2410c", "#15803d", "#7c3aed", "#b91c1c", "#0f766e", "#a16207", "#475569", "#be185d", "#334155")


def ticks(low, high):
    step = next(s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if (high - low) / s <= 7)
    first = -int(-low // step)
    return [step * i for i in range(first, int(high // step) + 1)]


class Panel:
    def __init__(self, number, title, points, curve):
        speeds = [x for _, x, _ in points] + [x for x, _ in curve]
        shares = [y for _, _, y in points] + [y for _, y in curve]
        margin = 0.06 * (max(shares) - min(shares) or 1)
        self.x0, self.title, self.points, self.curve = number * WIDTH, title, points, curve
        self.fast = (0.94 * min(speeds), 1.05 * max(speeds))
        self.good = (min(shares) - margin, max(shares) + margin)

    def at(self, speed, share):
        x = LEFT + (WIDTH - LEFT - RIGHT) * (speed - self.fast[0]) / (self.fast[1] - self.fast[0])
        y = TOP + (HEIGHT - TOP - BOTTOM) * (self.good[1] - share) / (self.good[1] - self.good[0])
        return self.x0 + x, y

    def axes(self):
        yield f'<text x="{self.x0 + LEFT}" y="18" font-weight="bold">{html.escape(self.title)}</text>'
        for speed in ticks(*self.fast):
            x, y = self.at(speed, self.good[0])
            yield f'<text x="{x:.1f}" y="{y + 15:.1f}" text-anchor="middle">{speed:g} ×</text>'
            yield f'<path d="M{x:.1f} {TOP}V{y:.1f}" class="grid"/>'
        for share in ticks(*self.good):
            x, y = self.at(self.fast[0], share)
            yield f'<text x="{x - 5:.1f}" y="{y + 4:.1f}" text-anchor="end">{share:g}</text>'
            yield f'<path d="M{x:.1f} {y:.1f}H{self.x0 + WIDTH - RIGHT}" class="grid"/>'
        yield (f'<text x="{self.x0 + WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">'
               "answers a second, the large model's = 1; right, % (up)</text>")

    def line(self, places, style):
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in (self.at(*p) for p in places))
        return f'<path d="M{path}" fill="none" {style}/>'

    def marks(self):
        ends = [p[1:] for p in self.points if p[0] in ("small", "large")]
        yield self.line(ends, 'stroke="#94a3b8" stroke-dasharray="4 3"')
        if self.curve:
            yield self.line(self.curve, 'stroke="#1c6dd0" stroke-width="2"')
        taken = []
        for (name, speed, share), colour in zip(self.points, COLOURS):
            x, y = self.at(speed, share)
            label_y = y + 4
            while any(abs(label_y - other) < 12 and abs(x - at) < 170 for at, other in taken):
                label_y += 12
            taken.append((x, label_y))
            side = ("end", x - 8) if x > self.x0 + 0.6 * WIDTH else ("start", x + 8)
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
            yield (f'<text x="{side[1]:.1f}" y="{label_y:.1f}" text-anchor="{side[0]}" fill="{colour}">'
                   f"{html.escape(name)}</text>")


def draw(panels):
    """`panels`: (title, [(name, speed, share)], [(speed, share) of the success rule's curve])."""
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH * len(panels)} {HEIGHT}" '
             'font-family="system-ui, sans-serif" font-size="11">',
             '<style>.grid{stroke:#e2e8f0}text{fill:#1c2430}</style>',
             f'<rect width="{WIDTH * len(panels)}" height="{HEIGHT}" fill="#fff"/>']
    for number, panel in enumerate(panels):
        drawn = Panel(number, *panel)
        parts += [*drawn.axes(), *drawn.marks()]
    return "\n".join(parts + ["</svg>", ""])
