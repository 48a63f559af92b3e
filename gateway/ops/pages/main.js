// Which view is shown stands behind '#'.
const views = {
  now: ["Now", view_now], history: ["History", view_history], clients: ["Clients", main => view_usage(main, "client", "client")],
  sessions: ["Sessions", view_sessions], routes: ["Routes", main => view_usage(main, "route", "route")],
  forecast: ["Forecast", view_forecast], why: ["Why", view_lookup], conf: ["Conf", view_conf],
};
let refresh = null;

function route() {
  const name = location.hash.slice(1), main = document.getElementById("main");
  const chosen = name === "login" || views[name] ? name : "now";
  renew(document.getElementById("tabs"), ...Object.entries(views).map(([key, [title]]) =>
    el("a", { href: "#" + key, "aria-current": key === chosen ? "page" : null }, title)));
  main.replaceChildren();
  refresh = chosen === "login" ? view_login(main) : views[chosen][1](main);
  if (refresh) refresh();
}

store.listeners.push(() => {
  const { now } = store, place = document.getElementById("verdict");
  const since = now.status_since ? " since " + clock(Date.parse(now.status_since) / 1000, 3600) : "";
  const text = (now.verdict || "").replace(":", since + ":");
  if (place.textContent !== text) place.textContent = text;
  place.dataset.state = now.status;
  document.title = `${now.status} · classgate`;
  document.getElementById("version").textContent = "classgate " + now.version;
  if (refresh) refresh();
});
addEventListener("hashchange", route);
read_standing().then(() => {
  if (standing.must_log_in && !standing.logged_in) location.hash = "#login";
  route();
  if (!standing.must_log_in || standing.logged_in) read_recent().then(listen);
});
