// What is known of now: told by the server each second, while the page is looked at.
const store = { now: {}, recent: [], listeners: [], is_live: false };

function put(pointer, value) {
  const path = pointer.split("/").slice(1).map(part => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  const last = path.pop();
  let node = store.now;
  for (const part of path) {
    if (!Object.hasOwn(node, part) || node[part] === null || typeof node[part] !== "object") node[part] = Object.create(null);
    node = node[part];
  }
  if (value === null) delete node[last]; else node[last] = value;
}

const sums = now => [now.time, now.total_requests, now.processed_requests, now.rejected_requests, now.failed_requests,
  now.queue_size, now.active_workers, (now.wait_time_ms || {}).p95];

function on_event(text, is_all) {
  if (is_all) store.now = Object.create(null);
  for (const [pointer, value] of Object.entries(JSON.parse(text))) put(pointer, value);
  store.recent.push({ sums: sums(store.now), queue: { ...store.now.queue_by_priority } });
  if (store.recent.length > 600) store.recent.shift();
  for (const listener of store.listeners) listener();
}

async function ask(path, options) {
  const answer = await fetch(path, { headers: { Accept: "application/json" }, ...options });
  const text = await answer.text();
  let body = {};
  try { body = JSON.parse(text); } catch { body = { error: text.trim() }; }
  return { status: answer.status, body };
}
// What is drawn into a place: null, when something newer has been asked for it meanwhile. (Answers
// overtake each other, and an older one would stay.)
const asked_for = new WeakMap();
async function ask_for(place, path) {
  const mine = (asked_for.get(place) || 0) + 1;
  asked_for.set(place, mine);
  const answer = await ask(path);
  return asked_for.get(place) === mine ? answer : null;
}
const order = (path, body) => ask(path, { method: "POST", body: JSON.stringify(body || {}) });

function say_link(text) {
  document.getElementById("link").textContent = text;
}

let source = null;
function listen() {
  if (source || document.hidden) return;
  source = new EventSource("/api/v1/events");
  source.addEventListener("open", () => { store.is_live = true; say_link("live"); });
  source.addEventListener("all", event => on_event(event.data, true));
  source.addEventListener("change", event => on_event(event.data, false));
  source.addEventListener("displaced", () => { stop(); store.is_live = false; say_link("not live: this place went to another (ops.viewers_max)"); });
  source.addEventListener("error", () => {
    store.is_live = false;
    say_link("not live: asking again");
    if (source && source.readyState === EventSource.CLOSED) { stop(); setTimeout(listen, 5000); }
  });
}
function stop() {
  if (source) source.close();
  source = null;
}
document.addEventListener("visibilitychange", () => {
  if (document.hidden) { stop(); say_link("paused"); } else listen();
});

// What came before the page was opened.
async function read_recent() {
  const { status, body } = await ask("/api/v1/recent");
  if (status !== 200) return;
  const first = store.recent.length ? store.recent[0].sums[0] : Infinity;
  store.recent = [...body.rows.filter(row => row[0] < first).map(row => ({ sums: row, queue: {} })), ...store.recent];
}
