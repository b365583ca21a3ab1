// The page: a question goes out, and what comes back is shown as it comes.
// Everything from the server is put in as text, never as HTML.

import { events } from "./stream.js";

const $ = (id) => document.getElementById(id);
const KEY = "ragwright-key";
const KEYS_NEEDED = "X-Ragwright-Keys";
const STAGES = { queue: "Waiting", retrieve: "Finding", generate: "Writing", other: "Rest" };
const SIGNALS = { dense: "Meaning", bm25: "Words", maxsim: "Word by word", cross: "Reranker" };

let reply = null; // the answer on show
let running = null; // AbortController of the question being answered
let rating = "";
let takesFeedback = true;
let about = null; // which version this is, and examples

/* Talking to the server */

async function call(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers };
  if (key) headers.Authorization = `Bearer ${key}`;
  if (options.json) {
    headers["Content-Type"] = "application/json";
    options = { ...options, method: "POST", body: JSON.stringify(options.json) };
  }
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server cannot be reached. Is it running?");
  }
  if (response.ok) return response;
  if (response.status === 401) askForKey();
  const body = await response.json().catch(() => ({}));
  const wait = response.headers.get("Retry-After");
  const message = body.error?.message ?? `The server answered with status ${response.status}.`;
  throw new Error(wait ? `${message} Try again in ${wait} s.` : message);
}

function askForKey() {
  $("key-form").hidden = false;
  $("key").focus();
}

/* Asking */

async function ask(question) {
  running?.abort();
  const mine = (running = new AbortController());
  begin(question);
  try {
    const response = await call("v1/ask/stream", { json: { question }, signal: mine.signal });
    await read(response);
  } catch (error) {
    if (error.name === "AbortError") {
      if (running === mine) say("Stopped.");
    } else {
      showProblem(error.message);
    }
  } finally {
    if (running === mine) end();
  }
}

async function read(response) {
  for await (const { name, data } of events(response.body)) {
    if (name === "retrieval") showPassages(data.passages, []);
    if (name === "token") $("answer").textContent += data.text;
    if (name === "restart") $("answer").textContent = "";
    if (name === "done") return show(data);
    if (name === "error") throw new Error(data.error.message);
  }
  throw new Error("The answer broke off. Ask again.");
}

function begin(question) {
  reply = null;
  closeDocument();
  for (const id of ["problem", "degraded", "passages-section", "timings-section", "feedback"]) {
    $(id).hidden = true;
  }
  $("citations").replaceChildren();
  $("answer").textContent = "";
  $("answer").setAttribute("aria-busy", "true");
  $("asked").textContent = question;
  $("result").hidden = false;
  $("examples").hidden = true;
  $("ask").disabled = true;
  $("stop").hidden = false;
  say("Looking for an answer.");
}

function end() {
  running = null;
  $("answer").setAttribute("aria-busy", "false");
  $("ask").disabled = false;
  $("stop").hidden = true;
}

function show(found) {
  reply = found;
  $("answer").textContent = found.answer || "There is no answer, only what was found.";
  showDegraded(found.degraded);
  showPassages(found.passages, found.citations);
  const cited = found.citations.map((number) => found.passages[number - 1]);
  $("citations").replaceChildren(...cited.map((passage) => listItem(chip(passage))));
  showTimings(found.timings_ms, found.cached);
  showSource(found.source);
  resetFeedback();
  const count = cited.length === 1 ? "1 passage is" : `${cited.length} passages are`;
  say(`Answer: ${found.answer}. ${count} cited.`);
}

function showProblem(message) {
  $("problem").textContent = message;
  $("problem").hidden = false;
  $("result").hidden = !$("answer").textContent;
  say("");
}

function showDegraded(parts) {
  $("degraded").hidden = !parts.length;
  $("degraded").textContent = parts.length
    ? `A part of the system did not work: ${parts.map(instead).join("; ")}. ` +
      "The answer may be less exact than usual."
    : "";
}

const instead = ({ stage, used }) => (used ? `${stage} (${used} was used instead)` : stage);

/* Passages and documents */

