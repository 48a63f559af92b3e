// A chart of curves over time: pointed at or walked with the arrow keys it is read out, dragged over
// it zooms, Escape zooms out; behind it stands the table of its numbers.
class Chart {
  constructor(title, options = {}) {
    this.options = options;
    this.readout = el("output", { class: "readout" });
    this.keys = el("div", { class: "key" });
    this.svg = el("svg", { role: "slider", tabindex: 0, "aria-label": title, "aria-valuemin": 0, "aria-valuenow": 0,
      viewBox: "0 0 600 170", preserveAspectRatio: "none" });
    this.details = el("details", { ontoggle: () => this.fill_table() }, el("summary", {}, "As a table"));
    this.node = el("figure", {}, el("h2", {}, title), this.keys, this.svg, this.readout, this.details);
    this.title = title;
    this.at = null;
    this.zoom = null;
    this.svg.addEventListener("keydown", event => this.on_key(event));
    this.svg.addEventListener("pointerdown", event => { this.from = this.index_at(event); });
    this.svg.addEventListener("pointermove", event => this.point(this.index_at(event), this.from));
    this.svg.addEventListener("pointerup", event => this.on_up(this.index_at(event)));
    this.svg.addEventListener("pointerleave", () => { this.from = undefined; this.point(null); });
    this.svg.addEventListener("blur", () => this.point(null));
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  // curves: [{name, values, colour}], bounds: [{name, value}]; times in seconds.
  show(times, curves, bounds = []) {
    this.all = { times, curves, bounds };
    this.draw();
    if (this.details.open) this.fill_table();
  }

  draw() {
    if (!this.all) return;
    const { times, curves, bounds } = this.all;
    const inside = times.map((time, i) => i).filter(i => !this.zoom || (times[i] >= this.zoom[0] && times[i] <= this.zoom[1]));
    this.shown = inside;
    const width = Math.max(this.svg.clientWidth, 100), height = Math.max(this.svg.clientHeight, 100);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const all = curves.flatMap(curve => inside.map(i => curve.values[i] || 0));
    let top = Math.max(1, ...all);
    const near = bounds.filter(bound => bound.value <= top * 3);
    top = Math.max(top, ...near.map(bound => bound.value)) * 1.08;
    this.box = { left: 42, right: width - 6, top: 8, bottom: height - 20 };
    const first = times[inside[0]] || 0, span = (times[inside.at(-1)] || 1) - first || 1;
    this.x = i => this.box.left + (times[i] - first) / span * (this.box.right - this.box.left);
    const y = value => this.box.bottom - value / top * (this.box.bottom - this.box.top);
    this.svg.replaceChildren();
    const step = this.step(top);
    for (let value = 0; value <= top; value += step)
      this.svg.append(el("line", { class: "axis", x1: this.box.left, x2: this.box.right, y1: y(value), y2: y(value) }),
        el("text", { x: this.box.left - 6, y: y(value) + 4, "text-anchor": "end" }, count(value)));
    const marks = Math.max(2, Math.floor(width / 130));
    if (inside.length > 1)
      for (let k = 0; k < marks; ++k) {
        if (span < marks && k > 0 && k < marks - 1) continue;
        this.svg.append(el("text", { x: this.box.left + k / (marks - 1) * (this.box.right - this.box.left), y: height - 4,
          "text-anchor": k === 0 ? "start" : k === marks - 1 ? "end" : "middle" }, clock(first + span * k / (marks - 1), span)));
      }
    for (const bound of near)
      this.svg.append(el("line", { class: "bound", x1: this.box.left, x2: this.box.right, y1: y(bound.value), y2: y(bound.value) }),
        el("text", { x: this.box.right, y: y(bound.value) - 3, "text-anchor": "end" }, bound.name));
    curves.forEach((curve, number) => {
      let path = "", is_down = false;
      for (const i of inside) {
        const value = curve.values[i];
        if (value === null || value === undefined) { is_down = false; continue; }
        path += (is_down ? "L" : "M") + this.x(i).toFixed(1) + " " + y(value).toFixed(1);
        is_down = true;
      }
      this.svg.append(el("path", { class: "curve k" + (curve.colour ?? number) % 5, d: path }));
    });
    const far = bounds.filter(bound => !near.includes(bound)).map(bound => el("span", {}, `${bound.name}: ${count(bound.value)}, far above`));
    this.keys.replaceChildren(...curves.map((curve, number) =>
      el("span", {}, el("i", { class: "k" + (curve.colour ?? number) % 5 }), curve.name)), ...far);
    this.svg.setAttribute("aria-valuemax", Math.max(inside.length - 1, 0));
    this.mark();
  }

  step(top) {
    const rough = top / 4, power = 10 ** Math.floor(Math.log10(rough));
    return Math.max([1, 2, 5, 10].find(factor => factor * power >= rough) * power, this.options.least || 0.5);
  }

  index_at(event) {
    if (!this.shown || !this.shown.length) return null;
    const at = event.clientX - this.svg.getBoundingClientRect().left;
    return this.shown.reduce((best, i) => Math.abs(this.x(i) - at) < Math.abs(this.x(best) - at) ? i : best);
  }

  on_key(event) {
    if (event.key === "Escape") return this.set_zoom(null);
    const last = (this.shown || []).length - 1;
    const now = this.at === null ? last : this.shown.indexOf(this.at);
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last, PageUp: now - 10, PageDown: now + 10 }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    this.point(this.shown[Math.min(Math.max(to, 0), last)]);
  }

  on_up(to) {
    const from = this.from;
    this.from = undefined;
    if (from === undefined || from === null || to === null || Math.abs(to - from) < 3) return;
    const { times } = this.all;
    this.set_zoom([times[Math.min(from, to)], times[Math.max(from, to)]]);
  }

  set_zoom(zoom) {
    this.zoom = zoom;
    this.point(null);
    this.draw();
    if (this.options.on_zoom) this.options.on_zoom(zoom);
  }

  point(index, from) {
    this.at = index;
    this.chosen = from;
    this.mark();
  }

  mark() {
    this.svg.querySelectorAll(".cursor, .chosen").forEach(node => node.remove());
    if (this.at === null || !this.all || this.all.times[this.at] === undefined) {
      this.readout.textContent = this.zoom ? "Zoomed in; Escape shows all" : "";
      return;
    }
    const x = this.x(this.at);
    if (this.chosen !== undefined && this.chosen !== null) {
      const other = this.x(this.chosen);
      this.svg.append(el("rect", { class: "chosen", x: Math.min(x, other), width: Math.abs(x - other), y: this.box.top, height: this.box.bottom - this.box.top }));
    }
    this.svg.append(el("line", { class: "cursor", x1: x, x2: x, y1: this.box.top, y2: this.box.bottom }));
    const text = clock(this.all.times[this.at], 0) + ": " + this.all.curves.map(curve => `${curve.name} ${count(curve.values[this.at])}`).join(", ");
    this.readout.textContent = text;
    this.svg.setAttribute("aria-valuenow", this.shown.indexOf(this.at));
    this.svg.setAttribute("aria-valuetext", text);
  }

  fill_table() {
    this.details.querySelectorAll(".scroll, p").forEach(node => node.remove());
    if (!this.details.open || !this.all) return;
    const { times, curves } = this.all;
    this.details.append(table(this.title, [["time", i => clock(times[i], 0)],
      ...curves.map(curve => [curve.name, i => count(curve.values[i]), true])], [...this.shown].reverse()));
  }
}
