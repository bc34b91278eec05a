// The playground: calls /v1 of this origin as any client does, with a token that is kept in this variable and
// nowhere else, and shows what went over the wire.
(() => {
  "use strict";

  const root = document.querySelector("[data-playground]");
  if (!root) return;
  const texts = root.dataset;
  const form = root.querySelector("[data-ask]");
  const chooser = document.querySelector("[data-choose]");
  const field = (name) => form.elements.namedItem(name);
  const shown = (name) => root.querySelector(`[data-show="${name}"]`);
  const RENEW_BEFORE_MS = 60_000;
  const MAX_EVENTS = 2000;
  const MAX_TOOL_ROUNDS = 8;

  let token = null; // { key, text, endsAt }
  let running = null; // an AbortController while calls are made
  const conversations = new Map(); // side → what the next turn continues from

  // The token

  async function tokenFor(key) {
    if (token?.key === key && token.endsAt - Date.now() > RENEW_BEFORE_MS) return token.text;
    token = null;
    const answer = await fetch(texts.tokenUrl, {
      method: "POST",
      headers: { "x-csrftoken": field("csrfmiddlewaretoken").value, accept: "application/json" },
      body: new URLSearchParams({ key }),
      redirect: "manual",
    });
    if (answer.type === "opaqueredirect" || answer.status === 403) throw new Error(texts.signedOut);
    if (!answer.ok) throw new Error(texts.noToken);
    const { token: text, expires_at: end } = await answer.json();
    token = { key, text, endsAt: end * 1000 };
    return text;
  }

  // The request

  function tools() {
    const text = field("tools").value.trim();
    if (!text) return [];
    let parsed;
    try {
      parsed = JSON.parse(text);
    } catch (error) {
      throw new Error(`${texts.badTools} ${error.message}`);
    }
    if (!Array.isArray(parsed)) throw new Error(texts.badTools);
    return parsed;
  }

  // A tool is written once, in the form of the Responses API; chat completions nest it.
  const asChatTool = (tool) =>
    tool.type === "function" && !tool.function
      ? { type: "function", function: { name: tool.name, description: tool.description, parameters: tool.parameters } }
      : tool;

  function common(model) {
    const body = { model, stream: field("stream").checked, usage: { include: true } };
    const temperature = field("temperature").value.trim();
    if (temperature) body.temperature = Number(temperature);
    return body;
  }

  function responsesBody(model, input, before) {
    const body = { ...common(model), input };
    const most = field("max_tokens").value.trim();
    if (most) body.max_output_tokens = Number(most);
    if (field("instructions").value.trim()) body.instructions = field("instructions").value;
    const given = tools();
    if (given.length) body.tools = given;
    if (before) body.previous_response_id = before;
    if (!field("store").checked) body.store = false;
    return body;
  }

  function chatBody(model, messages) {
    const body = { ...common(model), messages };
    const most = field("max_tokens").value.trim();
    if (most) body.max_completion_tokens = Number(most);
    if (body.stream) body.stream_options = { include_usage: true };
    const given = tools();
    if (given.length) body.tools = given.map(asChatTool);
    return body;
  }

  // The answer

  async function call(side, path, body, onEvent) {
    const pane = paneOf(side);
    const text = await tokenFor(texts.key);
    const began = performance.now();
    const since = () => Math.round(performance.now() - began);
    pane.request(path, body);
    let answer;
    try {
      answer = await fetch(path, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${text}` },
        body: JSON.stringify(body),
        credentials: "omit",
        cache: "no-store",
        redirect: "error",
        signal: running.signal,
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error(`${texts.notServed} ${error.message}`);
    }
    const requestId = answer.headers.get("x-request-id");
    pane.head(answer, requestId, since());
    if (!requestId) throw new Error(texts.notServed);
    const kind = answer.headers.get("content-type") ?? "";
    if (!kind.startsWith("text/event-stream")) {
      const whole = await answer.text();
      pane.event("", whole, since());
      const parsed = JSON.parse(whole);
      if (!answer.ok) throw new Error(parsed.error?.message ?? whole);
      return parsed;
    }
    return read(answer.body, (name, data) => {
      pane.event(name, data, since());
      return onEvent(name, data === "[DONE]" ? null : JSON.parse(data));
    });
  }

  // Reads server-sent events; returns what the last call of `take` that returned something gave.
  async function read(stream, take) {
    const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    let last;
    for (;;) {
      const { done, value } = await reader.read();
      rest += value ?? "";
      const events = rest.split(/\r?\n\r?\n/);
      rest = done ? "" : events.pop();
      for (const event of events) {
        let name = "";
        const data = [];
        for (const line of event.split(/\r?\n/)) {
          if (line.startsWith("event:")) name = line.slice(6).trim();
          else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
        }
        if (data.length) last = take(name, data.join("\n")) ?? last;
      }
      if (done) return last;
    }
  }

  // Panes: what is said, and what went over the wire

  const panes = new Map();

  function paneOf(side) {
    if (!panes.has(side)) panes.set(side, makePane(side));
    return panes.get(side);
  }

  function makePane(side) {
    const element = root.querySelector(`[data-side="${side}"]`);
    const part = (name) => element.querySelector(`[data-part="${name}"]`);
    let count = 0;
    const add = (kind, text = "") => {
      const message = document.createElement("div");
      message.className = `tg-said tg-said--${kind}`;
      const who = document.createElement("span");
      who.className = "tg-said-who";
      who.textContent = texts[kind] ?? kind;
      const said = document.createElement("div");
      said.className = "tg-said-text";
      said.textContent = text;
      message.append(who, said);
      part("conversation").append(message);
      message.scrollIntoView({ block: "nearest" });
      return said;
    };
    return {
      add,
      element,
      clear() {
        part("conversation").replaceChildren();
        for (const name of ["request", "events", "response", "answered", "charge"]) part(name).replaceChildren();
      },
      title(model) {
        part("title").textContent = model;
      },
      request(path, body) {
        part("request").textContent = `POST ${location.origin}${path}\n\n${JSON.stringify(body, null, 2)}`;
        part("events").replaceChildren();
        part("response").textContent = "";
        part("charge").textContent = "";
        count = 0;
      },
      head(answer, requestId, ms) {
        const told = document.createElement("span");
        told.textContent = `${answer.status} · ${ms} ms · `;
        const id = document.createElement(texts.requestUrl ? "a" : "code");
        id.textContent = requestId ?? texts.noId;
        if (texts.requestUrl && requestId) id.href = texts.requestUrl.replace("REQUEST", requestId);
        part("answered").replaceChildren(told, id);
      },
      event(name, data, ms) {
        count += 1;
        if (count > MAX_EVENTS) return;
        const row = document.createElement("li");
        const at = document.createElement("span");
        at.className = "tg-event-time";
        at.textContent = `${ms} ms`;
        const said = document.createElement("code");
        said.textContent = count === MAX_EVENTS ? "…" : name ? `${name} ${data}` : data;
        row.append(at, said);
        part("events").append(row);
      },
      response(body) {
        part("response").textContent = JSON.stringify(body, null, 2);
      },
      charge(text) {
        part("charge").textContent = text;
      },
    };
  }

  // One turn on one side

  // `before` is the stored response that a turn continues; `items` is what is not stored there.
  async function respond(side, model, said) {
    const pane = paneOf(side);
    const state = conversations.get(side) ?? { before: null, items: [] };
    state.items.push({ role: "user", content: said });
    conversations.set(side, state);
    for (let round = 0; round < MAX_TOOL_ROUNDS; round += 1) {
      let text = null;
      const body = responsesBody(model, state.items, state.before);
      const final = await call(side, "/v1/responses", body, (_, event) => {
        if (event?.type === "response.output_text.delta") {
          text ??= pane.add("assistant");
          text.textContent += event.delta;
        }
        if (event?.type === "error") throw new Error(event.message ?? event.error?.message);
        return event?.response;
      });
      if (!final) throw new Error(texts.cut);
      pane.response(final);
      tellCharge(pane, final);
      if (final.status === "failed") throw new Error(final.error?.message ?? final.status);
      if (text === null) showOutput(pane, final);
      if (final.store === false) {
        state.items.push(...(final.output ?? []));
      } else {
        state.before = final.id;
        state.items = [];
      }
      const calls = (final.output ?? []).filter((item) => item.type === "function_call");
      if (!calls.length) return;
      const outputs = await askForOutputs(pane, calls.map((item) => [item.call_id, item.name, item.arguments]));
      if (!outputs) return;
      for (const [id, output] of outputs) state.items.push({ type: "function_call_output", call_id: id, output });
    }
  }

  function showOutput(pane, response) {
    for (const item of response.output ?? []) {
      for (const part of item.type === "message" ? item.content : [])
        if (part.type === "output_text") pane.add("assistant", part.text);
    }
  }

  async function chat(side, model, said) {
    const pane = paneOf(side);
    const system = field("instructions").value.trim();
    const messages = conversations.get(side) ?? (system ? [{ role: "system", content: system }] : []);
    messages.push({ role: "user", content: said });
    for (let round = 0; round < MAX_TOOL_ROUNDS; round += 1) {
      let text = null;
      const message = { role: "assistant", content: "" };
      const calls = [];
      const whole = { usage: null };
      const final = await call(side, "/v1/chat/completions", chatBody(model, messages), (_, chunk) => {
        if (chunk?.error) throw new Error(chunk.error.message);
        if (chunk?.usage) whole.usage = chunk.usage;
        for (const { delta } of chunk?.choices ?? []) {
          if (delta.content) {
            text ??= pane.add("assistant");
            text.textContent += delta.content;
            message.content += delta.content;
          }
          for (const piece of delta.tool_calls ?? []) {
            const known = (calls[piece.index] ??= { id: "", type: "function", function: { name: "", arguments: "" } });
            known.id ||= piece.id ?? "";
            known.function.name += piece.function?.name ?? "";
            known.function.arguments += piece.function?.arguments ?? "";
          }
        }
        return whole;
      });
      if (!final) throw new Error(texts.cut);
      if (final.choices) {
        Object.assign(message, final.choices[0].message);
        if (message.content) pane.add("assistant", message.content);
        calls.push(...(message.tool_calls ?? []));
      }
      if (calls.length) message.tool_calls = calls;
      pane.response(final.choices ? final : { message, usage: final.usage });
      tellCharge(pane, final);
      messages.push(message);
      conversations.set(side, messages);
      if (!calls.length) return;
      const outputs = await askForOutputs(pane, calls.map((each) => [each.id, each.function.name, each.function.arguments]));
      if (!outputs) return;
      for (const [id, output] of outputs) messages.push({ role: "tool", tool_call_id: id, content: output });
    }
  }

  // Tools are not run here: a person says what each gives back.
  function askForOutputs(pane, calls) {
    return new Promise((resolve) => {
      const wanted = document.createElement("form");
      wanted.className = "tg-tool-calls";
      const inputs = calls.map(([id, name, args]) => {
        const label = document.createElement("label");
        const what = document.createElement("code");
        what.textContent = `${name}(${args})`;
        const input = document.createElement("textarea");
        input.rows = 2;
        input.required = true;
        label.append(what, input);
        wanted.append(label);
        return [id, input];
      });
      const send = document.createElement("button");
      send.type = "submit";
      send.className = "tg-button";
      send.textContent = texts.sendResult;
      wanted.append(send);
      pane.element.querySelector('[data-part="conversation"]').append(wanted);
      inputs[0][1].focus();
      running.signal.addEventListener("abort", () => resolve(null));
      wanted.addEventListener("submit", (event) => {
        event.preventDefault();
        wanted.remove();
        for (const [, input] of inputs) pane.add("tool", input.value);
        resolve(inputs.map(([id, input]) => [id, input.value]));
      });
    });
  }

  function tellCharge(pane, { usage }) {
    pane.charge(usage?.cost === undefined ? texts.unpriced : `$${asDollars(usage.cost)}`);
  }

  // What the answer says is exact to the nano-dollar, and more than fits there only in years.
  const asDollars = (cost) => cost.toFixed(9).replace(/0{1,7}$/, "");

  // The form

  async function run(event) {
    event.preventDefault();
    if (running) return;
    const said = field("message").value.trim();
    if (!said) return;
    const sides = [["a", field("model").value]];
    if (field("compare").checked && field("model_b").value) sides.push(["b", field("model_b").value]);
    const turn = field("api").value === "chat" ? chat : respond;
    running = new AbortController();
    root.classList.add("tg-running");
    field("message").value = "";
    await Promise.all(
      sides.map(async ([side, model]) => {
        const pane = paneOf(side);
        pane.title(model);
        pane.add("user", said);
        try {
          await turn(side, model, said);
        } catch (error) {
          if (error.name === "AbortError") pane.add("problem", texts.stopped);
          else pane.add("problem", error.message);
        }
      }),
    );
    running = null;
    root.classList.remove("tg-running");
    field("message").focus();
  }

  function reset() {
    running?.abort();
    conversations.clear();
    for (const pane of panes.values()) pane.clear();
  }

  function arrange() {
    const isCompared = field("compare").checked;
    root.querySelector('[data-side="b"]').hidden = !isCompared;
    field("model_b").closest("label").hidden = !isCompared;
    field("store").closest("label").hidden = field("api").value === "chat";
  }

  form.addEventListener("submit", run);
  form.addEventListener("change", arrange);
  field("api").addEventListener("change", reset);
  chooser.addEventListener("change", () => chooser.requestSubmit());
  shown("stop").addEventListener("click", () => running?.abort());
  shown("clear").addEventListener("click", reset);
  field("message").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  window.addEventListener("pagehide", () => {
    token = null;
  });
  if (texts.continues) conversations.set("a", { before: texts.continues, items: [] });
  arrange();
})();