function showPassages(passages, citations) {
  const cited = new Set(citations);
  $("passages-section").hidden = !passages.length;
  $("passages").replaceChildren(
    ...passages.map((passage) => {
      const text = element("div", { className: "text quiet", textContent: passage.text });
      const item = listItem(opener(passage), scores(passage), text);
      if (cited.has(passage.number)) {
        item.firstChild.after(element("span", { className: "cited", textContent: "cited" }));
      }
      return item;
    }),
  );
}

const titleOf = (passage) =>
  [passage.title || passage.document, passage.place].filter(Boolean).join(", ");
const numbered = (passage) =>
  passage.number ? `[${passage.number}] ${titleOf(passage)}` : titleOf(passage);

function opener(passage) {
  const button = element("button", { type: "button", textContent: numbered(passage) });
  button.addEventListener("click", () => openDocument(passage));
  return button;
}

function chip(passage) {
  const button = opener(passage);
  button.setAttribute("aria-label", `Show passage ${passage.number} in ${titleOf(passage)}`);
  return button;
}

function scores(passage) {
  const list = element("dl", { className: "scores" });
  fillScores(list, passage);
  return list;
}

function fillScores(list, passage) {
  const pairs = Object.entries(passage.signals).map(([name, value]) => [SIGNALS[name] ?? name, value]);
  list.replaceChildren(...[["Score", passage.score], ...pairs].map(([name, value]) =>
    pair(name, Number(value).toFixed(3))));
}

async function openDocument(passage) {
  let found;
  try {
    const query = new URLSearchParams({ id: passage.document });
    found = await (await call(`v1/document?${query}`)).json();
  } catch (error) {
    return showProblem(error.message);
  }
  $("document-title").textContent = found.title || found.document;
  fillScores($("document-scores"), passage);
  const mark = highlighted(found.pieces, passage);
  const dialog = $("document");
  if (!dialog.open) {
    if (matchMedia("(min-width: 70rem)").matches) dialog.show();
    else dialog.showModal();
  }
  document.body.classList.add("reading");
  mark?.scrollIntoView({ block: "center" });
  $("document-title").focus({ preventScroll: true });
}

