// Watches topics for open pages of the console: over its socket, or by asking every five seconds where there
// is none. Nothing is watched while the page is hidden.
//
//   const stop = tollgateLive.watch("in-flight", {
//     query: location.search,      // which view of the topic
//     onData(data) {},             // whenever it has changed
//     onState(state) {},           // "live", "polling", "waiting", "signed-out"
//     onEnd() {},                  // the person may not see it any more
//   });
(() => {
  "use strict";

  const POLL_MS = 5000;
  const RETRY_MS = [1000, 2000, 5000, 10000];
  const SIGNED_OUT = 4401;

  const watches = new Map();
  let socket = null;
  let failures = 0;
  let retry = 0;
  let poll = 0;
  let number = 0;
  let isOver = false;

  const address = () =>
    `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/console/ws/`;

  const each = (name, value) => {
    for (const watch of watches.values()) watch[name]?.(value);
  };

  const say = (frame) => {
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frame));
  };

  const ask = (name, watch) => say({ watch: watch.topic, as: name, query: watch.query });

  function open() {
    if (socket || isOver || document.hidden || !watches.size) return;
    socket = new WebSocket(address());
    socket.onopen = () => {
      failures = 0;
      stopPolling();
      for (const [name, watch] of watches) ask(name, watch);
      each("onState", "live");
    };
    socket.onmessage = ({ data }) => {
      const { as, data: told, ended } = JSON.parse(data);
      const watch = watches.get(as);
      if (!watch) return;
      if (ended) {
        watches.delete(as);
        watch.onEnd?.();
      } else {
        watch.onData(told);
      }
    };
    socket.onclose = ({ code }) => {
      socket = null;
      if (code === SIGNED_OUT) return end();
      if (document.hidden || !watches.size) return;
      failures += 1;
      startPolling();
      retry = setTimeout(open, RETRY_MS[Math.min(failures, RETRY_MS.length) - 1]);
    };
  }

  function close() {
    clearTimeout(retry);
    stopPolling();
    const closing = socket;
    socket = null;
    if (closing) {
      closing.onclose = null;
      closing.close();
    }
  }

  function end() {
    isOver = true;
    close();
    each("onState", "signed-out");
  }

  function startPolling() {
    if (poll) return;
    poll = setInterval(pollAll, POLL_MS);
    pollAll();
  }

  function stopPolling() {
    clearInterval(poll);
    poll = 0;
  }

  async function pollAll() {
    for (const [name, watch] of [...watches]) {
      const query = watch.query ? `?${watch.query}` : "";
      try {
        const answer = await fetch(`/console/live/${watch.topic}/${query}`, {
          headers: { accept: "application/json" },
          redirect: "manual",
        });
        if (answer.ok) {
          watch.onState?.("polling");
          watch.onData(await answer.json());
        } else if (answer.status === 404) {
          watches.delete(name);
          watch.onEnd?.();
        } else if (answer.status === 403 || answer.type === "opaqueredirect") {
          return end();
        } else {
          watch.onState?.("waiting");
        }
      } catch {
        watch.onState?.("waiting");
      }
    }
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", open);

  window.tollgateLive = {
    watch(topic, { query = "", onData, onState, onEnd }) {
      const name = String((number += 1));
      watches.set(name, { topic, query: query.replace(/^\?/, ""), onData, onState, onEnd });
      if (socket) ask(name, watches.get(name));
      else open();
      return () => {
        watches.delete(name);
        say({ forget: name });
        if (!watches.size) close();
      };
    },
  };
})();
