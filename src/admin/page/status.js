// Asks for api/v1/status every two seconds, and writes the answer into the page in place: rows are kept by name and
// only what differs is touched, so that focus, selection and what is unfolded stay. What the proxy says enters the
// page as text alone.
"use strict";

const EVERY = 2_000; // ms between an answer and the next question
const SLOWEST = 30_000; // ms, when questions fail
const PATIENCE = 8_000; // ms for a status
const LONG_PATIENCE = 130_000; // ms for a login or a reload: the proxy gives up before
const TOLD_FOR = 12_000; // ms that good news stay
const ROWS_AT_FIRST = 50; // of the routes
const TOOLS_FROM = 20; // routes
const PROBLEMS_SHOWN = 50;
const MANY_ERRORS = 0.05; // a share of a route's answers that is worth a word

const $ = (id) => document.getElementById(id);

/* Words and numbers */

const numbers = new Intl.NumberFormat("en");
const count = (n) => numbers.format(n);
const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min` + (s % 60 ? ` ${s % 60} s` : "");
  if (s < 86400) return `${Math.floor(s / 3600)} h` + (s % 3600 >= 60 ? ` ${Math.floor((s % 3600) / 60)} min` : "");
  return `${Math.floor(s / 86400)} d` + (s % 86400 >= 3600 ? ` ${Math.floor((s % 86400) / 3600)} h` : "");
}

/** To its first unit: for what nobody counts in seconds. */
const roughly = (seconds) => span(seconds).split(" ", 2).join(" ");

/** The time of day in UTC, as in the log; with its date where that is not today. */
function moment(when, now) {
  if (Number.isNaN(when)) return "";
  const [day, time] = new Date(when).toISOString().split(/[T.Z]/);
  return new Date(now).toISOString().startsWith(day) ? time : `${day} ${time}`;
}

function rate(perSecond) {
  if (perSecond === 0) return "0";
  if (perSecond < 0.01) return "<0.01";
  if (perSecond < 1) return perSecond.toFixed(2);
  return perSecond < 10 ? perSecond.toFixed(1) : count(Math.round(perSecond));
}

function share(part) {
  if (part === 0) return "0%";
  if (part < 0.001) return "<0.1%";
  return `${part < 0.1 ? (part * 100).toFixed(1) : Math.round(part * 100)}%`;
}

function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
}

const some = (names) =>
  names.length > 3
    ? `${names.slice(0, 2).join(", ")} and ${names.length - 2} more`
    : names.join(names.length === 2 ? " and " : ", ");

/* The page, touched only where it differs */

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Text in which backquotes set off what is meant literally. */
function prose(node, text) {
  if (node.prose === text) return;
  node.prose = text;
  const pieces = text.split("`");
  const literal = (piece, i) => i % 2 === 1 && i < pieces.length - 1;
  node.replaceChildren(
    ...pieces.map((piece, i) => {
      if (!literal(piece, i)) return i % 2 ? `\`${piece}` : piece;
      const code = document.createElement("code");
      code.textContent = piece;
      return code;
    }),
  );
}

function show(node, yes) {
  node.toggleAttribute("hidden", !yes); // the property is HTML's alone, and shapes are SVG
}

function attribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** A shape, a colour and a word. */
function mark(node, shape, tone, words) {
  attribute(node, "data-tone", tone);
  attribute(node.querySelector("use"), "href", `#shape-${shape}`);
  if (words !== undefined) write(node.lastElementChild, words);
}

function stamp(node, iso) {
  const when = Date.parse(iso ?? "");
  attribute(node, "datetime", iso ?? "");
  write(node, Number.isNaN(when) ? "" : `${moment(when, now())}, ${roughly((now() - when) / 1000)} ago`);
}

/** A copy of a template, and its parts by name. */
function copy(template) {
  const root = $(template).content.firstElementChild.cloneNode(true);
  const part = {};
  for (const node of root.querySelectorAll("[data-part]")) part[node.dataset.part] = node;
  return { root, part };
}

