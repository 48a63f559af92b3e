// The conf in force, what changed it, and, for who has logged in, the limits.
let standing = { logged_in: false };

async function read_standing() {
  const { status, body } = await ask("/api/v1/session");
  if (status === 200) standing = body;
  const place = document.getElementById("standing");
  if (standing.logged_in)
    place.replaceChildren(el("button", { type: "button", id: "logout", onclick: async () => { await order("/api/v1/logout"); await read_standing(); route(); } }, "Log out"));
  else
    place.replaceChildren(standing.may_log_in ? el("a", { href: "#login", id: "login-link" }, "Log in") : "");
}

function view_login(main) {
  const token = el("input", { type: "password", id: "token", autocomplete: "current-password", required: true, size: 40 });
  const said = el("div");
  main.append(el("form", { class: "card", onsubmit: async event => {
    event.preventDefault();
    const { status, body } = await order("/api/v1/login", { token: token.value });
    token.value = "";
    if (status !== 200) return said.replaceChildren(note(body.error, true));
    await read_standing();
    location.hash = "#conf";
    listen();
  } }, el("label", {}, "A token of ops.token_file", token), el("button", { class: "main" }, "Log in"), said));
  token.focus();
}

function view_conf(main) {
  const said = el("div", { role: "status" }), values = el("div", { class: "card" }), past = el("div", { class: "card" });
  const search = el("input", { type: "search", id: "conf-search", oninput: () => show() });
  const key = el("select", { id: "limit-key" }), value = el("input", { id: "limit-value", required: true, autocomplete: "off" });
  let all = [];
  const tell = ({ status, body }) => {
    said.replaceChildren(...(body.error ? [note(body.error, true)] : []), ...(body.lines || []).map(line => note(line)));
    return status === 200;
  };
  const change = el("form", { class: "card", onsubmit: async event => {
    event.preventDefault();
    if (tell(await order("/api/v1/limits", { key: key.value, value: value.value }))) read();
  } }, el("label", {}, "Limit", key), el("label", {}, "Value, until the next reload", value), el("button", { class: "main" }, "Set"),
    el("button", { type: "button", id: "reload", onclick: async () => { tell(await order("/api/v1/reload")); read(); } }, "Reload the conf"));
  const show = () => values.replaceChildren(table("In force", [["key", row => el("span", { title: row.about }, row.key)],
    ["value", row => row.value], ["from", row => row.origin]], all.filter(row => (row.key + row.value + row.origin).includes(search.value))));
  const read = async () => {
    const answer = await ask_for(values, "/api/v1/conf");
    if (!answer) return;
    const { status, body } = answer;
    if (status !== 200) return values.replaceChildren(note(body.error, true));
    all = body.values;
    const chosen = key.value;
    key.replaceChildren(...all.filter(row => row.is_limit).map(row => el("option", { value: row.key, selected: row.key === (chosen || "admission.workers") }, row.key)));
    show();
    past.replaceChildren(table("Changes since the start", [["when", row => clock(Date.parse(row.at) / 1000, 86401)], ["what", row => row.what], ["by", row => row.by],
      ["outcome", row => row.ok ? "done" : "refused"], ["said", row => row.lines.join("\n")]], [...body.changes].reverse()));
    if (body.last_reload_error) past.prepend(note("The last reload was refused: " + body.last_reload_error, true));
  };
  main.append(standing.logged_in ? change : note(standing.may_log_in ? "Whoever logs in changes limits here" : "Limits are changed by classgate set; here, with ops.token_file"),
    said, past, el("form", { onsubmit: event => event.preventDefault() }, el("label", {}, "Search the conf", search)), values);
  read();
}
