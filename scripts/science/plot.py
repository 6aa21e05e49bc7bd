"""Small SVG plots: curves, and points with intervals."""
import math
from html import escape

COLOURS = ["#1b6ca8", "#c8553d", "#3d8b5f", "#8e5ea2", "#b58900", "#555555", "#d81b7a"]
WIDTH, HEIGHT = 720, 380
LEFT, RIGHT, TOP, BOTTOM = 70, 210, 40, 50


def number(value):
    return f"{value:.1f}".rstrip("0").rstrip(".")


def ticks(low, high, count=6):
    """Round values in low...high."""
    step = 10 ** math.floor(math.log10((high - low) / count))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= count)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def decades(low, high):
    return [10**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def shown(value):
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    if value >= 1e3:
        return f"{value / 1e3:g}k"
    return f"{value:g}"


class Plot:
    def __init__(self, title, x_title, y_title, x_range, y_range, logarithmic=False):
        self.parts = []
        self.logarithmic = logarithmic
        if logarithmic:
            x_ticks, y_ticks = decades(*x_range), decades(*y_range)
            x_range, y_range = (x_ticks[0], x_ticks[-1]), (y_ticks[0], y_ticks[-1])
        else:
            x_ticks, y_ticks = ticks(*x_range), ticks(*y_range)
        self.x_range, self.y_range = x_range, y_range
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        for value in x_ticks:
            x = self.x(value)
            self.line(x, TOP, x, bottom, "#dddddd")
            self.text(x, bottom + 18, shown(value), "middle")
        for value in y_ticks:
            y = self.y(value)
            self.line(LEFT, y, right, y, "#dddddd")
            self.text(LEFT - 8, y + 4, shown(value), "end")
        self.text((LEFT + right) / 2, HEIGHT - 12, x_title, "middle")
        self.text(LEFT, 20, title, "start", "bold")
        middle = (TOP + bottom) / 2
        self.parts.append(
            f'<text x="18" y="{number(middle)}" text-anchor="middle" transform="rotate(-90 18 {number(middle)})">'
            f"{escape(y_title)}</text>")

    def _scaled(self, value, ends):
        if self.logarithmic:
            value, ends = math.log10(value), [math.log10(end) for end in ends]
        return (value - ends[0]) / (ends[1] - ends[0])

    def x(self, value):
        return LEFT + (WIDTH - LEFT - RIGHT) * self._scaled(value, self.x_range)

    def y(self, value):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * self._scaled(value, self.y_range)

    def line(self, x1, y1, x2, y2, colour, width=1):
        self.parts.append(
            f'<line x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}" stroke="{colour}" '
            f'stroke-width="{width}"/>')

    def text(self, x, y, text, anchor, weight="normal"):
        self.parts.append(
            f'<text x="{number(x)}" y="{number(y)}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>')

    def circle(self, x, y, colour):
        self.parts.append(f'<circle cx="{number(x)}" cy="{number(y)}" r="3.5" fill="{colour}"/>')

    def curve(self, index, name, points, marks=False):
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join(f"{number(self.x(x))},{number(self.y(y))}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        if marks:
            for x, y in points:
                self.circle(self.x(x), self.y(y), colour)
        y = TOP + 12 + 20 * index
        self.line(WIDTH - RIGHT + 12, y - 4, WIDTH - RIGHT + 32, y - 4, colour, 3)
        self.text(WIDTH - RIGHT + 38, y, name, "start")

    def svg(self):
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
            f'font-size="12">\n<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n' + "\n".join(self.parts) + "\n</svg>\n")


def curves(title, x_title, y_title, series, logarithmic=False):
    """series: name and points [(x, y)] of each curve."""
    xs = [x for _, points in series for x, _ in points]
    ys = [y for _, points in series for _, y in points]
    low, high = min(ys), max(ys)
    if not logarithmic:
        low, high = low - 0.03 * (high - low or 1), high + 0.03 * (high - low or 1)
    plot = Plot(title, x_title, y_title, (min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1), (low, high), logarithmic)
    for index, (name, points) in enumerate(series):
        plot.curve(index, name, points, logarithmic)
    return plot.svg()


def differences(title, x_title, rows):
    """rows: name, difference, and half of its interval or None: a point each, above one another, with a line at zero."""
    ends = [0.0]
    for _, middle, half in rows:
        ends += [middle - (half or 0), middle + (half or 0)]
    margin = 0.05 * (max(ends) - min(ends) or 1)
    plot = Plot(title, x_title, "", (min(ends) - margin, max(ends) + margin), (0, 1))
    # The names take the place of the vertical axis.
    plot.parts = [part for part in plot.parts if 'text-anchor="end"' not in part and f'x1="{LEFT}"' not in part]
    zero = plot.x(0)
    plot.line(zero, TOP, zero, HEIGHT - BOTTOM, "#333333", 1.5)
    for index, (name, middle, half) in enumerate(rows):
        y = TOP + (index + 0.5) * (HEIGHT - TOP - BOTTOM) / len(rows)
        colour = COLOURS[index % len(COLOURS)]
        if half is not None:
            plot.line(plot.x(middle - half), y, plot.x(middle + half), y, colour, 2)
        plot.circle(plot.x(middle), y, colour)
        plot.text(WIDTH - RIGHT + 12, y + 4, name, "start")
    return plot.svg()
