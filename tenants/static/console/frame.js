/* The frame of every page: light or dark, the menu on a telephone, whose rows are shown, and the search. */
"use strict";
{
  const root = document.documentElement;
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
  const THEMES = ["auto", "light", "dark"];

  function chosenTheme() {
    try {
      const kept = localStorage.getItem("tollgate-theme");
      return THEMES.includes(kept) ? kept : "auto";
    } catch {
      return "auto"; // storage is switched off
    }
  }

  function applyTheme() {
    const theme = chosenTheme();
    root.classList.toggle("dark", theme === "dark" || (theme === "auto" && prefersDark.matches));
    root.dataset.chosenTheme = theme;
  }

  // At once, before anything is drawn.
  applyTheme();
  root.classList.add("tg-scripted");
  prefersDark.addEventListener("change", applyTheme);

  /* The person's own time zone, for what is shown over all tenants. */
  function tellZone() {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (zone) {
      document.cookie = `tollgate_zone=${encodeURIComponent(zone)}; path=/console/; max-age=31536000; samesite=lax`;
    }
  }

  function themeButton() {
    const button = document.getElementById("tg-theme");
    const label = () => {
      button.querySelector("[data-label]").textContent = button.dataset[chosenTheme()];
    };
    button?.addEventListener("click", () => {
      const next = THEMES[(THEMES.indexOf(chosenTheme()) + 1) % THEMES.length];
      try {
        localStorage.setItem("tollgate-theme", next);
      } catch {
        return;
      }
      applyTheme();
      label();
    });
    if (button) {
      label();
    }
  }

  /* The menu of narrow screens: a button opens it, Escape and a tap beside it close it. */
  function menu() {
    const button = document.getElementById("tg-menu-button");
    const place = document.getElementById("tg-menu");
    if (!button || !place) {
      return;
    }
    const open = (isOpen) => {
      place.classList.toggle("tg-menu--open", isOpen);
      button.setAttribute("aria-expanded", String(isOpen));
      if (isOpen) {
        place.querySelector("a")?.focus();
      }
    };
    button.addEventListener("click", () => open(!place.classList.contains("tg-menu--open")));
    document.addEventListener("click", (event) => {
      if (!place.contains(event.target) && !button.contains(event.target)) {
        open(false);
      }
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && place.classList.contains("tg-menu--open")) {
        open(false);
        button.focus();
      }
    });
  }

  /* Menus that are a <details>: closed by Escape, and by a click elsewhere. */
  function dropdowns() {
    const all = document.querySelectorAll("details.tg-dropdown");
    document.addEventListener("click", (event) => {
      all.forEach((each) => each.contains(event.target) || each.removeAttribute("open"));
    });
    all.forEach((each) =>
      each.addEventListener("keydown", (event) => {
        if (event.key === "Escape") {
          each.removeAttribute("open");
          each.querySelector("summary").focus();
        }
      }),
    );
  }

  function scopeSwitch() {
    document.querySelector("select[data-submits]")?.addEventListener("change", (event) => event.target.form.requestSubmit());
  }

  /* Links that lead back to where the person came from. */
  function cancelLinks() {
    document.querySelectorAll("a[data-back]").forEach((link) =>
      link.addEventListener("click", (event) => {
        if (window.history.length > 1) {
          event.preventDefault();
          window.history.back();
        }
      }),
    );
  }

  /* Keeps a pasted key out of addresses, and so out of logs: its public part is enough to find it. */
  function guardSearches() {
    document.querySelectorAll('form[role="search"] input').forEach((field) =>
      field.addEventListener("input", () => {
        const public_ = field.value.replace(/(tg_[a-z]+_[0-9A-Za-z]{10})_?[0-9A-Za-z]\S*/g, "$1");
        if (public_ !== field.value) {
          field.value = public_;
        }
      }),
    );
  }

  function palette() {
    const dialog = document.getElementById("tg-search");
    if (!dialog) {
      return;
    }
    const field = dialog.querySelector("input[type=search]");
    const results = dialog.querySelector("[data-results]");
    let asked = null;
    let waiting = 0;

    const open = () => {
      if (!dialog.open) {
        dialog.showModal();
        field.select();
      }
    };
    const links = () => [...results.querySelectorAll("a")];

    async function ask() {
      asked?.abort();
      const words = field.value.trim();
      if (!words) {
        results.replaceChildren();
        return;
      }
      asked = new AbortController();
      const address = new URL(field.form.action);
      address.search = new URLSearchParams(new FormData(field.form)).toString();
      address.searchParams.set("fragment", "1");
      try {
        const answer = await fetch(address, { signal: asked.signal, headers: { "X-Requested-With": "fetch" } });
        if (!answer.ok || answer.redirected) {
          throw new Error(String(answer.status));
        }
        results.innerHTML = await answer.text();
      } catch (error) {
        if (error.name !== "AbortError") {
          results.textContent = results.dataset.failed;
        }
      }
    }

    function move(step) {
      const all = [field, ...links()];
      const at = all.indexOf(document.activeElement);
      all[(at + step + all.length) % all.length].focus();
    }

    document.querySelectorAll("[data-opens-search]").forEach((button) => button.addEventListener("click", open));
    document.addEventListener("keydown", (event) => {
      if (event.key.toLowerCase() === "k" && (event.metaKey || event.ctrlKey) && !event.shiftKey && !event.altKey) {
        event.preventDefault();
        open();
      }
    });
    field.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(ask, 150);
    });
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.preventDefault(); // a search field would only be emptied by the first one
        dialog.close();
      }
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        move(event.key === "ArrowDown" ? 1 : -1);
      }
    });
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) {
        dialog.close();
      }
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    tellZone();
    themeButton();
    menu();
    dropdowns();
    scopeSwitch();
    cancelLinks();
    guardSearches();
    document.querySelector(".tg-tabs .tg-open")?.scrollIntoView({ inline: "center", block: "nearest" });
    palette();
  });
}
