// The status page of a running pagewire: reads /metrics once a second, and shows what happened in
// between; and once what the doctor has said. Nothing leaves the machine that it is served from.
import { Chart, HeatChart, StackedChart, css, pathColour } from "./charts.js";
import { count, duration, number, percent, size } from "./format.js";
import { Between, parse, restarted } from "./metrics.js";
import { summarize } from "./summary.js";

const EVERY_MS = 1000;
const PATIENCE_MS = 5000;

const $ = (id) => document.getElementById(id);

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// ---------------------------------------------------------------- what is shown

function showTiles(now) {
  $("gbit").textContent = number(now.gbit);
  $("requests").textContent = number(now.requests);
  $("connections").textContent = count(now.connections);
  $("cpu").textContent = percent(now.cpu);
  $("per-gbit").textContent = number(now.perGbit);
  $("p99").textContent = number(now.p99);
  $("version").textContent = now.version ?? "";
  $("up").textContent = number(now.relay?.up);
  $("down").textContent = number(now.relay?.down);
  $("tunnels").textContent = count(now.relay?.tunnels);
  const relays = now.relay !== undefined;
  $("requests-title").textContent = relays ? "New connections" : "Requests";
  for (const part of document.querySelectorAll(".serve-only")) part.hidden = relays;
  for (const part of document.querySelectorAll(".relay-only")) part.hidden = !relays;
  const about = [relays ? "relay" : now.engine];
  if (now.workers.length > 0) about.push(`${now.workers.length} workers`);
  if (now.upS !== undefined) about.push(`up ${duration(now.upS)}`);
  $("about").textContent = about.filter(Boolean).join(" · ");
}

function pathBlock({ path, index, share, perCall, responses, reasons }) {
  const bar = element("i");
  bar.style.width = `${share * 100}%`;
  bar.style.background = `var(--path-${index % 12})`;
  const why = reasons.map(([reason, part]) => `${reason} ${percent(part)}`).join(", ");
  return element("div", { className: "path" },
    element("p", {}, element("b", { textContent: path }),
      element("span", { textContent: percent(share) })),
    element("div", { className: "bar" }, bar),
    element("small", {
      textContent: [responses > 0 ? `${number(responses)} responses/s` : "",
        `${size(perCall)} per call`, why].filter(Boolean).join(", "),
    }));
}

function showPaths(now) {
  const used = now.paths.filter(({ bytes, responses }) => bytes > 0 || responses > 0);
  used.sort((a, b) => b.bytes - a.bytes);
  const blocks = used.length > 0 ? used.map(pathBlock)
    : [element("p", { textContent: "Nothing was sent in the last second." })];
  if (now.relay?.switches.length > 0) {
    const reasons = now.relay.switches.map(([reason, rate]) => `${reason} ${number(rate)}/s`);
    blocks.push(element("p", { textContent: `Switches of path: ${reasons.join(", ")}` }));
  }
  if (now.relay?.spliceUsable === false) {
    blocks.push(element("p", { className: "bad", textContent: "splice does not work here." }));
  }
  $("paths").replaceChildren(...blocks);
}

/** `columns`: [title, class, row => text, row => class of the cell]. */
function showTable(table, columns, rows) {
  const line = (cell, texts, row) => element("tr", {}, ...texts.map((textContent, i) => {
    const [, className, , more] = columns[i];
    return element(cell, { textContent, className: `${className} ${(row && more?.(row)) ?? ""}` });
  }));
  table.replaceChildren(
    element("thead", {}, line("th", columns.map(([title]) => title))),
    element("tbody", {}, ...rows.map((row) => (
      line("td", columns.map(([, , text]) => text(row)), row)))),
  );
}

function showWorkers(now) {
  $("workers-section").hidden = now.workers.length === 0;
  const traffic = now.relay ? [
    ["Gbit/s up", "", (row) => number(row.up)],
    ["down", "", (row) => number(row.down)],
    ["new/s", "secondary", (row) => number(row.requests)],
  ] : [
    ["Gbit/s", "", (row) => number(row.gbit)],
    ["req/s", "", (row) => number(row.requests)],
  ];
  showTable($("workers"), [
    ["worker", "", (row) => row.worker],
    ...traffic,
    ["conns", "", (row) => count(row.connections)],
    ["user", "secondary", (row) => percent(row.user)],
    ["system", "secondary", (row) => percent(row.system)],
    ["CPU", "", (row) => percent(row.cpu)],
    ["events/wake", "secondary", (row) => number(row.events)],
  ], now.workers);
}

