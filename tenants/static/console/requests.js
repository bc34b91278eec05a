"use strict";
// The request log: how many are new, moving by J and K, and copying.
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
