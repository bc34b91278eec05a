// Keeps sentences of a page up to date: an element with `data-live-text` shows the `text` of that live topic.
(() => {
  "use strict";

  for (const place of document.querySelectorAll("[data-live-text]")) {
    window.tollgateLive?.watch(place.dataset.liveText, {
      query: location.search,
      onData({ text }) {
        if (place.textContent !== text) place.textContent = text;
      },
      onEnd() {
        place.textContent = "";
      },
    });
  }
})();
