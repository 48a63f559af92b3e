#!/usr/bin/env python3
"""The pages of classgate simulate and load, seen with a real browser: in light and dark, on a phone, in print."""
import base64
import pathlib
import re
import subprocess
import tempfile
import unittest

from browser import Browser
from kit import CLASSGATE, ROOT, Service, clean_environment

WORKLOAD = ROOT / "packaging/examples/workloads/launch-spike.toml"
LOG = ROOT / "tests/planning/library/recorded.log"
# The last of its seconds is not whole.
EVEN = """duration = "6400ms"
[upstream]
service = "30ms"
[[class]]
rate = 50
arrivals = "regular"
clients = 3
"""
SPIKE = ("simulate", "--workload", WORKLOAD)
SMALL = ("simulate", "--workload", "EVEN")
# "EVEN" and "SERVICE" become a file and an address.
PAGES = {
    "run": SPIKE,
    "sweep": (*SPIKE, "--sweep", "workers=10..50:20"),
    "doublings": (*SMALL, "--sweep", "workers=4,8,16,32"),
    "plan": (*SMALL, "--plan", "refused <= 50%", "--plan", "wait p95 <= 20s"),
    "no plan": (*SMALL, "--plan", "answer p50 <= 1ms"),
    "log": ("simulate", "--log", LOG),
    "even": SMALL,
    "load": ("load", "--workload", "EVEN", "--to", "http://SERVICE"),
    "knee": ("load", "--find-knee", "--to", "http://SERVICE"),
}
KNEE_TIMES = (("--time", "6s"), ("--time", "15s"), ("--time", "40s"))

# Every text on the page: how large it is, and how it stands out from what is behind it (WCAG 2.1,
# contrast ratio).
TEXTS = """
(() => {
  const light = colour => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (!/, 0\\)$/.test(colour) && colour !== "transparent") return light(colour);
    }
    return 1;
  };
  const found = [];
  for (const node of document.querySelectorAll("h1, h2, p, b, span, th, td, pre, svg text")) {
    if (!node.textContent.trim()) continue;
    const style = getComputedStyle(node), box = node.getBoundingClientRect();
    const ink = light(node.namespaceURI.endsWith("svg") ? style.fill : style.color), paper = behind(node);
    const matrix = node.namespaceURI.endsWith("svg") ? node.getScreenCTM().a : 1;
    found.push({ text: node.textContent.slice(0, 40), size: parseFloat(style.fontSize) * matrix,
      contrast: (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05), width: box.width, height: box.height });
  }
  return found;
})()
"""
PLOTS = """
[...document.querySelectorAll("figure")].map(figure => ({
  title: figure.querySelector("h2").textContent,
  curves: [...figure.querySelectorAll("path")].filter(p => p.getBoundingClientRect().width > 50).length,
  marks: figure.querySelectorAll("svg text").length,
  names: [...figure.querySelectorAll(".key span")].map(span => span.textContent),
  none: figure.querySelector("p") !== null,
}))
"""
# What has been cut off, or reaches beyond the window. The names of columns stand in each card there.
CUT = """
[...document.querySelectorAll("main *")].filter(e => !e.closest("thead") && !e.closest("svg"))
  .filter(e => e.getBoundingClientRect().right > innerWidth + .5 ||
    (getComputedStyle(e).overflowX !== "visible" && e.scrollWidth > e.clientWidth + 1))
  .map(e => e.tagName + " " + e.textContent.slice(0, 40))
"""
FIGURE = """
(title => {
  const figure = [...document.querySelectorAll("figure")]
    .find(f => f.querySelector("h2").textContent.startsWith(title));
  figure.scrollIntoView({block: "center"});
  const svg = figure.querySelector("svg"), box = svg.getBoundingClientRect();
  return { readout: figure.querySelector("output").textContent, idle: figure.querySelector("output.idle") !== null,
    points: Number(svg.getAttribute("aria-valuemax")) + 1, told: svg.getAttribute("aria-valuetext"),
    bounds: [...svg.querySelectorAll(".bound-name")].map(text => text.textContent),
    key: [...figure.querySelectorAll(".key span")].map(span => span.textContent),
    marks: [...svg.querySelectorAll("text:not(.bound-name)")]
      .map(t => ({ text: t.textContent, x: Number(t.getAttribute("x")) })),
    left: box.left, top: box.top, width: box.width, height: box.height };
})("%s")
"""
CHOOSE = """
[...document.querySelectorAll("figure")].find(f => f.querySelector("h2").textContent.startsWith("%s"))
  .querySelector("svg").focus()
"""
OVERHANG = "document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
PAPER = "getComputedStyle(document.body).backgroundColor"


class PageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="classgate-test-")
        cls.addClassCleanup(folder.cleanup)
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.close)
        even = pathlib.Path(folder.name) / "even.toml"
        even.write_text(EVEN)
        service = Service("--concurrency", "6", "--service-time", "30ms")
        cls.addClassCleanup(service.end)
        cls.pages, cls.told = {}, {}
        for name, words in PAGES.items():
            cls.pages[name] = pathlib.Path(folder.name) / f"{name}.html"
            words = [str(word).replace("SERVICE", service.address) if word != "EVEN" else even for word in words]
            # A knee is told when the machine leaves it the time: else for longer.
            for more in KNEE_TIMES if name == "knee" else [()]:
                done = subprocess.run([CLASSGATE, "--conf", "/dev/null", *words, *more, "--html", cls.pages[name]],
                                      text=True, capture_output=True, env=clean_environment(), timeout=120)
                if done.returncode == 0:
                    break
            assert done.returncode == (2 if name == "no plan" else 0), (name, done.stderr)
            cls.told[name] = done.stdout

    def tearDown(self):
        self.assertEqual(self.browser.complaints, [])

    def check_texts(self, smallest, page="run"):
        texts = self.browser.ask(TEXTS)
        self.assertGreater(len(texts), 3 if page == "no plan" else 5)
        for text in texts:
            self.assertGreaterEqual(text["contrast"], 4.5, text)
            self.assertGreaterEqual(text["size"], smallest, text)
            self.assertGreater(text["width"] * text["height"], 0, text)

    def test_it_draws_what_happened(self):
        self.browser.open(self.pages["run"], 1280, 900)
        plots = {plot["title"]: plot for plot in self.browser.ask(PLOTS)}
        self.assertEqual(len(plots), 6)
        for plot in plots.values():
            self.assertFalse(plot["none"], plot)
            self.assertGreaterEqual(plot["curves"], 1, plot)
            self.assertGreaterEqual(plot["marks"], 6, plot)
        refusals = plots["Refusals by reason (a second)"]
        self.assertTrue({"rate_limited", "queue_full"} & set(refusals["names"]), refusals)
        self.browser.open(self.pages["sweep"], 1280, 900)
        for plot in self.browser.ask(PLOTS):
            self.assertGreaterEqual(plot["curves"], 1, plot)
        self.browser.open(self.pages["plan"], 1280, 900)
        self.assertIn("workers", self.browser.ask("document.body.innerText"))

    def figure(self, title):
        return self.browser.ask(FIGURE % title)

    def test_its_title_says_the_verdict_the_source_and_the_date(self):
        for name, verdict in (("run", r"\d.* % served, \d.* % refused \(mostly rate_limited\)"),
                              ("sweep", "Most is served with workers"), ("plan", "The targets are met with"),
                              ("no plan", "No setting meets the targets"),
                              ("even", "All 319 requests served"), ("load", "All 319 requests served"),
                              ("knee", r"The knee: \d")):
            with self.subTest(page=name):
                self.browser.open(self.pages[name], 1280, 900)
                title = self.browser.ask("document.title")
                self.assertRegex(title, "^" + verdict)
                self.assertRegex(title, r"\d{4}-\d\d-\d\d \d\d:\d\d UTC")
                self.assertRegex(title, r"\.toml|http://")
                self.assertEqual(title.split(" · ")[0], self.browser.ask("document.querySelector('h1').textContent"))
                self.assertGreater(len(self.browser.ask("document.querySelector('.verdict').textContent")), 20)

    def test_values_are_read_with_the_keyboard(self):
        self.browser.open(self.pages["even"], 1280, 900)
        title = "Load by priority"
        self.assertTrue(self.figure(title)["idle"])
        self.browser.ask(CHOOSE % title)
        first = self.figure(title)
        self.assertFalse(first["idle"])
        self.assertRegex(first["readout"], r"^0 s: priority \d (49|50)$")
        self.browser.press("ArrowRight")
        self.assertRegex(self.figure(title)["readout"], "^1 s: ")
        self.browser.press("End")
        self.assertRegex(self.figure(title)["readout"], "^5 s: ")
        self.browser.press("ArrowRight")  # there is no more
        self.browser.press("ArrowLeft")
        now = self.figure(title)
        self.assertRegex(now["readout"], "^4 s: ")
        self.assertEqual(now["told"], now["readout"])  # for those who listen to it
        self.browser.press("Tab")
        self.assertTrue(self.figure(title)["idle"])

    def test_values_are_read_by_pointing(self):
        self.browser.open(self.pages["even"], 1280, 900)
        at = self.figure("Load by priority")
        self.browser.point(at["left"] + at["width"] - 20, at["top"] + at["height"] / 2)
        self.assertRegex(self.figure("Load by priority")["readout"], "^5 s: ")
        self.browser.point(2, 2)
        self.assertTrue(self.figure("Load by priority")["idle"])

    def test_an_unfinished_interval_is_no_dip(self):
        for name in ("even", "load"):
            self.browser.open(self.pages[name], 1280, 900)
            for title in ("Load by priority", "Served by priority"):
                figure = self.figure(title)
                self.assertEqual(figure["points"], 6)
                self.browser.ask(CHOOSE % title)
                self.browser.press("End")
                self.assertGreaterEqual(float(self.figure(title)["readout"].split()[-1]), 47, figure)

    def test_limits_and_targets_are_lines(self):
        self.browser.open(self.pages["run"], 1280, 900)
        self.assertEqual(self.figure("Workers in use")["bounds"], ["workers"])
        self.assertEqual(self.figure("Load by priority")["bounds"], ["rate"])
        self.assertIn("queue_size: 1000, far above", self.figure("Queue by priority")["key"])
        self.browser.open(self.pages["plan"], 1280, 900)
        self.assertEqual(self.browser.ask("document.querySelectorAll('figure .bound').length"), 2)
        self.assertIn("[admission]\nworkers = ", self.browser.ask("document.querySelector('pre').textContent"))

    def test_a_log_is_shown_by_its_own_clock(self):
        self.browser.open(self.pages["log"], 1280, 900)
        title = "Load by priority"
        marks = [mark["text"] for mark in self.figure(title)["marks"]]
        self.assertIn("14:54:30", marks)
        self.browser.ask(CHOOSE % title)
        self.assertTrue(self.figure(title)["readout"].startswith("2026-11-25 14:54:28: "), self.figure(title))

    def test_the_knee_is_marked_and_has_its_conf(self):
        self.browser.open(self.pages["knee"], 1280, 900)
        figure = self.figure("Answers by requests at once")
        self.assertEqual(set(figure["bounds"]), {"knee", "at most"})
        told = self.told["knee"]
        self.assertEqual(self.browser.ask("document.querySelector('pre').textContent").strip(),
                         told[told.index("# A conf"):].strip())

    def test_doublings_stand_evenly(self):
        self.browser.open(self.pages["doublings"], 1280, 900)
        marks = {mark["text"]: mark["x"] for mark in self.figure("Served by workers")["marks"]}
        apart = [marks[b] - marks[a] for a, b in (("4", "8"), ("8", "16"), ("16", "32"))]
        self.assertGreater(min(apart), 50)
        self.assertLess(max(apart) - min(apart), 12)  # those at the edges are moved in

    def test_tables_are_in_groups(self):
        self.browser.open(self.pages["run"], 1280, 900)
        groups = self.browser.ask("[...document.querySelectorAll('th.group')].map(th => th.textContent)")
        self.assertEqual(groups[:2], ["by priority", "by class"])
        self.assertRegex(groups[2], r"^by client, the busiest 10 of \d+$")

    def test_nothing_is_cut_off_at_390_pixels(self):
        for name, page in self.pages.items():
            with self.subTest(page=name):
                self.browser.open(page, 390, 844)
                self.assertLessEqual(self.browser.ask("document.scrollingElement.scrollWidth"), 390)
                self.assertEqual(self.browser.ask(CUT), [])

    def test_it_needs_no_network(self):
        del self.browser.requests[:]
        self.browser.open(self.pages["run"], 1280, 900)
        self.assertEqual([url for url in self.browser.requests if not url.startswith("file://")], [])
        self.assertEqual(len(self.browser.requests), 1)

    def test_it_is_read_by_day_and_by_night(self):
        papers = {}
        for scheme in ("light", "dark"):
            for page in self.pages.values():
                with self.subTest(scheme=scheme, page=page.name):
                    self.browser.open(page, 1280, 900, scheme)
                    self.check_texts(10, page.stem)
                    self.assertLessEqual(self.browser.ask(OVERHANG), 0)
                    papers[scheme] = sum(map(int, re.findall(r"\d+", self.browser.ask(PAPER))[:3]))
        self.assertGreater(papers["light"], 700)
        self.assertLess(papers["dark"], 100)

    def test_it_is_read_on_a_phone(self):
        for page in self.pages.values():
            with self.subTest(page=page.name):
                self.browser.open(page, 360, 740)
                self.assertLessEqual(self.browser.ask(OVERHANG), 0)
                self.check_texts(8.5, page.stem)
                # Plots stand below each other.
                lefts = self.browser.ask("[...new Set([...document.querySelectorAll('figure')].map("
                                         "f => Math.round(f.getBoundingClientRect().left)))].length")
                self.assertLessEqual(lefts, 1)

    def test_it_is_read_on_paper(self):
        # Somebody who works in the dark prints in ink.
        self.browser.open(self.pages["run"], 794, 1123, "dark", "print")
        self.check_texts(smallest=5)
        self.assertEqual(self.browser.ask(PAPER), "rgb(255, 255, 255)")
        self.assertLessEqual(self.browser.ask(OVERHANG), 0)
        pdf = base64.b64decode(self.browser.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)["data"])
        self.assertTrue(pdf.startswith(b"%PDF-"))
        pages = len(re.findall(rb"/Type\s*/Page\b", pdf))
        self.assertGreaterEqual(pages, 1)
        self.assertLessEqual(pages, 4)


if __name__ == "__main__":
    unittest.main()