/** Rows of a parent, kept by key, in the order of the items. */
class Rows {
  constructor(parent, key, make) {
    Object.assign(this, { parent, key, make, rows: new Map() });
    this.fixed = parent.lastElementChild;
  }

  lay(items) {
    const seen = new Map();
    const keyed = items.map((item) => {
      const name = this.key(item);
      const nth = seen.get(name) ?? 0;
      seen.set(name, nth + 1);
      return [nth ? `${name} ${nth}` : name, item];
    });
    const wanted = new Set(keyed.map(([key]) => key));
    for (const [key, row] of this.rows) {
      if (wanted.has(key)) continue;
      row.root.remove();
      this.rows.delete(key);
    }
    let next = this.fixed ? this.fixed.nextElementSibling : this.parent.firstElementChild;
    for (const [key, item] of keyed) {
      if (!this.rows.has(key)) this.rows.set(key, this.make(item));
      const row = this.rows.get(key);
      if (row.root === next) next = next.nextElementSibling;
      else this.parent.insertBefore(row.root, next);
      row.write(item);
    }
  }
}

/* What is known, and since when */

let status = null; // the last answer
let received = 0; // performance.now() of it
let serverTime = 0; // its time, in ms: ages don't depend on this machine's clock
let trouble = null; // why there is no newer one: {title, words}
let paused = false;

const elapsed = () => (performance.now() - received) / 1000;
const now = () => serverTime + elapsed() * 1000;

/* Credentials */

const STATES = {
  live: ["ok", "ok"],
  asleep: ["idle", "quiet"],
  fetching: ["busy", "busy"],
  renewing: ["busy", "busy"],
  failing: ["bad", "bad"],
};

class CredentialRow {
  constructor() {
    Object.assign(this, copy("credential-template"));
    const { part } = this;
    part["more-button"].addEventListener("click", () => {
      show(part.more, part.more.hidden);
      part["more-button"].setAttribute("aria-expanded", String(!part.more.hidden));
    });
    part.renew.addEventListener("click", () => askToRenew(this.item));
  }

  write(item) {
    const { part } = this;
    this.item = item;
    write(part.name, item.name);
    write(part.kind, item.provider + (item.exclusive ? ", exclusive" : ""));
    write(part["more-name"], ` of ${item.name}`);
    write(part["renew-name"], ` ${item.name}`);
    const [shape, tone] =
      item.state === "failing" && item.live ? ["warn", "warn"] : (STATES[item.state] ?? ["idle", "quiet"]);
    const words = item.state === "failing" && item.live ? "failing, token still good" : item.state;
    mark(part.state, shape, tone, words + (item.waiting ? `, ${count(item.waiting)} waiting` : ""));
    attribute(part.gauge, "data-tone", tone);
    write(part.generation, item.generation ? count(item.generation) : "–");
    write(part.renewals, count(item.renewals));
    write(part.logins, count(item.logins) + (item.failed_logins ? `, ${count(item.failed_logins)} failed` : ""));
    show(part.renew, item.provider !== "static");
    this.notes(item);
    this.details(item);
    this.tick();
  }

  notes({ last_error: error, disturbed, suspect }) {
    const { part } = this;
    if (error) {
      prose(part["error-words"], error.message || "the last login failed");
      write(part["error-code"], [error.class, error.code].filter(Boolean).join(": "));
      prose(part["error-mend"], error.mend ?? "");
    }
    show(part.error, Boolean(error));
    show(part.disturbed, disturbed);
    show(part.suspect, suspect);
    show(part.notes, Boolean(error || disturbed || suspect));
  }

