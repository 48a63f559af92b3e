#!/usr/bin/env python3
"""The operators' page for who has no mouse, sees little contrast, has it read out, or prints it."""
import base64
import os
import pathlib
import unittest

import dashboard_test

TEXTS = """(() => {
  const channels = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length > 3 ? n : [...n, 1]; };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const light = colour => { const [r, g, b] = colour.map(c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const paper = node => { const above = [];
    for (let at = node; at; at = at.parentElement) above.push(channels(getComputedStyle(at).backgroundColor));
    return above.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]); };
  const bad = new Map(); let seen = 0;
  const judge = (node, text, colour) => {
    const below = paper(node), above = over(channels(colour), below), a = light(above), b = light(below);
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    ++seen;
    if (contrast < 4.5) bad.set(`${node.tagName}.${node.getAttribute("class") || ""}: ${text.slice(0, 30)}`, contrast.toFixed(2));
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement, text = walk.currentNode.textContent.trim();
    if (!text || ["SCRIPT", "STYLE", "NOSCRIPT", "OPTION"].includes(node.tagName) || !node.getClientRects().length) continue;
    const style = getComputedStyle(node);
    judge(node, text, node.namespaceURI.endsWith("svg") ? style.fill : style.color);
  }
  for (const node of document.querySelectorAll("input, select"))
    if (node.getClientRects().length) judge(node, node.id || node.tagName, getComputedStyle(node).color);
  return { seen, bad: [...bad] };
})()"""

CUT = """(() => {
  const page = document.scrollingElement.clientWidth, cut = [];
  for (const node of document.querySelectorAll("body *")) {
    if (!node.getClientRects().length || node.closest(".skip") || node.closest("svg")) continue;
    const style = getComputedStyle(node), box = node.getBoundingClientRect();
    const hides = style.overflowX !== "visible" && node.scrollWidth > node.clientWidth + 1 && node.tagName !== "INPUT";
    const hides_below = style.overflowY !== "visible" && node.scrollHeight > node.clientHeight + 1 && node.tagName !== "INPUT";
    if (hides || hides_below || box.right > page + 1 || box.left < -1) cut.push(`${node.tagName}.${node.getAttribute("class") || ""} `
      + `${Math.round(box.left)} to ${Math.round(box.right)} of ${page}, ${node.scrollWidth} in ${node.clientWidth}`);
  }
  return cut;
})()"""

FOCUS = """(() => {
  const node = document.activeElement;
  if (node === document.body) return null;
  const every = [...document.querySelectorAll("a[href], button, input, select, summary, [tabindex]")];
  const box = node.getBoundingClientRect(), style = getComputedStyle(node);
  return { place: every.indexOf(node), what: node.tagName + " " + (node.id || node.getAttribute("aria-label") || node.textContent).slice(0, 40),
    is_seen: box.width > 0 && box.height > 0 && box.right > 0 && box.bottom > 0 && box.left < innerWidth && box.top < innerHeight,
    is_marked: style.outlineStyle !== "none" || node.classList.contains("skip") };
})()"""
REACHED = """[...document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")]
  .filter(node => node.getClientRects().length && !node.disabled).length"""

OPERATED = {"button", "link", "textbox", "searchbox", "combobox", "checkbox", "radio", "slider", "switch", "tab", "menuitem",
            "option", "listbox", "spinbutton", "DisclosureTriangle"}


