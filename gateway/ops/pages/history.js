// What was: series, clients, routes and sessions, as far as a history is kept.
const spans = [["hour", 3600], ["day", 86400], ["month", 86400 * 30]];
const no_history = () => note("No history: this classgate keeps none. What is known of now stands under Now.");

function span_buttons(chosen, choose) {
  return el("div", { class: "bar", role: "group", "aria-label": "How far back" }, spans.map(([name, seconds]) =>
    el("button", { type: "button", "aria-pressed": String(seconds === chosen), onclick: () => choose(seconds) }, "last " + name)));
}

const label_of = row => row.name ? `${row.name} (${row.key || row.client})` : row.key || row.client;
const usage_columns = first => [[first, label_of], ["requests", row => count(row.requests), true], ["cost", row => count(row.cost), true],
  ["served", row => count(row.served), true], ["refused", row => count(row.refused), true], ["failed", row => count(row.failed), true],
  ["wait p95", row => ms((row.wait_ms || {}).p95), true], ["service p95", row => ms((row.service_ms || {}).p95), true],
  ["refused for", row => Object.entries(row.reasons || {}).sort((a, b) => b[1] - a[1]).slice(0, 3).map(([word, n]) => `${word} ${count(n)}`).join(", ")]];

async function draw_series(into, query) {
  const answer = await ask_for(into, "/api/v1/series?" + new URLSearchParams(query));
  if (!answer) return;
  const { status, body } = answer;
  if (status !== 200) return into.replaceChildren(status === 404 ? no_history() : note(body.error, true));
  const one = body.series[0] || { time: [] };
  if (!one.time.length) return into.replaceChildren(note("Nothing in this time"));
  const zoom_all = zoom => charts.forEach(chart => { if (String(chart.zoom) !== String(zoom)) { chart.zoom = zoom; chart.draw(); } });
  const chart = (title, curves) => {
    const made = new Chart(title, { on_zoom: zoom_all });
    made.show(one.time, curves.map(([name, key, colour]) => ({ name, colour, values: one[key] || [] })));
    return made;
  };
  const charts = [chart("Requests", [["requests", "requests"], ["served", "served", 2], ["refused", "refused", 1], ["failed", "failed", 3]]),
    chart("Wait in ms", [["p50", "wait_ms_p50"], ["p95", "wait_ms_p95"]]), chart("Active users", [["active", "active"]])];
  into.replaceChildren(...charts.map(made => made.node));
}

function view_history(main) {
  let seconds = 3600;
  const bar = el("div"), charts = el("div", { class: "grid" });
  const draw = () => {
    bar.replaceChildren(span_buttons(seconds, chosen => { seconds = chosen; draw(); }));
    draw_series(charts, { since: seconds, points: 240, by: "all" });
  };
  main.append(bar, charts);
  draw();
}

function view_usage(main, by, title) {
  let seconds = 86400, rank = "requests", rows = [];
  const bar = el("div"), list = el("div", { class: "card" }), own = el("div", { class: "grid" });
  const search = el("input", { type: "search", id: "search", autocomplete: "off", oninput: () => show() });
  const ranking = el("select", { onchange: () => { rank = ranking.value; show(); } },
    ["requests", "cost", "refused"].map(name => el("option", { value: name }, name)));
  main.append(bar, el("form", { onsubmit: event => { event.preventDefault(); open(search.value); } },
    el("label", {}, "Search " + title, search), el("label", {}, "Top by", ranking)), list, own);
  const open = key => {
    if (by !== "client" || !key) return;
    own.replaceChildren();
    const charts = el("div", { class: "grid wide" });
    own.append(el("h2", { class: "wide" }, key), charts);
    draw_series(charts, { since: seconds, points: 120, by: "all", client: key });
    own.scrollIntoView({ block: "nearest" });
  };
  const show = () => {
    const found = rows.filter(row => label_of(row).toLowerCase().includes(search.value.toLowerCase())).sort((a, b) => b[rank] - a[rank]);
    const columns = usage_columns(title);
    if (by === "client") columns[0][1] = row => el("a", { href: location.hash, onclick: event => { event.preventDefault(); open(row.key); } }, label_of(row));
    list.replaceChildren(table(`${title}, by ${rank}`, columns, found));
  };
  const read = async () => {
    bar.replaceChildren(span_buttons(seconds, chosen => { seconds = chosen; read(); }));
    const answer = await ask_for(list, "/api/v1/usage?" + new URLSearchParams({ by, since: seconds, top: 100 }));
    if (!answer) return;
    const { status, body } = answer;
    if (status === 200) { rows = body.rows; return show(); }
    list.replaceChildren(status === 404 ? no_history() : note(body.error, true));
    if (status !== 404 || by !== "client") return;
    // Who has something at this moment is known without a history.
    const now = await ask_for(list, "/api/v1/clients?top=100");
    if (now && now.status === 200) list.append(table("Clients that have something now", [["client", row => row.id], ["name", row => row.name ?? ""],
      ["plan", row => row.plan ?? ""], ["workers", row => count(row.active_workers), true], ["waiting", row => count(row.waiting), true]], now.body.clients));
  };
  read();
}

function view_sessions(main) {
  const tiles = el("div", { class: "tiles" }), rest = el("div", { class: "grid" });
  main.append(tiles, rest);
  ask("/api/v1/sessions").then(({ status, body }) => {
    if (status !== 200) return rest.replaceChildren(status === 404 ? no_history() : note(body.error, true));
    const told = [["active now", "active_now"], ["in 5 minutes", "active_5m"], ["in an hour", "active_60m"], ["in a day", "distinct_day"],
      ["begun", "sessions_begun"], ["ended", "sessions_ended"], ["new", "new"], ["returning", "returning"]];
    tiles.replaceChildren(...told.map(([name, key]) => el("div", { class: "card tile" }, el("span", {}, name), el("b", {}, count(body[key])))));
    const peak = new Chart("Concurrent users, the most of each hour", { least: 1 });
    peak.show(body.peak_hour.map(hour => hour.hour), [{ name: "users", values: body.peak_hour.map(hour => hour.peak) }]);
    rest.replaceChildren(peak.node, el("div", { class: "card" }, table("Open sessions", [["client", label_of],
      ["since", row => clock(row.begun, 86400)], ["last", row => clock(row.last, 86400)], ["requests", row => count(row.requests), true]], body.open)));
  });
}
