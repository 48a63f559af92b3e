// How it goes.
function view_now(main) {
  const tiles = el("div", { class: "tiles" });
  const load = new Chart("Requests a second"), queue = new Chart("Queue by priority", { least: 1 });
  const workers = new Chart("Workers in use", { least: 1 }), waits = new Chart("Wait, p95 in ms");
  const reasons = el("div", { class: "card" }), servers = el("div", { class: "card" });
  main.append(tiles, el("div", { class: "grid" }, load.node, workers.node, queue.node, waits.node, reasons, servers));

  const tile = (name, value, more) => el("div", { class: "card tile" }, el("span", {}, name), el("b", {}, value), el("span", {}, more));
  const state_of = text => text.startsWith("reachable") ? "ok" : text.startsWith("unknown") ? "degraded" : "down";
  return () => {
    const now = store.now, limits = now.limits || {};
    if (now.time === undefined) return;
    const rows = store.recent, at = rows.map(row => row.sums[0]);
    // Of the second before each; where there is none, or the gateway has begun anew, nothing.
    const rate = column => rows.map((row, i) => {
      const before = i ? rows[i - 1].sums : null;
      return !before || row.sums[column] < before[column] || row.sums[0] <= before[0] ? null
        : (row.sums[column] - before[column]) / (row.sums[0] - before[0]);
    });
    const requests = rate(1), served = rate(2), refused = rate(3), failed = rate(4);
    const wait = now.wait_time_ms || {}, process = now.process_time_ms || {};
    tiles.replaceChildren(
      tile("requests/s", count(requests.at(-1)), `${count(now.total_requests)} in all`),
      tile("served/s", count(served.at(-1)), `${count(now.processed_requests)} in all`),
      tile("refused/s", count(refused.at(-1)), `${count(now.rejected_requests)} in all`),
      tile("failed/s", count(failed.at(-1)), `${count(now.failed_requests)} in all`),
      tile("workers", `${count(now.active_workers)} of ${count(limits.workers)}`, `${count(now.workers_without_client)} without a client`),
      tile("waiting", count(now.queue_size), `of ${count(limits.queue_size)} places`),
      tile("wait", ms(wait.p50), `p95 ${ms(wait.p95)}, p99 ${ms(wait.p99)}`),
      tile("service", ms(process.p50), `p95 ${ms(process.p95)}, p99 ${ms(process.p99)}`));
    load.show(at, [{ name: "requests", values: requests }, { name: "served", values: served, colour: 2 }, { name: "refused", values: refused, colour: 1 },
      { name: "failed", values: failed, colour: 3 }], limits.rate > 0 ? [{ name: "rate", value: limits.rate }] : []);
    workers.show(at, [{ name: "workers in use", values: rows.map(row => row.sums[6]) }], [{ name: "workers", value: limits.workers }]);
    const priorities = Object.keys(now.queue_by_priority || {});
    queue.show(at, priorities.map(name => ({ name: "priority " + name, values: rows.map(row => row.queue[name] ?? null) })),
      [{ name: "queue_size", value: limits.queue_size }]);
    waits.show(at, [{ name: "wait p95", values: rows.map(row => row.sums[7]) }]);
    const counted = [...Object.entries(now.rejected_by_reason || {}).map(([word, n]) => [word, n, "refused"]),
      ...Object.entries(now.failed_by_reason || {}).map(([word, n]) => [word, n, "failed"])].sort((a, b) => b[1] - a[1]);
    renew(reasons, table("Not served, by reason", [["reason", row => row[0]], ["what became of it", row => row[2]], ["since the start", row => count(row[1]), true]], counted));
    const answers = now.upstream_answers || {};
    renew(servers, table("Upstream servers", [["server", row => row[0]],
      ["state", row => el("span", { "data-state": state_of(row[1]) }, row[1])],
      ...["2xx", "4xx", "5xx"].map(kind => [kind, row => count((answers[row[0]] || {})[kind]), true])], Object.entries(now.upstream || {})));
  };
}
