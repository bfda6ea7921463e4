"""The report in headless Chromium: no errors, no network, a slider that moves the heat maps, a name for everything that is used or looked at,
readable in light and dark, downloads that other programs can open.

    browser_test.py REPORT.html [--screens DIR]     --screens also saves what it saw
"""
import argparse
import csv
import io
import json
import os
import re
import sys
import xml.etree.ElementTree

from browser import chromium
from playwright.sync_api import TimeoutError, expect

USED_OR_LOOKED_AT = {"button", "link", "checkbox", "radio", "slider", "combobox", "image", "table", "region", "navigation", "figure", "article"}


# Sections with figures, and how many each has at least.
FIGURES = {"cost": 2, "curves": 4, "layers": 8, "heads": 8, "theta": 1, "bands": 2, "rescues": 2}


class Watched:
    """A page with everything that it complained about or asked the network for."""

    def __init__(self, browser, url, scheme="light"):
        self.complaints = []
        self.context = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900}, accept_downloads=True)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.complaints.append(f"console {message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("request", lambda request: request.url.startswith(("file:", "data:", "blob:")) or self.complaints.append(f"request: {request.url}"))
        self.page.goto(url)
        self.page.get_by_role("heading", name="Provenance").wait_for()

    def draw_everything(self):
        """Figures are drawn when they come near the screen; printing draws the rest."""
        self.page.evaluate("dispatchEvent(new Event('beforeprint'))")

    def end(self):
        assert not self.complaints, self.complaints
        self.context.close()


def fills(page):
    """The colours of the first heat map's cells."""
    return page.eval_on_selector_all("#heads figure:first-of-type svg rect", "cells => cells.map(cell => cell.getAttribute('fill'))")


def check_slider(page):
    slider = page.get_by_role("slider", name="Step of training")
    slider.focus()
    slider.press("Home")
    begin, begin_caption = fills(page), page.locator("#heads figure:first-of-type figcaption").inner_text()
    assert len(begin) == 24 and all(begin), begin
    assert begin_caption.startswith("step 1 "), begin_caption
    slider.press("End")
    end, end_caption = fills(page), page.locator("#heads figure:first-of-type figcaption").inner_text()
    assert begin != end, "the heat map does not follow the slider"
    assert begin_caption != end_caption, end_caption
    assert slider.get_attribute("aria-valuetext").startswith("100 % of training"), slider.get_attribute("aria-valuetext")
    slider.press("ArrowLeft")
    assert fills(page) is not None and slider.input_value() == "999"
    play = page.locator("#heads").get_by_role("button", name="Play")
    slider.press("Home")
    play.click()
    expect(slider).to_have_value(re.compile(r"[1-9]\d\d"))
    page.locator("#heads").get_by_role("button", name="Pause").click()
    stopped = slider.input_value()
    assert 100 <= int(stopped) < 1000, stopped
    slider.press("End")


def check_names(watched):
    watched.page.eval_on_selector_all("details", "all => all.forEach(details => { details.open = true; })")
    session = watched.context.new_cdp_session(watched.page)
    session.send("Accessibility.enable")
    seen = {}
    for node in session.send("Accessibility.getFullAXTree")["nodes"]:
        role = node.get("role", {}).get("value", "")
        if node.get("ignored") or role not in USED_OR_LOOKED_AT:
            continue
        name = node.get("name", {}).get("value", "").strip()
        seen.setdefault(role, []).append(name)
    nameless = {role: names.count("") for role, names in seen.items() if "" in names}
    assert not nameless, f"without a name: {nameless}"
    for role in ("button", "link", "checkbox", "radio", "slider", "combobox", "image", "table"):
        assert seen.get(role), f"no {role} on the page: {sorted(seen)}"
    images = watched.page.locator("svg[role=img]").count()
    assert len(seen["image"]) == images, (len(seen["image"]), images)
    return {role: len(names) for role, names in sorted(seen.items())}


def check_figures(page):
    broken = page.evaluate("""() => [...document.querySelectorAll('svg *')].flatMap((node) => [...node.attributes].map((a) => `${node.tagName} ${a.name}=${a.value}`))
        .filter((text) => /NaN|undefined|Infinity/.test(text))""")
    assert not broken, broken[:5]
    for part in ("summary", "leaderboard", "paper", "cost", "curves", "layers", "heads", "theta", "bands", "stops", "rescues", "rungs", "provenance"):
        assert page.locator(f"section#{part}").count() == 1, f"no section {part}"
    for part, least in [*FIGURES.items(), ("stops", 2)]:
        assert page.locator(f"#{part} svg[role=img]").count() >= least, f"{part}: {page.locator(f'#{part} svg[role=img]').count()} figures"


def check_controls(page):
    table = page.get_by_role("table", name="Leaderboard")
    first = lambda: table.locator("tbody tr").first.inner_text()
    best = first()
    table.get_by_role("button", name="perplexity").click()
    assert first() == best
    table.get_by_role("button", name="perplexity").click()
    assert first() != best and table.locator("th[aria-sort=descending]").count() == 1
    curve = page.get_by_role("group", name="Variants in Training loss")
    lines = lambda: page.locator("#curves figure").first.locator("svg path[stroke-width='2']").count()
    before = lines()
    curve.get_by_role("button", name="SM+LN+G").click()
    assert lines() == before - 1
    page.get_by_role("radio", name="the largest observed").check()
    assert "largest entropy observed" in page.locator("#bands h3").first.inner_text()
    page.get_by_role("combobox", name="Show").select_option("SM+R")
    expect(page.locator("#heads figure")).to_have_count(2)
    page.get_by_role("combobox", name="Show").select_option("")


def download(page, button):
    for patience in (10_000, 10_000, 60_000):  # on a busy machine Chromium drops one now and then
        try:
            with page.expect_download(timeout=patience) as got:
                button.click()
            break
        except TimeoutError:
            print("a download did not begin", file=sys.stderr)
    with open(got.value.path(), encoding="utf-8", newline="") as file:
        return got.value.suggested_filename, file.read()


def first_of_each_section(page, name):
    """Chromium refuses a page that saves some twenty files in a row; one of each kind of figure is enough."""
    return [button.first for button in (page.locator(f"#{part}").get_by_role("button", name=name) for part in FIGURES) if button.count() > 0]


def check_tables_saved(page):
    name, text = download(page, page.get_by_role("button", name="Leaderboard as CSV"))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert name == "leaderboard.csv" and len(rows) >= 8 and all(float(row["perplexity_mean"]) > 1 for row in rows[:2]), rows[:2]
    name, text = download(page, page.get_by_role("button", name="All data as JSON"))
    assert name == "report.json" and len(json.loads(text)["runs"]) == 17
    buttons = first_of_each_section(page, "Save as CSV")
    assert len(buttons) == len(FIGURES), len(buttons)
    for button in [*buttons, page.get_by_role("button", name="Rungs as CSV"), page.get_by_role("button", name="Runs as CSV")]:
        name, text = download(page, button)
        rows = list(csv.reader(io.StringIO(text)))
        assert len(rows) > 1 and len({len(row) for row in rows}) == 1, (name, rows[:3])


def check_figures_saved(page):
    buttons = first_of_each_section(page, "Save as SVG")
    assert len(buttons) == len(FIGURES), len(buttons)
    for button in buttons:
        name, text = download(page, button)
        root = xml.etree.ElementTree.fromstring(text)
        assert name.endswith(".svg") and root.tag == "{http://www.w3.org/2000/svg}svg" and root.get("width"), name
        assert "var(" not in text and "color-mix" not in text, f"{name}: only this page knows its colours"


# Contrast as WCAG 2 counts it, for texts on what lies under them.
CONTRAST = """() => {
  const probe = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = (colour) => { probe.clearRect(0, 0, 1, 1); probe.fillStyle = colour; probe.fillRect(0, 0, 1, 1); return [...probe.getImageData(0, 0, 1, 1).data]; };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const under = (node) => { for (let at = node; at; at = at.parentElement) { const colour = rgb(getComputedStyle(at).backgroundColor); if (colour[3] > 250) return colour; } return [255, 255, 255]; };
  const low = [];
  for (const node of document.querySelectorAll('h1, h2, h3, p, td, th, dt, dd, label, button, figcaption, li, a, summary, legend, svg text')) {
    if (!node.textContent.trim() || node.closest('[hidden]') || getComputedStyle(node).opacity !== '1') continue;
    const inBar = node.style.fill;  // a number on a bar of its own colour
    if (inBar) continue;
    const style = getComputedStyle(node);
    const [a, b] = [light(rgb(node instanceof SVGElement ? style.fill : style.color)), light(under(node))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) low.push(`${node.tagName} "${node.textContent.slice(0, 30)}": ${contrast.toFixed(2)}`);
  }
  return low;
}"""


def check_colours(browser, url):
    grounds = {}
    for scheme in ("light", "dark"):
        watched = Watched(browser, url, scheme)
        watched.draw_everything()
        low = watched.page.evaluate(CONTRAST)
        assert not low, f"{scheme}: hard to read: {low[:8]}"
        grounds[scheme] = watched.page.evaluate("getComputedStyle(document.body).backgroundColor")
        watched.end()
    assert grounds["light"] != grounds["dark"], grounds


def check_narrow(browser, url):
    watched = Watched(browser, url)
    watched.page.set_viewport_size({"width": 390, "height": 800})
    wide = watched.page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, f"on a telephone the page is {wide} px too wide"
    watched.end()


def save_screens(browser, url, folder):
    os.makedirs(folder, exist_ok=True)
    for scheme in ("light", "dark"):
        watched = Watched(browser, url, scheme)
        watched.draw_everything()
        watched.page.screenshot(path=os.path.join(folder, f"report-{scheme}.png"), full_page=True)
        watched.end()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("report")
    parser.add_argument("--screens")
    options = parser.parse_args()
    url = "file://" + os.path.abspath(options.report)
    with chromium() as browser:
        if options.screens:
            save_screens(browser, url, options.screens)
            return
        watched = Watched(browser, url)
        watched.draw_everything()
        check_figures(watched.page)
        check_slider(watched.page)
        check_controls(watched.page)
        print("accessible names:", check_names(watched))
        check_tables_saved(watched.page)
        watched.end()
        again = Watched(browser, url)
        again.draw_everything()
        check_figures_saved(again.page)
        again.end()
        check_colours(browser, url)
        check_narrow(browser, url)
    print("report: as it should be")


if __name__ == "__main__":
    main()
