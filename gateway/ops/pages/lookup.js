// Why: what became of one request, what would become of one now, and who waits.
function view_lookup(main) {
  const id = el("input", { id: "why", autocomplete: "off", required: true, size: 34 });
  const said = el("div", { class: "card" }, note("The id stands in the answer (X-Request-Id), in its body and in the log"));
  const look = async event => {
    event.preventDefault();
    const asked = id.value.trim(), answer = await ask_for(said, "/api/v1/why?" + new URLSearchParams({ id: asked }));
    if (!answer) return;
    const { status, body } = answer;
    if (status !== 200 && status !== 404) return said.replaceChildren(note(body.error, true));
    said.replaceChildren(status === 404 ? note(`Nothing is kept of ${asked}: the last refusals and failures are (ops.why_max)`)
      : el("pre", { tabindex: 0 }, JSON.stringify(body, null, 2)));
  };
  const queue = el("div", { class: "card" });
  const read = async () => {
    const answer = await ask_for(queue, "/api/v1/queue");
    if (!answer) return;
    const { status, body } = answer;
    queue.replaceChildren(status !== 200 ? note(body.error, true) : table("Waiting now", [["priority", row => row.priority, true], ["age", row => ms(row.age_ms), true],
      ["client", row => row.name ?? row.client ?? "–"], ["address", row => row.address], ["method", row => row.method], ["path", row => row.path],
      ["id", row => row.id]], body.waiting));
  };
  main.append(el("form", { onsubmit: look }, el("label", {}, "Request id", id), el("button", { class: "main" }, "Why?")), said,
    ...explain_form(), el("div", { class: "bar" }), el("div", { class: "bar" }, el("button", { type: "button", onclick: read }, "Who waits now?")), queue);
  read();
}