  details(item) {
    const { part } = this;
    const source = item.lifetime_source ? `, from ${item.lifetime_source}` : "";
    const skew = item.clock_skew_seconds;
    write(
      part.lifetime,
      item.live ? (item.lifetime_seconds === null ? "without end" : span(item.lifetime_seconds)) + source : "–",
    );
    write(part["logins-more"], `${count(item.logins)}, ${count(item.failed_logins)} of them failed`);
    write(part.refused, count(item.refused));
    write(part.disturbances, count(item.disturbances));
    write(part.waiting, count(item.waiting));
    write(
      part.clock,
      skew === null
        ? "not known"
        : Math.abs(skew) < 2
          ? "like ours"
          : `${span(Math.abs(skew))} ${skew > 0 ? "ahead of" : "behind"} ours`,
    );
  }

  /** What runs down by itself between two answers. */
  tick() {
    const { part, item } = this;
    const { expires_in_seconds: end, lifetime_seconds: life, retry_in_seconds: retry } = item;
    const left = end === null ? null : Math.max(0, end - elapsed());
    const measured = item.live && left !== null && life > 0;
    show(part.gauge, measured);
    if (measured) part.rest.style.setProperty("transform", `scaleX(${Math.min(1, left / life).toFixed(4)})`);
    if (!item.live) write(part.left, "no token");
    else if (left === null) write(part.left, "never expires");
    else write(part.left, span(left) + (life ? ` of ${span(life)}` : ""));
    write(part.retry, retry === null ? "" : `Next try in ${span(Math.ceil(Math.max(0, retry - elapsed())))}.`);
  }
}

/* Routes */

const SPARK = { width: 120, height: 24 };

class RouteRow {
  constructor() {
    Object.assign(this, copy("route-template"));
  }

  write(item) {
    const said = JSON.stringify(item);
    if (said === this.said) return; // of a thousand routes few have changed
    this.said = said;
    const { part } = this;
    const many = item.error_share !== null && item.error_share >= MANY_ERRORS;
    write(part.name, item.name);
    write(part.match, item.match);
    write(part.upstream, item.upstream ?? "answers by itself");
    write(
      part.credential,
      item.upstream === null ? "" : item.credential === null ? "without credential" : `with ${item.credential}`,
    );
    write(part.rate, rate(item.requests_per_second));
    write(part.requests, `${count(item.requests)} in all`);
    mark(part.share, "bad", many ? "bad" : "plain", item.error_share === null ? "–" : share(item.error_share));
    show(part.many, many);
    write(part.errors, item.errors ? `${count(item.errors)} in all` : "");
    write(part.p50, duration(item.p50_ms));
    write(part.p99, duration(item.p99_ms));
    this.spark(item.history);
  }

  /** Requests as a silhouette, errors as bars before it; the newest step is at the right. */
  spark({ step_seconds: step, requests, errors }) {
    const most = Math.max(0, ...requests);
    const [silhouette, bars] = this.part.spark.children;
    const wide = SPARK.width / Math.max(60, requests.length);
    const x = (n) => (SPARK.width - (requests.length - n) * wide).toFixed(1);
    const y = (n) => (SPARK.height - (n ? Math.max(1.5, (n / most) * (SPARK.height - 1)) : 0)).toFixed(1);
    silhouette.setAttribute(
      "d",
      most ? `M${x(0)} ${SPARK.height}${requests.map((n, i) => `V${y(n)}H${x(i + 1)}`).join("")}V${SPARK.height}Z` : "",
    );
    bars.setAttribute(
      "d",
      errors
        .map((n, i) => (n ? `M${x(i)} ${SPARK.height}V${y(Math.min(n, most))}H${x(i + 1)}V${SPARK.height}Z` : ""))
        .join(""),
    );
    const [all, failed] = [requests, errors].map((list) => list.reduce((sum, n) => sum + n, 0));
    const peak = rate(most / step);
    attribute(
      this.part.spark,
      "aria-label",
      `${plural(all, "request")}, ${plural(failed, "error")}, at most ${peak} a second`,
    );
    write(this.part.peak, most ? `peak ${peak}/s` : "");
  }
}

const ORDERS = {
  rate: (route) => route.requests_per_second,
  errors: (route) => (route.error_share ?? 0) * route.requests_per_second || (route.error_share ?? -1),
  p99: (route) => route.p99_ms ?? -1,
};
let everyRoute = false;

