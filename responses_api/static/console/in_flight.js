// Keeps the table of running calls up to date. Rows never move: a call keeps its place from when it is first
// seen, new ones come below, and one that has ended stays, greyed, while the pointer or the focus is in the
// table.
(() => {
  "use strict";

  const table = document.querySelector("[data-in-flight]");
  if (!table || !window.tollgateLive) return;
  const body = table.tBodies[0];
  const texts = table.dataset;
  const status = document.querySelector("[data-live-status]");
  const summary = document.querySelector("[data-in-flight-summary]");
  const empty = document.querySelector("[data-in-flight-empty]");
  const rows = new Map([...body.rows].map((row) => [row.dataset.request, row]));
  const KEEP_MS = 4000;

  const cell = (row, name) => row.querySelector(`[data-cell="${name}"]`);

  function make(call) {
    const row = document.getElementById("in-flight-row").content.firstElementChild.cloneNode(true);
    row.dataset.request = call.request_id;
    cell(row, "request").textContent = call.request_id;
    cell(row, "key").textContent = call.key_name;
    cell(row, "public-id").textContent = call.key;
    cell(row, "tenant").textContent = call.tenant;
    cell(row, "alias").textContent = call.alias;
    const worker = cell(row, "worker");
    if (worker) worker.textContent = call.worker;
    const stop = cell(row, "stop");
    if (call.stop_url) stop.href = call.stop_url;
    else stop.remove();
    body.append(row);
    rows.set(call.request_id, row);
    return row;
  }

  function show(row, call) {
    row.classList.remove("tg-ended");
    delete row.dataset.endedAt;
    for (const name of ["age", "target", "phase", "tokens", "held", "channel"])
      cell(row, name).textContent = call[name];
  }

  function end(row, now) {
    if (row.dataset.endedAt) return;
    row.dataset.endedAt = now;
    row.classList.add("tg-ended");
    cell(row, "phase").textContent = texts.ended;
    cell(row, "stop")?.remove();
  }

  function tidy(now) {
    if (table.matches(":hover") || table.contains(document.activeElement)) return;
    for (const [id, row] of rows) {
      if (row.dataset.endedAt && now - Number(row.dataset.endedAt) > KEEP_MS) {
        row.remove();
        rows.delete(id);
      }
    }
    empty.hidden = rows.size > 0;
    table.hidden = rows.size === 0;
  }

  function onData(data) {
    const now = Date.now();
    const seen = new Set();
    for (const call of data.calls) {
      seen.add(call.request_id);
      show(rows.get(call.request_id) ?? make(call), call);
    }
    for (const [id, row] of rows) if (!seen.has(id)) end(row, now);
    summary.textContent = data.summary;
    tidy(now);
  }

  const onState = (state) => {
    status.textContent = texts[state.replace(/-(\w)/g, (_, letter) => letter.toUpperCase())] ?? "";
  };
  const onEnd = () => onState("signed-out");

  table.addEventListener("pointerleave", () => tidy(Date.now()));
  setInterval(() => tidy(Date.now()), 1000);
  window.tollgateLive.watch("in-flight", { query: location.search, onData, onState, onEnd });
})();
