/* Names fields for those who do not see where they stand: what Select2 draws in the place of a <select>, and
   the cells of rows on another row's page, whose label is the head of their column. */
"use strict";
{
  function nameCells(table) {
    const heads = [...(table.tHead?.rows[0]?.cells ?? [])].map((head) => head.textContent.replace("*", "").trim());
    table.querySelectorAll("tr.form-row > td").forEach((cell) => {
      cell.querySelectorAll("input:not([type=hidden]), select, textarea").forEach((field) => {
        const head = cell.dataset.label?.replace("*", "").trim() || heads[cell.cellIndex];
        if (head && !field.labels?.length && !field.hasAttribute("aria-label")) {
          field.setAttribute("aria-label", head);
        }
      });
    });
  }

  function name(container) {
    const select = container.previousElementSibling;
    const label = select?.labels?.[0] ?? null;
    const text = label?.textContent.replace("*", "").trim() || select?.getAttribute("aria-label");
    if (!text) {
      return;
    }
    container.querySelectorAll('[role="combobox"], [role="textbox"]').forEach((field) => {
      const value = field.textContent.replace("×", "").trim();
      field.removeAttribute("aria-labelledby");
      field.setAttribute("aria-label", value ? `${text}: ${value}` : text);
    });
  }

  const all = () => {
    document.querySelectorAll("table.formset").forEach(nameCells);
    document.querySelectorAll("select + .select2-container").forEach(name);
  };

  document.addEventListener("DOMContentLoaded", () => {
    all();
    new MutationObserver((changes) => {
      const drawn = ".select2-container, tr.form-row";
      const isNew = (node) => node.matches?.(drawn) || node.querySelector?.(drawn);
      if (changes.some((change) => change.target.closest?.(".select2-container") || [...change.addedNodes].some(isNew))) {
        all();
      }
    }).observe(document.querySelector("main") ?? document.body, { childList: true, subtree: true });
  });
}