function writeRoutes() {
  const all = status.routes;
  const tools = all.length > TOOLS_FROM;
  show($("route-tools"), tools);
  const wanted = tools ? $("filter").value.trim().toLowerCase() : "";
  const holds = (route) =>
    [route.name, route.match, route.upstream, route.credential].some((text) => text?.toLowerCase().includes(wanted));
  let list = wanted ? all.filter(holds) : all;
  const weight = tools && ORDERS[$("order").value];
  if (weight) list = [...list].sort((a, b) => weight(b) - weight(a));
  const shown = everyRoute ? list : list.slice(0, ROWS_AT_FIRST);
  routes.lay(shown);
  write(
    $("routes-count"),
    list.length === all.length ? count(all.length) : `${count(list.length)} of ${count(all.length)}`,
  );
  write(
    $("no-routes"),
    all.length ? (list.length ? "" : "No route matches the filter.") : "The configuration names no route.",
  );
  show($("routes"), list.length > 0);
  show($("show-all"), shown.length < list.length);
  write($("show-all"), `Show all ${count(list.length)} routes`);
}

/* Configuration, and what the last reload said */

const OUTCOMES = { taken: ["ok", "ok"], unchanged: ["ok", "quiet"], refused: ["bad", "bad"] };

class ProblemRow {
  constructor() {
    Object.assign(this, copy("problem-template"));
  }

  write(item) {
    const { part } = this;
    const bad = item.severity === "error";
    mark(part.severity, bad ? "bad" : "warn", bad ? "bad" : "warn", item.severity);
    write(part.place, item.line ? `${item.file}:${item.line}:${item.column}` : item.file);
    write(part.path, item.path ?? "");
    prose(part.message, item.message);
    const source = item.line ? (item.source ?? "") : "";
    write(part.source, `${item.line} | ${source}`);
    show(part.source, source.trim() !== "");
    prose(part.mend, item.mend ?? "");
    show(part.mend, Boolean(item.mend));
  }
}

class Line {
  constructor() {
    this.root = document.createElement("li");
  }

  write(text) {
    prose(this.root, text);
  }
}

function writeConfiguration() {
  const { config, reload, reloads, store } = status;
  write($("file"), config.file);
  write($("generation"), count(config.generation));
  const [shape, tone] = OUTCOMES[reload?.outcome] ?? ["idle", "quiet"];
  mark($("last-reload"), shape, tone, reload ? reload.outcome : "none yet");
  const told = ["taken", "unchanged", "refused"].filter((outcome) => reloads[outcome]);
  write($("reloads"), told.map((outcome) => `${count(reloads[outcome])} ${outcome}`).join(", ") || "none");
  write(
    $("ready"),
    (status.ready ? "yes" : "no") + (status.ready_when === "tokens" ? ", when every credential has a token" : ""),
  );
  write($("listeners"), status.listeners.join(", "));
  write($("store"), store.kind === "memory" ? "in memory" : `in ${store.kind}`);

  const restart = reload?.restart_needed ?? [];
  lines.lay(restart);
  show($("restart"), restart.length > 0);

  const found = reload?.problems ?? [];
  problems.lay(found.slice(0, PROBLEMS_SHOWN));
  write(
    $("found-title"),
    reload?.outcome === "refused" ? "Why the last reload was refused" : "What the last reload warned of",
  );
  prose($("found-error"), reload?.error ?? "");
  show($("found-error"), Boolean(reload?.error));
  write($("problems-left"), `and ${count(found.length - PROBLEMS_SHOWN)} more`);
  show($("problems-left"), found.length > PROBLEMS_SHOWN);
  show($("found"), found.length > 0 || Boolean(reload?.error));
}

/* The verdict: a line for each thing that is wrong, the title, and the tab's picture */

class VerdictRow {
  constructor() {
    Object.assign(this, copy("verdict-template"));
  }

