"""How long headless Chromium takes to open a report: report_load.py REPORT.html [TIMES]

Times are from the beginning of the navigation, on a fresh browser each: the page's script done (the whole page can be read and used; figures are
drawn when they come near the screen), the first contents painted, and the first frame after all that.
"""
import os
import statistics
import sys

from browser import chromium

# Two frames later everything that was asked for before has been painted.
MEASURE = """() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
  const navigation = performance.getEntriesByType('navigation')[0];
  const paint = performance.getEntriesByName('first-contentful-paint')[0];
  done({script: navigation.domContentLoadedEventEnd, painted: paint ? paint.startTime : NaN, quiet: performance.now()});
})))"""


def open_once(url):
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(url)
        return page.evaluate(MEASURE)


def main():
    path = os.path.abspath(sys.argv[1])
    times = [open_once("file://" + path) for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 5)]
    print(f"{os.path.getsize(path) / 1e6:.2f} MB")
    for key, text in (("script", "page usable"), ("painted", "first contents painted"), ("quiet", "first frame after that")):
        values = [time[key] for time in times]
        print(f"{text:24} median {statistics.median(values):6.0f} ms, {min(values):.0f} to {max(values):.0f} ms over {len(values)} openings")


if __name__ == "__main__":
    main()
