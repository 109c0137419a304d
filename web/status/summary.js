// What the page shows, worked out of two readings. No DOM here. undefined: could not be had.
import { summarizeRelay } from "./relay.js";

const ratio = (part, whole) => (whole > 0 ? part / whole : undefined);
const GBIT = 8 / 1e9;

/** What the two programs call the same thing. */
const SERVE = {
  bytes: "pagewire_path_bytes_total", calls: "pagewire_path_calls_total",
  requests: "pagewire_requests_total", connections: "pagewire_connections_open",
};
const RELAY = {
  bytes: "pagewire_relay_path_bytes_total", calls: "pagewire_relay_path_calls_total",
  requests: "pagewire_relay_connections_total", connections: "pagewire_relay_connections_open",
};

function paths(between, words) {
  const all = between.growth(words.bytes);
  return between.of(words.bytes).map(({ labels: { path }, growth }, index) => {
    const responses = between.growth("pagewire_path_responses_total", { path });
    return {
      path, index,
      bytes: growth,
      share: ratio(growth, all) ?? 0,
      gbit: growth * GBIT / between.seconds,
      responses: responses / between.seconds,
      perCall: ratio(growth, between.growth(words.calls, { path })),
      reasons: between.of("pagewire_path_reasons_total")
        .filter((sample) => sample.labels.path === path && sample.growth > 0)
        .map((sample) => [sample.labels.reason, ratio(sample.growth, responses) ?? 0])
        .sort((a, b) => b[1] - a[1]),
    };
  });
}

function serveWorkers(between) {
  return between.of("pagewire_worker_sent_bytes_total").map(({ labels: { worker }, growth }) => ({
    worker,
    gbit: growth * GBIT / between.seconds,
    requests: between.rate("pagewire_worker_requests_total", { worker }),
    connections: between.now("pagewire_worker_connections_open", { worker }),
  }));
}

/** A worker's thread, which serve and relay tell by the same names. */
function threadOf(between, worker) {
  const cpu = (mode) => {
    const growth = between.sum("pagewire_worker_cpu_seconds_total", { worker, mode }, "growth");
    return growth === undefined ? undefined : growth / between.seconds;
  };
  const [user, system] = [cpu("user"), cpu("system")];
  return {
    user,
    system,
    cpu: user === undefined || system === undefined ? undefined : user + system,
    events: ratio(between.growth("pagewire_worker_events_total", { worker }),
      between.growth("pagewire_worker_wakeups_total", { worker })),
  };
}

function errors(between) {
  const rates = [];
  const add = (name, growth) => { if (growth > 0) rates.push([name, growth / between.seconds]); };
  for (const { labels, growth } of between.of("pagewire_connection_ends_total")) {
    add(labels.why, growth);
  }
  for (const { labels, growth } of between.of("pagewire_requests_total")) {
    if (labels.status.startsWith("5")) add(`status ${labels.status}`, growth);
  }
  for (const { labels, growth } of between.of("pagewire_tls_failures_total")) {
    add(`tls ${labels.result}`, growth);
  }
  for (const [name, words] of [["connections_refused", "refused"], ["relay_refused", "refused"],
    ["accept_errors", "accept errors"], ["relay_accept_errors", "accept errors"],
    ["disk_errors", "disk errors"], ["log_dropped", "log lines dropped"]]) {
    add(words, between.growth(`pagewire_${name}_total`));
  }
  return rates.sort((a, b) => b[1] - a[1]);
}

function ktls(between) {
  const kernel = between.of("pagewire_tls_connections_total")
    .filter(({ labels }) => labels.ktls !== "none")
    .reduce((sum, { value }) => sum + value, 0);
  return ratio(kernel, between.now("pagewire_tls_connections_total") ?? 0);
}

export function summarize(between, nowS) {
  const relay = between.has("pagewire_relay_bytes_total") ? summarizeRelay(between) : undefined;
  const words = relay ? RELAY : SERVE;
  const bytes = between.growth(words.bytes);
  const cpuS = between.growth("process_cpu_seconds_total");
  const again = between.growth("pagewire_host_tcp_retransmitted_segments_total");
  const sent = between.growth("pagewire_host_tcp_sent_segments_total");
  const ms = (share) => {
    const seconds = between.quantile("pagewire_request_duration_seconds", share);
    return seconds === undefined ? undefined : seconds * 1e3;
  };
  const waits = between.growth("pagewire_disk_wait_seconds_count");
  const waitS = ratio(between.growth("pagewire_disk_wait_seconds_sum"), waits);
  const started = between.now("process_start_time_seconds");
  return {
    relay,
    version: between.of("pagewire_build_info")[0]?.labels.version,
    engine: between.of("pagewire_engine_info")[0]?.labels.engine,
    upS: started === undefined ? undefined : nowS - started,
    gbit: bytes * GBIT / between.seconds,
    requests: between.rate(words.requests),
    connections: between.now(words.connections),
    cpu: cpuS / between.seconds,
    perGbit: ratio(cpuS * 1e3, bytes * GBIT),
    p50: ms(0.5), p90: ms(0.9), p99: ms(0.99),
    times: between.buckets("pagewire_request_duration_seconds").map(({ lower, upper, growth }) => (
      { lower: lower * 1e3, upper: upper * 1e3, rate: growth / between.seconds })),
    coldWaits: waits / between.seconds,
    coldWaitMs: waitS === undefined ? undefined : waitS * 1e3,
    ktls: ktls(between),
    retransmitted: ratio(again, again + sent),
    resident: ratio(between.growth("pagewire_residency_found_bytes_total"),
      between.growth("pagewire_residency_asked_bytes_total")),
    fds: between.now("process_open_fds"),
    mostFds: between.now("process_max_fds"),
    memory: between.now("process_resident_memory_bytes"),
    pinned: (between.now("pagewire_process_pinned_bytes") ?? 0)
      + (between.now("pagewire_zerocopy_in_flight_bytes") ?? 0),
    paths: paths(between, words),
    workers: (relay ? relay.workers : serveWorkers(between))
      .map((row) => ({ ...row, ...threadOf(between, row.worker) })),
    errors: errors(between),
  };
}