  write({ tone, shape, title, words, link }) {
    const { part } = this;
    mark(part.mark, shape ?? tone, tone);
    write(part.title, title);
    write(part.words, words ?? "");
    show(part.link, Boolean(link));
  }
}

/** What is wrong, the worst first. */
function wrongs() {
  if (trouble) return [{ tone: "bad", ...trouble }];
  const { credentials: all, reload, config } = status;
  const list = [];
  const say = (tone, title, words, more) => words !== "" && list.push({ tone, title, words, ...more });
  const named = (items, test) => some(items.filter(test).map((item) => item.name));
  say(
    "bad",
    "No token:",
    named(all, (c) => c.state === "failing" && !c.live),
  );
  say(
    "bad",
    "Answers with errors:",
    named(status.routes, (r) => (r.error_share ?? 0) >= MANY_ERRORS),
  );
  if (reload?.outcome === "refused")
    say("bad", "The last reload was refused.", `Generation ${count(config.generation)} stays in force.`, {
      link: true,
    });
  say(
    "warn",
    "Renewal fails, the token in hand still serves:",
    named(all, (c) => c.state === "failing" && c.live),
  );
  say(
    "warn",
    "Disturbed by others who log in with the same client:",
    named(all, (c) => c.disturbed),
  );
  if (reload?.restart_needed?.length) say("warn", "Needs a restart:", "a part of the last change waits for it.");
  if (status.state === "draining")
    say("warn", "Draining.", "Requests under way may finish, then the proxy ends.", { shape: "drain" });
  else if (!status.ready) say("warn", "Not ready:", "a credential has no token yet.");
  return list;
}

function writeVerdict() {
  const list = wrongs();
  const tone = list[0]?.tone ?? "ok";
  if (list.length === 0) {
    list.push({
      tone,
      title: "All is well:",
      words: `${plural(status.credentials.length, "credential")}, ${plural(status.routes.length, "route")}.`,
    });
  }
  verdict.lay(list);
  attribute($("verdict"), "data-tone", tone);
  show($("again"), Boolean(trouble));
  const what =
    list.length > 1
      ? `${list.length} problems`
      : [list[0].title, trouble ? "" : list[0].words].join(" ").replace(/[.: ]+$/, "");
  const title = `${tone === "ok" ? "" : `${tone === "bad" ? "✕" : "⚠"} ${what} – `}tokenferry ${location.host}`;
  if (document.title !== title) document.title = title;
  attribute(document.querySelector("link[rel=icon]"), "href", icon(tone));
}

function icon(tone) {
  const shapes = {
    ok: ["%231a7f37", "<circle cx='8' cy='8' r='7'/>"],
    warn: ["%23b07700", "<path d='M8 1 16 15H0z'/>"],
    bad: ["%23c62828", "<path d='M5 1h6l4 4v6l-4 4H5l-4-4V5z'/>"],
  };
  const [colour, shape] = shapes[tone];
  return `data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16' fill='${colour}'>${shape}</svg>`;
}

/* All of it */

const credentials = new Rows(
  $("credentials"),
  (item) => item.name,
  () => new CredentialRow(),
);
const routes = new Rows(
  $("route-rows"),
  (item) => item.name,
  () => new RouteRow(),
);
const problems = new Rows(
  $("problems"),
  (p) => `${p.file}:${p.line}:${p.column} ${p.message}`,
  () => new ProblemRow(),
);
const verdict = new Rows(
  $("verdict-lines"),
  (item) => item.title,
  () => new VerdictRow(),
);
const lines = new Rows(
  $("restart-list"),
  (text) => text,
  () => new Line(),
);

function writeAll() {
  write($("host"), location.host);
  write($("version"), status.version);
  writeConfiguration();
  credentials.lay(status.credentials);
  write($("credentials-count"), count(status.credentials.length));
  show($("credentials"), status.credentials.length > 0);
  show($("no-credentials"), status.credentials.length === 0);
  writeRoutes();
  tick();
}