function showRelay({ routes, ends }) {
  const upOf = ({ upstreams }) => upstreams.filter(({ up }) => up).length;
  const mirror = routes.some((route) => route.mirror) ? [
    ["mirror Gbit/s", "secondary", (route) => number(route.mirror?.gbit)],
    ["lost", "", (route) => (route.mirror ? `${size(route.mirror.lostBytes)}/s` : "–"),
      (route) => (route.mirror?.lostBytes > 0 || route.mirror?.lostRecords > 0 ? "bad" : "")],
  ] : [];
  showTable($("routes"), [
    ["relay", "name", (route) => route.name],
    ["up", "", (route) => `${upOf(route)} of ${route.upstreams.length}`,
      (route) => (upOf(route) < route.upstreams.length ? "bad" : "")],
    ["conns", "", ({ upstreams }) => (
      count(upstreams.reduce((sum, { connections }) => sum + (connections ?? 0), 0)))],
    ["queued", "", (route) => count(route.queued), (route) => (route.queued > 0 ? "warning" : "")],
    ["look-ups failed", "secondary", (route) => `${number(route.lookupFailures)}/s`,
      (route) => (route.lookupFailures > 0 ? "warning" : "")],
    ...mirror,
  ], routes);
  const upstreams = routes.flatMap((route) => (
    route.upstreams.map((upstream) => ({ ...upstream, relay: route.name }))));
  showTable($("upstreams"), [
    ["upstream", "name", ({ upstream, address }) => (
      upstream === address ? upstream : `${upstream} (${address})`)],
    ...(routes.length > 1 ? [["relay", "secondary", ({ relay }) => relay]] : []),
    ["state", "", ({ up }) => (up ? "up" : "down"), ({ up }) => (up ? "good" : "bad")],
    ["conns", "", ({ connections }) => count(connections)],
    ["new/s", "", ({ connects }) => number(connects)],
    ["failed", "", ({ failures }) => number(failures),
      ({ failures }) => (failures > 0 ? "bad" : "")],
  ], upstreams);
  showRows($("ends"), ends.length === 0 ? [["No connection has ended", ""]]
    : ends.map(([end, rate]) => [end, number(rate), end === "done" ? "" : "warning"]));
}

/** `rows`: [what, text, class]. */
function showRows(list, rows) {
  list.replaceChildren(...rows.map(([what, text, className = ""]) => (
    element("div", {}, element("dt", { textContent: what }),
      element("dd", { textContent: text, className })))));
}

function showHealth(now) {
  const cold = `${number(now.coldWaits)}/s`
    + (now.coldWaitMs === undefined ? "" : ` of ${number(now.coldWaitMs)} ms`);
  const fdShare = (now.fds ?? 0) / (now.mostFds ?? Infinity);
  const ktls = ["Encrypted by the kernel, of the TLS connections", now.ktls === undefined
    ? "no TLS yet" : percent(now.ktls)];
  const own = now.relay ? [
    ["Other upstreams tried", `${number(now.relay.retries)}/s`,
      now.relay.retries > 0 ? "warning" : ""],
    ["Pipes in use; idle", `${count(now.relay.pipesInUse)}; ${count(now.relay.pipesIdle)}`],
    ...(now.ktls === undefined ? [] : [ktls]),
  ] : [
    ["Waits for the disk", cold, now.coldWaits > 0 ? "warning" : ""],
    ["Found in the page cache, of what was looked for", percent(now.resident)],
    ktls,
  ];
  showRows($("health"), [
    ["Errors", now.errors.length === 0 ? "none"
      : now.errors.map(([what, rate]) => `${what} ${number(rate)}/s`).join(", "),
    now.errors.length > 0 ? "bad" : ""],
    ["Retransmitted segments, this machine", percent(now.retransmitted),
      now.retransmitted > 0.01 ? "warning" : ""],
    ...own,
    ["Descriptors", `${count(now.fds)} of ${count(now.mostFds)}`, fdShare > 0.8 ? "warning" : ""],
    now.relay ? ["Memory", size(now.memory)]
      : ["Memory; held by the kernel for sends", `${size(now.memory)}; ${size(now.pinned)}`],
  ]);
}

