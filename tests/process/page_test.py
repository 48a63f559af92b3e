#!/usr/bin/env python3
"""The page of classgate simulate, seen with a real browser: in light and dark, on a phone, in print."""
import base64
import pathlib
import re
import subprocess
import tempfile
import unittest

from browser import Browser
from kit import CLASSGATE, ROOT, clean_environment

WORKLOAD = ROOT / "packaging/examples/workloads/launch-spike.toml"
PAGES = {
    "run": (),
    "sweep": ("--sweep", "workers=10..50:20"),
    "plan": ("--plan", "refused <= 50%"),
}

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
OVERHANG = "document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
PAPER = "getComputedStyle(document.body).backgroundColor"


class PageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="classgate-test-")
        cls.addClassCleanup(folder.cleanup)
        cls.pages = {}
        for name, options in PAGES.items():
            cls.pages[name] = pathlib.Path(folder.name) / f"{name}.html"
            subprocess.run([CLASSGATE, "--conf", "/dev/null", "simulate", "--workload", WORKLOAD,
                            "--html", cls.pages[name], *options], check=True, capture_output=True,
                           env=clean_environment(), timeout=120)
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.close)

    def tearDown(self):
        self.assertEqual(self.browser.complaints, [])

    def check_texts(self, smallest):
        texts = self.browser.ask(TEXTS)
        self.assertGreater(len(texts), 5)
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
                    self.check_texts(smallest=10)
                    self.assertLessEqual(self.browser.ask(OVERHANG), 0)
                    papers[scheme] = sum(map(int, re.findall(r"\d+", self.browser.ask(PAPER))[:3]))
        self.assertGreater(papers["light"], 700)
        self.assertLess(papers["dark"], 100)

    def test_it_is_read_on_a_phone(self):
        for page in self.pages.values():
            with self.subTest(page=page.name):
                self.browser.open(page, 360, 740)
                self.assertLessEqual(self.browser.ask(OVERHANG), 0)
                self.check_texts(smallest=8.5)
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
