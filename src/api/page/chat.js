// The chat page. Whatever comes from the server becomes text nodes, never markup: a model's output is hostile.
(() => {
  "use strict";

  const COLORS = 6;
  const MODELS_AGAIN_MS = 2000;
  /** The API's own default is meant for completing a line. */
  const TEXT_TOKENS = 256;
  /** A small context has to hold a few turns. */
  const TEXT_SHARE = 1 / 4;

  const find = (id) => document.getElementById(id);
  const view = {
    model: find("model"),
    messages: find("messages"),
    empty: find("empty"),
    status: find("status"),
    form: find("form"),
    input: find("input"),
    send: find("send"),
    stop: find("stop"),
    reset: find("reset"),
    toggle: find("toggle"),
    settings: find("settings"),
    system: find("system"),
    temperature: find("temperature"),
    temperatureShown: find("temperature-shown"),
    tokens: find("tokens"),
    key: find("key"),
  };

  /** The conversation: in memory alone. */
  let turns = [];
  /** Ends the answer that streams now; null while none does. */
  let answering = null;
  /** Whether a model has a chat template, by its id. */
  const templates = new Map();
  /** Tokens that each model sees at most. */
  let contexts = new Map();

  function make(tag, name, text) {
    const element = document.createElement(tag);
    if (name !== "") element.className = name;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  function headers() {
    const key = view.key.value.trim();
    return key === "" ? {} : { authorization: `Bearer ${key}` };
  }

  function say(words, isWrong = false) {
    view.status.textContent = words;
    view.status.classList.toggle("wrong", isWrong);
  }

  async function readError(response) {
    const text = await response.text();
    let error = {};
    try {
      error = JSON.parse(text).error ?? {};
    } catch {
      // Not the API's own words: the status has to do.
    }
    const failure = new Error(typeof error.message === "string" ? error.message : `status ${response.status}`);
    failure.code = error.code;
    failure.status = response.status;
    return failure;
  }

  async function loadModels() {
    try {
      const response = await fetch("v1/models", { headers: headers() });
      if (!response.ok) throw await readError(response);
      const { data } = await response.json();
      if (data.length === 0) throw new Error("the models are being loaded");
      contexts = new Map(data.map(({ id, max_model_len: tokens }) => [String(id), tokens]));
      const chosen = view.model.value;
      view.model.replaceChildren(
        ...data.map(({ id }) => {
          const option = make("option", "", String(id));
          option.value = String(id);
          return option;
        }),
      );
      if (data.some(({ id }) => id === chosen)) view.model.value = chosen;
      view.model.disabled = false;
      say("");
    } catch (error) {
      view.model.replaceChildren(make("option", "", "not ready"));
      view.model.disabled = true;
      if (error.status === 401) {
        say("This server asks for an API key: put it into the settings.");
        openSettings(true);
        return;
      }
      say(`Waiting for the server: ${error.message}`, true);
      setTimeout(loadModels, MODELS_AGAIN_MS);
    }
  }

  // ---- streams

  /** Yields the chunks of a streamed answer. */
  async function* readChunks(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) throw new Error("the server broke off its answer");
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        for (const line of lines) {
          if (!line.startsWith("data:")) continue;
          const data = line.slice(5).trim();
          if (data === "[DONE]") return;
          const chunk = JSON.parse(data);
          if (chunk.error) throw new Error(String(chunk.error.message));
          yield chunk;
        }
      }
    } finally {
      await reader.cancel().catch(() => undefined);
    }
  }

  async function open(path, body, signal) {
    const response = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers() },
      body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
      signal,
    });
    if (!response.ok) throw await readError(response);
    return response;
  }

  function readFields() {
    const temperature = Number(view.temperature.value);
    const tokens = Number(view.tokens.value);
    return {
      model: view.model.value,
      ...(temperature >= 0 ? { temperature } : {}),
      ...(Number.isInteger(tokens) && tokens > 0 ? { max_tokens: tokens } : {}),
    };
  }

  function readMessages() {
    const system = view.system.value.trim();
    return system === "" ? turns : [{ role: "system", content: system }, ...turns];
  }

  /** Whether the model has a chat template; without one it goes on with text. */
  async function canChat(model, signal) {
    if (!templates.has(model)) {
      const path = `tokenizer_info?model=${encodeURIComponent(model)}`;
      const response = await fetch(path, { headers: headers(), signal });
      if (!response.ok) throw await readError(response);
      const { chat_template: template } = await response.json();
      templates.set(model, typeof template === "string");
    }
    return templates.get(model);
  }

  async function openAnswer(signal) {
    const fields = readFields();
    if (await canChat(fields.model, signal)) {
      return open("v1/chat/completions", { ...fields, messages: readMessages() }, signal);
    }
    say("This model has no chat template: it goes on with the text.");
    const prompt = readMessages()
      .map(({ content }) => content)
      .join("");
    const most = Math.floor((contexts.get(fields.model) ?? Number.POSITIVE_INFINITY) * TEXT_SHARE);
    return open("v1/completions", { max_tokens: Math.min(TEXT_TOKENS, most), ...fields, prompt }, signal);
  }

  /** What is known of an answer: its text, times, and what the server says of it. */
  function makeFacts() {
    return { text: "", pieces: 0, firstMs: 0, lastMs: 0, finish: null, usage: null, timings: null };
  }

  /** Streams one answer into `element`; `facts` hold what there is of it, also when it fails. */
  async function streamAnswer(element, facts, signal) {
    const startMs = performance.now();
    try {
      for await (const chunk of readChunks(await openAnswer(signal))) {
        const choice = chunk.choices?.[0];
        const piece = choice?.delta?.content ?? choice?.text ?? "";
        if (piece !== "") {
          facts.lastMs = performance.now() - startMs;
          if (facts.pieces === 0) facts.firstMs = facts.lastMs;
          facts.pieces += 1;
          facts.text += piece;
          append(element, piece);
        }
        facts.finish = choice?.finish_reason ?? facts.finish;
        facts.usage = chunk.usage ?? facts.usage;
        facts.timings = chunk.timings ?? facts.timings;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  // ---- what is seen

  /** Adds text, and follows it while the end is in sight. */
  function append(element, text) {
    const { messages } = view;
    const follows = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 80;
    element.append(text);
    if (follows) messages.scrollTop = messages.scrollHeight;
  }

  function addMessage(role, text) {
    view.empty.hidden = true;
    const message = make("article", `message ${role}`);
    message.setAttribute("aria-label", role === "user" ? "You" : "The model");
    const body = make("div", "text", text);
    message.append(body);
    view.messages.append(message);
    view.messages.scrollTop = view.messages.scrollHeight;
    return { message, body };
  }

  function showFacts(message, { pieces, firstMs, lastMs, finish, usage, timings }, stopped) {
    const tokens = usage?.completion_tokens ?? pieces;
    const rate = tokens > 1 && lastMs > firstMs ? ((tokens - 1) * 1000) / (lastMs - firstMs) : 0;
    const cached = usage?.prompt_tokens_details?.cached_tokens ?? 0;
    const words = [
      tokens === 1 ? "1 token" : `${tokens} tokens`,
      rate > 0 ? `${rate.toFixed(1)} tokens/s` : "",
      firstMs > 0 ? `first after ${firstMs.toFixed(0)} ms` : "",
      cached > 0 ? `${cached} of ${usage.prompt_tokens} prompt tokens were there already` : "",
      stopped ? "stopped" : finish === "length" ? "cut at the limit" : "",
    ];
    message.append(make("p", "facts", words.filter((word) => word !== "").join(" · ")));
    const stages = Array.isArray(timings?.stages) ? timings.stages : [];
    if (stages.length > 0) message.append(...drawStages(stages));
    if (stages.length > 0) view.messages.scrollTop = view.messages.scrollHeight;
  }

  function drawStages(stages) {
    const bar = make("div", "shares");
    bar.setAttribute("role", "img");
    bar.setAttribute("aria-label", "Each stage's share of the computing of a token");
    const legend = make("ul", "legend");
    for (const [index, stage] of stages.entries()) {
      const color = `c${index % COLORS}`;
      const part = make("i", color);
      const share = Math.min(1, Math.max(0, Number(stage.share) || 0));
      part.style.flexGrow = String(share);
      bar.append(part);
      const item = make("li", "");
      const ms = Number(stage.compute_ms_p50);
      item.append(
        make("i", color),
        `${stage.name} ${stage.first_unit}:${stage.end_unit}, ${(share * 100).toFixed(0)}%${Number.isFinite(ms) ? `, ${ms.toFixed(1)} ms` : ""}`,
      );
      legend.append(item);
    }
    return [bar, legend];
  }

  function setBusy(isBusy) {
    view.send.hidden = isBusy;
    view.stop.hidden = !isBusy;
    view.model.disabled = isBusy;
  }

  function growInput() {
    view.input.style.height = "auto";
    view.input.style.height = `${view.input.scrollHeight + 2}px`;
  }

  function openSettings(isOpen) {
    view.settings.hidden = !isOpen;
    view.toggle.setAttribute("aria-expanded", String(isOpen));
  }

  // ---- what is done

  async function ask(text) {
    say("");
    const conversation = turns;
    turns.push({ role: "user", content: text });
    addMessage("user", text);
    const { message, body } = addMessage("assistant waiting", "");
    const stop = new AbortController();
    answering = stop;
    setBusy(true);
    const facts = makeFacts();
    try {
      await streamAnswer(body, facts, stop.signal);
    } catch (error) {
      message.append(make("p", "wrong", error.message));
    } finally {
      message.classList.remove("waiting");
      answering = null;
      setBusy(false);
    }
    // Somebody began a new chat meanwhile: nothing of this belongs to it.
    if (conversation !== turns) return;
    if (facts.text !== "") turns.push({ role: "assistant", content: facts.text });
    else turns.pop();
    if (facts.pieces > 0 || facts.finish !== null) showFacts(message, facts, stop.signal.aborted);
  }

  function submit() {
    const text = view.input.value;
    if (text.trim() === "" || answering !== null || view.model.disabled) return;
    view.input.value = "";
    growInput();
    void ask(text);
  }

  function reset() {
    answering?.abort();
    turns = [];
    for (const message of view.messages.querySelectorAll(".message")) message.remove();
    view.empty.hidden = false;
    say("");
    view.input.focus();
  }

  view.form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  view.input.addEventListener("keydown", (event) => {
    // While a word is being composed, Enter belongs to it.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  view.input.addEventListener("input", growInput);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") answering?.abort();
  });
  view.stop.addEventListener("click", () => {
    answering?.abort();
    view.input.focus();
  });
  view.reset.addEventListener("click", reset);
  view.toggle.addEventListener("click", () => openSettings(view.settings.hidden));
  view.temperature.addEventListener("input", () => {
    const value = Number(view.temperature.value);
    view.temperatureShown.textContent = value < 0 ? "default" : value.toFixed(2);
  });
  view.key.addEventListener("change", () => void loadModels());
  void loadModels();
})();
