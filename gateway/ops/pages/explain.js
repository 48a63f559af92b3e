// What would become of a request now: which limits apply, and what is usual for its client.
const a_second = value => count(value) + "/s";

function pattern_said(pattern) {
  if (pattern.ground === "learning") return "Nothing is unusual yet: the rule has only begun to learn (fairness.pattern_learning)";
  const known = { newcomer: "Of this client no day is known yet", shared: "No room to remember this client, who shares what a newcomer is allowed" };
  return `${known[pattern.ground] ?? a_second(pattern.usual) + " is usual for this client at this hour"}; allowed ${a_second(pattern.allowed)}: `
    + (pattern.service_is_short ? "counts now, as the service is short" : "counts only while the service is short, which it is not");
}

function verdict_said({ answer, status, reason, retry_after, place, wait_ms, held_ms }) {
  if (answer === "refused") return `It would be refused: ${status} ${reason}` + (retry_after ? `, to come again in ${retry_after} s` : "");
  if (answer === "waits") return `It would wait, at place ${place}` + (wait_ms === null ? "" : `, for about ${ms(wait_ms)}`);
  if (answer === "operator") return "classgate itself would answer";
  return "It would be let in" + (held_ms ? `, within ${ms(held_ms)}: no server is up` : "");
}

function explained(said) {
  const { client, route, pattern, buckets, workers, queue } = said;
  const facts = [["route", route?.rule], ["priority", said.priority], ["cost", said.cost?.tokens],
    ["client", client && `${client.name ?? client.id} (${client.plan ? "plan " + client.plan + ", " : ""}${client.state})`],
    ["workers busy", workers && `${workers.active} of ${workers.limit}`], ["waiting", queue && `${queue.waiting} of ${queue.limit}`]];
  return [el("p", { class: "answer" }, verdict_said(said.verdict)), pattern && el("p", { id: "pattern-said" }, pattern_said(pattern)),
    table("What applies", [["what", row => row[0]], ["value", row => row[1]]], facts.filter(([, value]) => value !== null && value !== undefined)),
    buckets && table("Token buckets", [["of", row => row.of], ["tokens", row => count(row.tokens), true], ["burst", row => count(row.burst), true],
      ["rate", row => a_second(row.rate), true], ["short for", row => row.short_for_ms > 0 ? ms(row.short_for_ms) : "–", true]], buckets),
    el("details", {}, el("summary", {}, "All of the answer"), el("pre", { tabindex: 0 }, JSON.stringify(said, null, 2)))].filter(node => node);
}

function explain_form() {
  const method = el("input", { id: "explain-method", value: "POST", size: 8, autocomplete: "off", required: true });
  const target = el("input", { id: "explain-target", value: "/", size: 30, autocomplete: "off", required: true });
  const header = el("input", { id: "explain-header", size: 30, autocomplete: "off", placeholder: "X-Api-Key: ..." });
  const address = el("input", { id: "explain-address", size: 16, autocomplete: "off", placeholder: "127.0.0.1" });
  const said = el("div", { class: "card", role: "status" }, note("Nothing is charged, and no request sent"));
  const look = async event => {
    event.preventDefault();
    const query = new URLSearchParams({ method: method.value.trim(), target: target.value.trim() });
    if (header.value.trim()) query.append("header", header.value.trim());
    if (address.value.trim()) query.append("client", address.value.trim());
    const answer = await ask_for(said, "/api/v1/explain?" + query);
    if (answer) said.replaceChildren(...answer.status === 200 ? explained(answer.body) : [note(answer.body.error, true)]);
  };
  return [el("form", { onsubmit: look }, el("label", {}, "Method", method), el("label", {}, "Path", target),
    el("label", {}, "Header of the client", header), el("label", {}, "Address", address), el("button", { class: "main", id: "explain" }, "Explain")), said];
}
