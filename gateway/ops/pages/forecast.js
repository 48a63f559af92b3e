// What comes: the coming hour with its bands, what was said of the last day beside what came, and what
// that needs.
function view_forecast(main) {
  const tiles = el("div", { class: "tiles" }), rest = el("div", { class: "grid" });
  const coming = new Chart("The coming hour, cost a second", { least: 0.1 });
  const past = new Chart("The last day, and what was said of it an hour before", { least: 0.1 });
  main.append(tiles, rest);
  const tile = (name, value, under) => el("div", { class: "card tile" }, el("span", {}, name), el("b", {}, value), el("small", {}, under));
  const seconds = time => Date.parse(time) / 1000;
  let asked = 0;
  const show = body => {
    if (!body.known) {
      tiles.replaceChildren();
      return rest.replaceChildren(note("No forecast: " + body.why_not));
    }
    const { workers, servers } = body;
    tiles.replaceChildren(
      tile("demand/s", count(body.now.demand), body.has_a_day ? "cost of what is asked for, refused too" : "no day is known yet: expected to stay"),
      tile("workers needed", count(workers.needed), workers.why_not || `${count(workers.needed_now)} now, of ${count(workers.now)}`),
      tile("servers needed", count(servers.needed), `in ${count(servers.lead_time_seconds)} s; ${count(servers.now)} now`),
      tile("target", body.target_missed_at ? "missed at " + clock(seconds(body.target_missed_at), 3600) : workers.needed === null ? "–" : "holds", workers.target || "none"));
    const now = seconds(body.time), soon = body.forecast.filter(one => one.horizon_seconds <= 3600);
    const curve = (name, key, colour) => ({ name, colour, values: [body.now.demand, ...soon.map(one => one[key])] });
    coming.show([now, ...soon.map(one => now + one.horizon_seconds)],
      [curve("expected", "p50", 0), curve("90 % below", "p90", 1), curve("99 % below", "p99", 3)]);
    past.show(body.last_day.map(row => seconds(row.time)), [{ name: "came", colour: 2, values: body.last_day.map(row => row.came) },
      { name: "expected", colour: 0, values: body.last_day.map(row => row.p50) }, { name: "90 % below", colour: 1, values: body.last_day.map(row => row.p90) }]);
    const percent = share => share === null ? "–" : (100 * share).toFixed(1) + " %";
    rest.replaceChildren(coming.node, past.node, el("div", { class: "card" }, table("Expected, cost a second", [["in", row => row.horizon],
      ["expected", row => count(row.p50), true], ["90 % below", row => count(row.p90), true], ["99 % below", row => count(row.p99), true],
      ["workers", row => count(row.workers_needed), true], ["wrong by, last day", row => percent(row.last_day.wape), true]], body.forecast)), parts(body));
  };
  // Who asks, now and in an hour: by priority, and by plan where anybody has one.
  const parts = body => {
    const hour = body.forecast.find(one => one.horizon === "1h");
    const row = (name, now, later) => ({ name, now: now ? now.demand : 0, p50: later.p50, p90: later.p90 });
    const rows = [...hour.by_priority.map(one => row(`priority ${one.priority}`, body.now.by_priority.find(now => now.priority === one.priority), one)),
      ...hour.by_plan.map(one => row(one.plan === "-" ? "no plan" : one.plan === "(others)" ? "other plans" : `plan ${one.plan}`,
        body.now.by_plan.find(now => now.plan === one.plan), one))];
    return el("div", { class: "card" }, table("Who asks, cost a second", [["of", row => row.name], ["now", row => count(row.now), true],
      ["in an hour", row => count(row.p50), true], ["90 % below", row => count(row.p90), true]], rows));
  };
  return () => {
    if (Date.now() - asked < 15000) return;
    asked = Date.now();
    ask_for(rest, "/api/v1/forecast").then(answer => answer && (answer.status === 200 ? show(answer.body) : rest.replaceChildren(note(answer.body.error, true))));
  };
}
