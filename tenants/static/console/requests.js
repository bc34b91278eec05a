"use strict";
// The request log: how many are new, narrowing by a drag over the bars, moving by J and K, and copying.
(() => {
  const told = document.querySelector(".tg-requests__new[data-poll]");

  const look = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(told.dataset.poll, { headers: { accept: "application/json" } });
      if (!answer.ok) return;
      const { text } = await answer.json();
      const link = told.querySelector("a");
      if (link.textContent !== text) link.textContent = text;
      link.hidden = text === "";
    } catch {
      // The next look may succeed.
    }
  };
  if (told) setInterval(look, Number(told.dataset.seconds) * 1000);

  // Each bar is a link to its own time; from one bar to another leads to all between them.
  const chart = document.querySelector(".tg-volume__bars");
  const narrow = () => {
    const bars = [...chart.children];
    let drag = null;
    const place = (event) => {
      const found = bars.findIndex((bar) => event.clientX < bar.getBoundingClientRect().right);
      return found < 0 ? bars.length - 1 : found;
    };
    const span = () => (drag.first < drag.last ? [drag.first, drag.last] : [drag.last, drag.first]);
    const mark = () => {
      const [from, to] = drag && drag.first !== drag.last ? span() : [1, 0];
      bars.forEach((bar, at) => bar.classList.toggle("tg-volume__bar--chosen", at >= from && at <= to));
    };
    const end = () => {
      drag = null;
      mark();
    };
    chart.addEventListener("dragstart", (event) => event.preventDefault());
    chart.addEventListener("pointerdown", (event) => {
      if (event.isPrimary && event.button === 0) drag = { first: place(event), last: place(event) };
    });
    addEventListener("pointermove", (event) => {
      if (!drag) return;
      drag.last = place(event);
      mark();
    });
    addEventListener("pointerup", () => {
      if (!drag) return;
      const [from, to] = span();
      end();
      if (from === to) return; // a click, which the link follows
      const address = new URL(bars[from].href);
      address.searchParams.set("to", new URL(bars[to].href).searchParams.get("to"));
      location.assign(address);
    });
    addEventListener("pointercancel", end);
    addEventListener("keydown", (event) => event.key === "Escape" && end());
  };
  if (chart) narrow();

  const links = [...document.querySelectorAll(".tg-requests__open")];
  const move = (step) => {
    const at = links.indexOf(document.activeElement);
    const next = at < 0 ? (step > 0 ? 0 : links.length - 1) : at + step;
    if (links[next]) links[next].focus();
  };
  const go = (selector) => document.querySelector(selector)?.click();
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.target.closest("input, select, textarea, [contenteditable]")) return;
    if (event.key === "j") links.length ? move(1) : go(".tg-request__older");
    if (event.key === "k") links.length ? move(-1) : go(".tg-request__newer");
  });

  for (const button of document.querySelectorAll(".tg-copy")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const text = button.parentElement.querySelector("pre");
      const choice = document.createRange();
      choice.selectNodeContents(text);
      const selection = getSelection();
      selection.removeAllRanges();
      selection.addRange(choice);
      // Works over plain HTTP too, where there is no clipboard API.
      if (document.execCommand("copy")) button.textContent = button.dataset.done;
    });
  }
})();
