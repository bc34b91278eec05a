/* Buttons that copy a text of the page. */
"use strict";
{
  /* Copy by the browser's clipboard, or where that needs TLS by a selection. */
  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      return copyBySelection(text);
    }
  }

  function copyBySelection(text) {
    const area = document.createElement("textarea");
    area.value = text;
    area.readOnly = true;
    area.className = "tg-hidden";
    const before = document.activeElement;
    document.body.append(area);
    area.select();
    let isDone = false;
    try {
      isDone = document.execCommand("copy");
    } catch {
      isDone = false;
    }
    area.remove();
    before?.focus();
    return isDone;
  }

  function copyButtons() {
    for (const button of document.querySelectorAll("[data-copies]")) {
      const label = button.textContent;
      const place = document.getElementById(button.dataset.copies);
      button.hidden = false;
      button.addEventListener("click", async () => {
        if (await copy(place.textContent)) {
          button.textContent = button.dataset.copied;
          setTimeout(() => { button.textContent = label; }, 2000);
        } else {
          window.getSelection().selectAllChildren(place); // left to the person's own keys
        }
      });
    }
  }

  copyButtons();
}