// ---------------------------------------------------------------- the doctor's report

function doctorCounts(checks) {
  const counts = new Map();
  for (const { status } of checks) counts.set(status, (counts.get(status) ?? 0) + 1);
  return [...counts].map(([status, times]) => `${times} ${status}`).join(", ");
}

/** docs/doctor.schema.json. */
function showDoctor(report, made) {
  const { verdict, checks } = report;
  const parts = [element("p", { textContent: verdict.text })];
  if (verdict.changes.length > 0) {
    parts.push(element("ol", {}, ...verdict.changes.map(({ what, mend }) => (
      element("li", {}, what, ...(mend ? [element("code", { textContent: mend })] : []))))));
  }
  const when = made ? `, ${new Date(made).toLocaleString()}` : "";
  parts.push(element("p", {}, element("small", { textContent: doctorCounts(checks) + when })));
  $("doctor").replaceChildren(...parts);
}

async function readDoctor() {
  try {
    const answer = await fetch("/doctor.json", {
      cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS),
    });
    const report = await answer.json();
    if (report !== null) showDoctor(report, answer.headers.get("Last-Modified"));
  } catch (error) {
    $("doctor").replaceChildren(element("p", {
      textContent: `The report of pagewire doctor cannot be read: ${error.message}`,
    }));
  }
}

// ---------------------------------------------------------------- the curves

const charts = {
  paths: new StackedChart($("chart-paths")),
  cpu: new Chart($("chart-cpu"), [
    { label: "ms per Gbit", colour: () => pathColour(0) }]),
  fresh: new Chart($("chart-new"), [{ label: "new connections", colour: () => pathColour(1) }]),
  time: new HeatChart($("chart-time"), ["p50", "p90", "p99"].map((label) => (
    { label, colour: () => css(`--${label}`) }))),
};

function pushCharts(at, now) {
  charts.paths.push(at, now && now.paths.map(({ path, index, gbit }) => (
    { name: path, index, value: gbit })));
  charts.cpu.push(at, [now?.perGbit]);
  charts.fresh.push(at, [now?.requests]);
  charts.time.push(at, [now?.p50, now?.p90, now?.p99], now?.times ?? []);
}

function show(now, at) {
  showTiles(now);
  showPaths(now);
  showWorkers(now);
  showHealth(now);
  if (now.relay) showRelay(now.relay);
  pushCharts(at, now);
}

// ---------------------------------------------------------------- when it is read

let last = null; // {samples, at}: at in seconds of performance.now()
let paused = false;
let lostSince = null;

function tell(state, text, notice = "") {
  $("state").className = state;
  $("state").textContent = text;
  $("notice").hidden = notice === "";
  $("notice").textContent = notice;
}

async function read() {
  const answer = await fetch("/metrics", {
    cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS),
  });
  if (!answer.ok) throw new Error(`/metrics has status ${answer.status}`);
  return parse(await answer.text());
}

async function turn() {
  try {
    const samples = await read();
    if (paused) return; // since it was asked
    const at = performance.now() / 1000;
    lostSince = null;
    if (last && restarted(last.samples, samples)) {
      pushCharts(at, null);
      tell("live", "live", "The server was restarted; its counters begin anew.");
    } else if (last) {
      show(summarize(new Between(last.samples, samples, at - last.at), Date.now() / 1000), at);
      tell("live", "live");
    }
    last = { samples, at };
  } catch (error) {
    if (paused) return;
    lostSince ??= Date.now();
    const seconds = Math.round((Date.now() - lostSince) / 1000);
    tell("lost", "not reached", `The server does not answer for ${seconds} s (${error.message}). `
      + "The figures below are the last ones.");
  }
}

async function go() {
  while (true) {
    const next = performance.now() + EVERY_MS;
    // A hidden page asks for nothing; its next figures are those of the time in between.
    if (!paused && !document.hidden) await turn();
    await new Promise((resume) => { setTimeout(resume, Math.max(next - performance.now(), 50)); });
  }
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").textContent = paused ? "Go on" : "Pause";
  if (paused) tell("", "paused");
});

$("command").textContent = `pagewire top --admin ${location.host}`;
go();
readDoctor();
