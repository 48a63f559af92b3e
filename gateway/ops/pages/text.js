"use strict";
// Elements and numbers. What others have named (clients, paths) becomes text here, never markup.
function el(name, attributes, ...children) {
  const is_drawn = ["svg", "path", "line", "rect", "text", "g"].includes(name);
  const node = is_drawn ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter(child => child !== null && child !== undefined).map(child =>
    child instanceof Node ? child : String(child)));
  return node;
}

function count(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1e9) return (value / 1e9).toFixed(1) + " G";
  if (size >= 1e6) return (value / 1e6).toFixed(1) + " M";
  if (size >= 1e4) return (value / 1e3).toFixed(1) + " k";
  return size >= 100 || Number.isInteger(value) ? String(Math.round(value)) : value.toFixed(1);
}
const ms = value => value === null || value === undefined ? "–" : value >= 10000 ? (value / 1000).toFixed(1) + " s" : count(value) + " ms";
const two = value => String(value).padStart(2, "0");

// By the clock of who looks; with the day when `span` (seconds) is more than one.
function clock(seconds, span) {
  const at = new Date(seconds * 1000);
  const time = two(at.getHours()) + ":" + two(at.getMinutes());
  const day = at.getFullYear() + "-" + two(at.getMonth() + 1) + "-" + two(at.getDate());
  if (span > 86400 * 3) return day;
  if (span > 86400) return day.slice(5) + " " + time;
  return span > 900 ? time : time + ":" + two(at.getSeconds());
}

// columns: [title, row => text or node, is_number]
function table(caption, columns, rows) {
  if (!rows.length) return el("p", { class: "none" }, caption + ": nothing");
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    el("table", {}, el("caption", {}, caption),
      el("thead", {}, el("tr", {}, columns.map(([title, , is_number]) =>
        el("th", { scope: "col", class: is_number ? "number" : null }, title)))),
      el("tbody", {}, rows.map(row => el("tr", {}, columns.map(([, cell, is_number]) =>
        el("td", { class: is_number ? "number" : null }, cell(row))))))));
}
// What is told anew each second: whoever stands in it with the keyboard stays there.
function renew(place, ...nodes) {
  const places = () => [...place.querySelectorAll("a, button, input, select, summary, [tabindex]")];
  const had = places().indexOf(document.activeElement);
  place.replaceChildren(...nodes);
  if (had >= 0 && places()[had]) places()[had].focus({ preventScroll: true });
}
const note = (text, is_error) => el("p", { class: is_error ? "error" : "none", role: is_error ? "alert" : null }, text);