/** What changes with time alone. */
function tick() {
  if (!status || trouble || paused || document.hidden) return;
  write($("uptime"), span(status.uptime_seconds + elapsed()));
  stamp($("taken"), status.config.taken);
  stamp($("last-reload-at"), status.reload?.at);
  for (const row of credentials.rows.values()) row.tick();
}

function writeFreshness() {
  const at = status ? moment(serverTime, serverTime) : "";
  write(
    $("freshness"),
    paused ? `paused${at && ` at ${at}`}` : trouble ? (at ? `last heard ${at}` : "not heard yet") : `as of ${at}`,
  );
}

/* Asking */

/** Below the page, wherever that is; without a name and password that it was opened with, which fetch refuses. */
const address = (path) => new URL(path, location.origin + location.pathname);

const json = (response) =>
  response.json().catch((error) => {
    if (error instanceof SyntaxError) return null;
    throw error;
  });

const UNREACHABLE = {
  title: "The proxy can't be reached.",
  words: "It may have ended, or the way to it is cut. This page goes on asking.",
};
const SILENT = {
  title: "The proxy doesn't answer.",
  words: "It took the question, and said nothing in time. This page goes on asking.",
};
const LOCKED = {
  title: "The admin token is needed.",
  words: "The browser asks for a name and a password: any name will do, the password is admin.token of proxy.yaml.",
  final: true,
};
const odd = (words) => ({ title: "The proxy's answer is no status.", words });

let asking = false;
let askAgain = false;
let failures = 0;
let timer = 0;

async function question() {
  const response = await fetch(address("api/v1/status"), {
    cache: "no-store",
    headers: { Accept: "application/json" },
    signal: AbortSignal.timeout(PATIENCE),
  });
  if (response.status === 401) return { trouble: LOCKED };
  const body = await json(response);
  if (!response.ok)
    return {
      trouble: odd(
        `It answered ${response.status}${body?.detail ? `: ${body.detail}` : ""}. This page goes on asking.`,
      ),
    };
  if (!Array.isArray(body?.credentials) || !Array.isArray(body?.routes))
    return { trouble: odd("It is something else than this page expects: load the page again.") };
  return { body, at: Date.parse(response.headers.get("Date") ?? "") };
}

async function ask() {
  if (asking) {
    askAgain = true;
    return;
  }
  asking = true;
  clearTimeout(timer);
  let answer;
  try {
    answer = await question();
  } catch (error) {
    answer = { trouble: error.name === "TimeoutError" ? SILENT : UNREACHABLE };
  }
  const began = performance.now();
  take(answer);
  asking = false;
  if (askAgain) {
    askAgain = false;
    ask();
  } else {
    // However many routes: nine tenths of the time are left to whoever reads.
    next(Math.max(EVERY * 2 ** Math.min(failures, 4), (performance.now() - began) * 9));
  }
}

function take(answer) {
  trouble = answer.trouble ?? null;
  failures = trouble ? failures + 1 : 0;
  if (!trouble) {
    if (status && status.version !== answer.body.version)
      tell("The proxy has another version now: load this page again.", true);
    else if (status && status.started !== answer.body.started) tell("The proxy was started anew.", false);
    status = answer.body;
    received = performance.now();
    serverTime = answer.at || Date.parse(status.started) + status.uptime_seconds * 1000 || Date.now();
    try {
      writeAll();
    } catch (error) {
      trouble = odd(`This page can't show it: ${error.message}. Load the page again.`);
    }
  }
  if (trouble && status) trouble = { ...trouble, words: trouble.words + lastHeard() };
  $("data").classList.toggle("stale", Boolean(trouble));
  writeFreshness();
  writeVerdict();
}

function lastHeard() {
  const drained = status.state === "draining" ? " It was draining, so it may have ended as it should." : "";
  return ` What follows is what it said at ${moment(serverTime, serverTime)} UTC.${drained}`;
}

function next(delay) {
  clearTimeout(timer);
  if (!paused && !document.hidden && !trouble?.final) timer = setTimeout(ask, Math.min(delay, SLOWEST));
}

