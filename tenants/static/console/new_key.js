/* The page of a new key's secret: tabs of programs, and what becomes of the first request. */
"use strict";
{
  const POLL_MS = 3000;
  const MOST_POLLS = 600; // half an hour

  /* Sections become tabs: arrows move between them, Home and End to the first and last. */
  function tabs(place) {
    const panels = [...place.querySelectorAll("[data-tab]")];
    const list = document.createElement("div");
    list.className = "tg-tablist";
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", place.dataset.label);
    const buttons = panels.map((panel) => tabOf(panel));
    const show = (chosen, isFocused) => {
      panels.forEach((panel, number) => {
        const isShown = number === chosen;
        panel.hidden = !isShown;
        buttons[number].setAttribute("aria-selected", String(isShown));
        buttons[number].tabIndex = isShown ? 0 : -1;
      });
      if (isFocused) {
        buttons[chosen].focus();
      }
    };
    buttons.forEach((button, number) => {
      button.addEventListener("click", () => show(number, false));
      button.addEventListener("keydown", (event) => {
        const last = buttons.length - 1;
        const to = {
          ArrowRight: number === last ? 0 : number + 1,
          ArrowLeft: number === 0 ? last : number - 1,
          Home: 0,
          End: last,
        }[event.key];
        if (to !== undefined) {
          event.preventDefault();
          show(to, true);
        }
      });
    });
    list.append(...buttons);
    place.prepend(list);
    show(0, false);
  }

  function tabOf(panel) {
    const button = document.createElement("button");
    button.type = "button";
    button.id = `${panel.id}-tab`;
    button.textContent = panel.dataset.tab;
    button.setAttribute("role", "tab");
    button.setAttribute("aria-controls", panel.id);
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", button.id);
    panel.querySelector("h3").hidden = true;
    return button;
  }

  /* Ask what became of the first request until it was answered, as long as the page is looked at. */
  function watch(place) {
    const sentence = place.querySelector("[data-sentence]");
    const request = place.querySelector("[data-request]");
    const cure = place.querySelector("[data-cure]");
    const waiting = sentence.textContent;
    let polls = 0;

    function link(anchor, text, address) {
      anchor.hidden = !text;
      anchor.textContent = text;
      if (address) {
        anchor.href = address;
      } else {
        anchor.removeAttribute("href");
      }
    }

    function say(text) {
      if (sentence.textContent !== text) {
        sentence.textContent = text; // only what is new is read aloud
      }
    }

    function show(told) {
      place.classList.toggle("tg-note--good", told.state === "answered");
      place.classList.toggle("tg-note--bad", told.state === "failed");
      const mark = { answered: "✓ ", failed: "✗ " }[told.state] ?? "";
      say(told.state === "waiting" ? waiting : `${mark}${told.sentence} ${told.at}`);
      link(request, told.request, told.address);
      link(cure, told.button?.label ?? "", told.button?.address ?? "");
    }

    async function ask() {
      if (document.hidden) {
        return false;
      }
      polls += 1;
      try {
        const answer = await fetch(place.dataset.address, { headers: { Accept: "application/json" } });
        if (!answer.ok || answer.redirected) {
          throw new Error(String(answer.status));
        }
        const told = await answer.json();
        show(told);
        return told.state === "answered";
      } catch {
        say(place.dataset.lost);
        return false;
      }
    }

    async function loop() {
      if (await ask()) {
        return;
      }
      if (polls < MOST_POLLS) {
        setTimeout(loop, POLL_MS);
      } else {
        say(place.dataset.ended);
      }
    }

    place.hidden = false;
    loop();
  }

  document.querySelectorAll("[data-tabs]").forEach(tabs);
  const place = document.getElementById("tg-watch");
  if (place) {
    watch(place);
  }
}