class PageForAll(dashboard_test.Dashboard):
    def setUp(self):
        super().setUp()
        for _ in range(2):
            self.refuse_one()
        self.port = self.with_history()

    def each_view(self, width=1280, scheme="light"):
        self.look("now", self.port, width, scheme)
        for view in self.browser.ask("Object.keys(views)") + ["login"]:
            self.look(view, self.port, width, scheme)
            self.see("store.now.time > 0 && document.getElementById('main').children.length > 0 && "
                     "(location.hash !== '#now' || document.querySelector('.tile')) && "
                     "(location.hash === '#login' || document.getElementById('main').innerText.length > 20)", view)
            yield view

    def key(self, name, code, text=None):
        shared = {"key": name, "code": name, "windowsVirtualKeyCode": code}
        self.browser.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **shared,
                          **({"text": text} if text else {}))
        self.browser.call("Input.dispatchKeyEvent", type="keyUp", **shared)

    def nodes(self):
        self.browser.call("Accessibility.enable")
        said = self.browser.call("Accessibility.getFullAXTree")["nodes"]
        return [{"role": node["role"]["value"], "name": node.get("name", {}).get("value", ""),
                 "id": node["nodeId"], "children": node.get("childIds", []),
                 **{one["name"]: one["value"].get("value") for one in node.get("properties", [])}}
                for node in said if not node.get("ignored")]

    def test_every_text_has_a_contrast_of_four_and_a_half_by_day_and_by_night(self):
        for scheme in ("light", "dark"):
            for view in self.each_view(scheme=scheme):
                said = self.browser.ask(TEXTS)
                self.assertGreater(said["seen"], 10, view)
                self.assertEqual(said["bad"], [], (view, scheme))

    def test_contrast_is_measured(self):
        self.look("conf", self.port)
        self.see("document.querySelectorAll('td').length > 20", "the conf")
        self.browser.ask("document.querySelector('td').style.color = '#999'")
        self.assertEqual(len(self.browser.ask(TEXTS)["bad"]), 1)

    def test_on_paper_nothing_is_cut(self):
        for scheme in ("light", "dark"):
            for view in self.each_view(scheme=scheme):
                self.browser.call("Emulation.setEmulatedMedia", media="print",
                                  features=[{"name": "prefers-color-scheme", "value": scheme}])
                self.browser.call("Emulation.setDeviceMetricsOverride", width=718, height=1000, deviceScaleFactor=1,
                                  mobile=False)  # A4 but for its margins, at 96 dpi
                self.assertEqual(self.browser.ask(CUT), [], view)
                self.assertEqual(self.browser.ask(TEXTS)["bad"], [], (view, scheme))
                self.assertEqual(self.browser.ask("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)")
                self.assertTrue(self.browser.ask("document.getElementById('verdict').getClientRects().length > 0"))
                if view == "now":
                    printed = self.browser.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)
                    self.assertTrue(base64.b64decode(printed["data"]).startswith(b"%PDF-"))

    def test_whatever_is_cut_on_paper_is_found(self):
        self.look("conf", self.port)
        self.see("document.querySelectorAll('td').length > 20", "the conf")
        self.browser.ask("document.querySelector('.scroll').style.cssText = 'width: 200px; overflow: auto'")
        self.assertNotEqual(self.browser.ask(CUT), [])

    def test_the_keyboard_leads_through_all_of_every_view_and_sees_where_it_is(self):
        for view in self.each_view():
            self.browser.ask("document.querySelector('.skip').focus()")  # a form may have taken it
            places = [0]
            expected = self.browser.ask(REACHED)
            for _ in range(expected + 20):
                self.key("Tab", 9)
                at = self.browser.ask(FOCUS)
                if at is None or at["place"] in places[:1]:  # behind the last comes the browser, or the first again
                    break
                self.assertTrue(at["is_seen"] and at["is_marked"], (view, at))
                places.append(at["place"])
            self.assertEqual(places, sorted(set(places)), view)
            self.assertGreaterEqual(len(places), expected - 1, view)

    def test_views_are_changed_by_keys_alone_and_the_way_to_the_content_is_short(self):
        self.look("now", self.port)
        self.see("document.querySelector('.tile') !== null", "the view")
        self.key("Tab", 9)
        self.assertEqual(self.browser.ask("document.activeElement.className"), "skip")
        self.key("Enter", 13, "\r")
        self.see("document.activeElement.id === 'main' || location.hash === '#main'", "the content")
        views = self.browser.ask("Object.keys(views)")
        for view in views[1:]:
            self.browser.ask(f"document.querySelector('nav a[href=\"#{view}\"]').focus()")
            self.key("Enter", 13, "\r")
            self.see(f"document.querySelector('nav a[aria-current]').getAttribute('href') === '#{view}'", view)
            self.see(f"document.activeElement.getAttribute('href') === '#{view}' || document.activeElement.id === 'main'",
                     "to be where one was, or in the view")

    def test_who_stands_in_what_is_renewed_each_second_stays_there(self):
        self.look("now", self.port)
        self.see("document.querySelector('#main .scroll') !== null", "a table")
        self.browser.ask("document.querySelector('#main .scroll').focus()")
        self.browser.ask("window.renewals = 0, store.listeners.push(() => { ++window.renewals; })")
        self.refuse_one()
        self.see("window.renewals >= 2", "two renewals")
        self.assertEqual(self.browser.ask("document.activeElement.className"), "scroll")

    def test_all_that_can_be_operated_has_a_name_and_all_that_is_read_out_has_its_role(self):
        for view in self.each_view():
            nodes = self.nodes()
            by_id = {node["id"]: node for node in nodes}
            unnamed = [node for node in nodes if not node["name"].strip() and
                       (node["role"] in OPERATED or (node.get("focusable") and node["role"] not in ("RootWebArea", "main")))]
            self.assertEqual(unnamed, [], view)
            roles = [node["role"] for node in nodes]
            for role in ("banner", "navigation", "main", "contentinfo"):
                self.assertEqual(roles.count(role), 1, role)
            self.assertGreaterEqual(sum(node.get("live") == "polite" for node in nodes), 2)
            last = 0
            for node in nodes:
                if node["role"] == "heading":
                    self.assertLessEqual(node["level"], last + 1, node)
                    last = node["level"]
            self.assertGreaterEqual(last, 1)

            def below(node):
                for child in node["children"]:
                    if child in by_id:
                        yield by_id[child]
                        yield from below(by_id[child])
            for table in (node for node in nodes if node["role"] == "table"):
                self.assertTrue(table["name"], view)
                self.assertIn("columnheader", [node["role"] for node in below(table)])
            titles = self.browser.ask("[document.title, document.documentElement.lang]")
            self.assertTrue(all(titles), titles)

    @unittest.skipUnless(os.environ.get("CLASSGATE_AXE"), "Debian has no axe-core: CLASSGATE_AXE names its axe.min.js")
    def test_axe_finds_no_violation(self):
        axe = pathlib.Path(os.environ["CLASSGATE_AXE"]).read_text()
        for width, scheme in ((1280, "light"), (1280, "dark"), (390, "light")):
            for view in self.each_view(width, scheme):
                if view == "why":
                    self.browser.ask("document.getElementById('explain').click()")
                    self.see("document.querySelector('.answer') !== null", "what would become of a request")
                self.browser.ask(axe + "; null")
                found = self.browser.ask("axe.run().then(said => said.violations.map(one => "
                                         "[one.id, one.help, ...one.nodes.map(node => node.html.slice(0, 200))]))")
                self.assertEqual(found, [], (view, width, scheme))

    def test_what_has_no_name_is_found(self):
        self.look("conf", self.port)
        self.see("document.getElementById('conf-search') !== null", "the search")
        self.browser.ask("document.getElementById('main').append(document.createElement('button'))")
        self.assertIn("button", [node["role"] for node in self.nodes() if not node["name"]])


# Those of the page itself are run by dashboard_test.
for inherited in [name for name in dir(dashboard_test.Dashboard) if name.startswith("test_")]:
    setattr(PageForAll, inherited, None)


if __name__ == "__main__":
    unittest.main(verbosity=2)