/* Doing */

let silence = 0;

/** Says how a deed went, to eyes and to screen readers. Bad news stay until they are sent away. */
function tell(words, bad) {
  clearTimeout(silence);
  $("told").className = words ? `told ${bad ? "bad" : "good"}` : "told empty";
  write($("told-words"), words);
  show($("told-close"), Boolean(words));
  if (words && !bad) silence = setTimeout(tell, TOLD_FOR, "");
}

async function order(path) {
  try {
    const response = await fetch(address(path), {
      method: "POST",
      headers: { Accept: "application/json" },
      signal: AbortSignal.timeout(LONG_PATIENCE),
    });
    return { status: response.status, ok: response.ok, body: (await json(response)) ?? {} };
  } catch {
    return { status: 0, ok: false, body: {} };
  }
}

/** Why an order came to nothing. */
function reason({ status: code, body }) {
  if (code === 0) return "the proxy did not answer, so it is not known how it went.";
  if (code === 401) return "the admin token is needed.";
  const error = body.last_error;
  if (error) return [error.message, error.mend && `Mend: ${error.mend}`].filter(Boolean).join(". ");
  return body.error ?? body.detail ?? body.title ?? `the proxy answered ${code}`;
}

/** One order at a time from a button; it keeps the focus, so it is not disabled. */
async function press(button, work) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  try {
    await work();
  } finally {
    button.removeAttribute("aria-disabled");
    ask();
  }
}

let toRenew = null;

function askToRenew(credential) {
  toRenew = credential.name;
  write($("renew-title"), `Renew the token of ${credential.name}?`);
  show($("renew-exclusive"), credential.exclusive);
  $("renew-yes").classList.toggle("danger", credential.exclusive);
  $("renew-dialog").showModal();
}

async function renew(name) {
  tell(`Renewing the token of ${name}.`, false);
  const answer = await order(`api/v1/credentials/${encodeURIComponent(name)}/refresh`);
  const { generation, expires_in_seconds: life } = answer.body;
  if (!answer.ok) return tell(`The token of ${name} was not renewed: ${reason(answer)}`, true);
  tell(
    `The token of ${name} is renewed: generation ${count(generation)}${life ? `, good for ${span(life)}` : ""}.`,
    false,
  );
}

async function reload() {
  tell("Reading the configuration.", false);
  const answer = await order("api/v1/reload");
  const { outcome, generation, problems: found = [], restart_needed: restart = [] } = answer.body;
  if (!answer.ok) {
    const why = found.length ? `${plural(found.length, "problem")}, shown under Configuration.` : reason(answer);
    return tell(`The configuration was not taken: ${why}`, true);
  }
  const verdict =
    outcome === "unchanged"
      ? `Nothing has changed: generation ${count(generation)} stays in force.`
      : `The configuration is taken: generation ${count(generation)}.`;
  const beside = [
    restart.length && "Part of it needs a restart.",
    found.length && `${plural(found.length, "warning")}, shown under Configuration.`,
  ];
  tell([verdict, ...beside].filter(Boolean).join(" "), false);
}

$("renew-no").addEventListener("click", () => $("renew-dialog").close());
$("renew-yes").addEventListener("click", () => {
  $("renew-dialog").close();
  const button = credentials.rows.get(toRenew)?.part.renew;
  if (button) press(button, () => renew(toRenew));
});
$("reload").addEventListener("click", () => press($("reload"), reload));
$("told-close").addEventListener("click", () => tell("", false));
$("again").addEventListener("click", ask);
$("filter").addEventListener("input", () => status && writeRoutes());
$("order").addEventListener("change", () => status && writeRoutes());
$("show-all").addEventListener("click", () => {
  everyRoute = true;
  writeRoutes();
  $("routes").focus();
});
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  writeFreshness();
  if (paused) clearTimeout(timer);
  else ask();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else if (!paused && !trouble?.final) ask();
});

setInterval(tick, 1000);
ask();
