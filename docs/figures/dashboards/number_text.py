"""Values as a person reads them, and round places for an axis."""
import datetime
import math


def short(value):
    """Three figures, with k, M, G or T: 65.5k."""
    if not math.isfinite(value):
        return {math.inf: "inf", -math.inf: "-inf"}.get(value, "nan")
    size = abs(value)
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= limit:
            return f"{value / limit:.3g}{letter}"
    if size and size < 1e-3:
        return f"{value:.1e}"
    return f"{value:.3g}"


def seconds(value):
    if not math.isfinite(value):
        return "-"
    if value == 0:
        return "0s"
    for limit, unit in ((60, ""), (1, "s"), (1e-3, "ms"), (0, "µs")):
        if abs(value) >= limit:
            return f"{value / 60:.3g}min" if not unit else f"{value / (limit or 1e-6):.3g}{unit}"
    return "0s"


def text(value, unit):
    """In Grafana's unit."""
    if not math.isfinite(value) and unit in ("percentunit", "dateTimeAsIso"):
        return "-"
    if unit == "percentunit":
        return f"{100 * value:.0f} %"
    if unit == "s":
        return seconds(value)
    if unit == "bytes":
        return short(value) + "B"
    if unit == "ops":
        return short(value) + "/s"
    if unit == "sci":
        return f"{value:.1e}"
    if unit == "dateTimeAsIso":
        return datetime.datetime.fromtimestamp(value / 1000, datetime.timezone.utc).strftime("%H:%M:%S")
    return short(value)


def ticks(low, high, count=4):
    """Round values from low to high."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw)
    first = math.ceil(low / step - 1e-9)
    return [step * place for place in range(first, math.floor(high / step + 1e-9) + 1)]


def clock(offset_s):
    """Since the start: 45s, 2:30, 1:05:00."""
    minutes, rest = divmod(round(offset_s), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{minutes}:{rest:02d}" if minutes else f"{rest}s"


def time_ticks(span_s):
    """At most seven round offsets."""
    step = next(step for step in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400) if span_s <= 7 * step or step == 86400)
    return [step * place for place in range(int(span_s // step) + 1)]