/** Let lines that were broken at a column of the file flow; code, lists and tables stay as they are. */
const unwrapped = (text) => text.replace(/(?<=^\S[^\n]{55,100}[\p{L}\p{N},)"'])\n(?=[\p{Ll}(])/gmu, " ");

/** Put the pieces together by their offsets, which count code points and may overlap. */
function highlighted(pieces, passage) {
  const characters = [];
  for (const piece of pieces) {
    [...piece.text].forEach((character, at) => { characters[piece.start + at] = character; });
  }
  const joined = (from, to) => {
    let text = "";
    for (let at = Math.max(from, 0); at < to; at += 1) text += characters[at] ?? " ";
    return unwrapped(text);
  };
  const held = pieces.some((piece) => piece.id === passage.id);
  const before = joined(pieces[0].start, held ? passage.start : characters.length);
  if (!held) {
    $("document-text").replaceChildren(
      element("p", { className: "notice", textContent: "The document has changed since; the passage is no longer in it." }),
      before,
    );
    return null;
  }
  const mark = element("mark", { textContent: joined(passage.start, passage.end) });
  mark.setAttribute("aria-label", "The passage");
  $("document-text").replaceChildren(before, mark, joined(passage.end, characters.length));
  return mark;
}

function closeDocument() {
  if ($("document").open) $("document").close();
  document.body.classList.remove("reading");
}

/* Times */

function showTimings(timings, cached) {
  const total = timings.total ?? 0;
  const known = ["queue", "retrieve", "generate"].filter((stage) => stage in timings);
  const rest = total - known.reduce((sum, stage) => sum + timings[stage], 0);
  const stages = known.map((stage) => [stage, timings[stage]]);
  if (!cached) stages.push(["other", Math.max(rest, 0)]);
  $("bar").hidden = cached;
  $("bar").replaceChildren(...stages.map(([stage, value]) => {
    const part = element("span", { className: stage });
    part.style.flexGrow = String(value);
    return part;
  }));
  const rows = stages.map(([stage, value]) => pair(STAGES[stage], time(value), stage));
  rows.push(pair(cached ? "Answered before" : "Total", time(total), "total"));
  $("timings").replaceChildren(...rows);
  $("timings-section").hidden = false;
}

const time = (milliseconds) =>
  milliseconds < 1000 ? `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;

/* Feedback */

function resetFeedback() {
  rating = "";
  $("feedback").hidden = !takesFeedback;
  $("feedback-more").hidden = true;
  $("feedback-status").textContent = "";
  for (const id of ["comment", "correction"]) $(id).value = "";
  for (const thumb of document.querySelectorAll(".thumb")) thumb.setAttribute("aria-pressed", "false");
}

async function rate(chosen) {
  rating = chosen;
  for (const thumb of document.querySelectorAll(".thumb")) {
    thumb.setAttribute("aria-pressed", String(thumb.dataset.rating === chosen));
  }
  $("feedback-more").hidden = false;
  $("correction-part").hidden = chosen === "up";
  await sendFeedback("Thank you. You may add a comment.");
}

async function sendFeedback(thanks) {
  const correction = rating === "down" ? $("correction").value : "";
  try {
    await call("v1/feedback", {
      json: { answer_id: reply.id, rating, comment: $("comment").value, correction },
    });
    $("feedback-status").textContent = thanks;
  } catch (error) {
    $("feedback-status").textContent = error.message;
  }
}

/* Small helpers */

function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}

function listItem(...children) {
  const item = document.createElement("li");
  item.append(...children);
  return item;
}

function pair(name, value, className = "") {
  const group = element("div", { className });
  group.append(element("dt", { textContent: name }), element("dd", { textContent: value }));
  return group;
}

function say(message) {
  $("status").textContent = message;
}

function showSource(source) {
  $("source").textContent = `${source.artifact}, version ${source.version}`;
  const day = about?.version === source.version ? new Date(about.created) : NaN;
  $("made").textContent = Number.isNaN(Number(day)) ? "" : `compiled on ${day.toLocaleDateString(undefined, { dateStyle: "medium" })}`;
}

/** Examples and the date; a server that asks for a key tells them once it has one. */
async function introduce() {
  const key = sessionStorage.getItem(KEY);
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const response = await fetch("page/about", { headers }).catch(() => null);
  if (!response?.ok) return;
  about = await response.json().catch(() => null);
  if (!about) return;
  showSource(about);
  $("example-list").replaceChildren(...about.examples.map((question) => {
    const button = element("button", { type: "button", textContent: question });
    button.addEventListener("click", () => {
      $("question").value = question;
      ask(question);
    });
    return listItem(button);
  }));
  $("examples").hidden = !about.examples.length || !$("result").hidden;
}

async function greet() {
  const response = await fetch("readyz").catch(() => null);
  const health = await response?.json().catch(() => null);
  if (health?.source) {
    showSource(health.source);
    takesFeedback = health.feedback;
    document.title = `Ask ${health.source.artifact}`;
    if (sessionStorage.getItem(KEY) || !response.headers.has(KEYS_NEEDED)) introduce();
  } else if (health?.status === "loading") {
    $("source").textContent = "The server is starting.";
    setTimeout(greet, 500);
  } else {
    $("source").textContent = "The server is not ready.";
  }
}

$("ask-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = $("question").value.trim();
  if (question) ask(question);
});
$("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("ask-form").requestSubmit();
  }
});
$("stop").addEventListener("click", () => running?.abort());
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, $("key").value.trim());
  $("key").value = "";
  $("key-form").hidden = true;
  $("problem").hidden = true;
  $("question").focus();
  introduce();
  if ($("question").value.trim()) $("ask-form").requestSubmit();
});
for (const thumb of document.querySelectorAll(".thumb")) {
  thumb.addEventListener("click", () => rate(thumb.dataset.rating));
}
$("feedback").addEventListener("submit", (event) => {
  event.preventDefault();
  sendFeedback("Thank you, that was noted.");
});
$("document-close").addEventListener("click", closeDocument);
$("document").addEventListener("close", closeDocument);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeDocument();
});

greet();
$("question").focus();
