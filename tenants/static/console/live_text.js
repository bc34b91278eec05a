// Keeps sentences of a page up to date: an element with `data-live-text` shows the `text` of that live topic,
// which is asked with `data-live-query` or the page's own. `data-live-bar` names a bar that is as wide as its
// `percent`. Once the topic says `is_over` the page is loaded again, because there is more to show.
(() => {
  "use strict";

  for (const place of document.querySelectorAll("[data-live-text]")) {
    window.tollgateLive?.watch(place.dataset.liveText, {
      query: place.dataset.liveQuery ?? location.search,
      onData({ text, percent, is_over: isOver }) {
        if (isOver) return location.reload();
        if (place.textContent !== text) place.textContent = text;
        const bar = document.getElementById(place.dataset.liveBar ?? "");
        if (bar && percent !== undefined) bar.style.width = `${percent}%`;
      },
      onEnd() {
        place.textContent = "";
      },
    });
  }
})();
