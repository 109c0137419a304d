// What a relay did between two readings, by relay and by upstream. No DOM here. undefined: could
// not be had.
const GBIT = 8 / 1e9;

/** [[label's value, a second], ...], the most frequent first, without those that are 0. */
function rates(between, name, label) {
  return between.of(name)
    .filter(({ growth }) => growth > 0)
    .map(({ labels, growth }) => [labels[label], growth / between.seconds])
    .sort((a, b) => b[1] - a[1]);
}

function mirrorOf(between, relay) {
  if (between.now("pagewire_relay_mirror_bytes_total", { relay }) === undefined) return undefined;
  const rate = (what) => between.rate(`pagewire_relay_mirror_${what}_total`, { relay });
  return {
    gbit: rate("bytes") * GBIT,
    lostBytes: rate("dropped_bytes"),
    lostRecords: rate("dropped_records"),
  };
}

function upstreamsOf(between, relay) {
  return between.of("pagewire_relay_upstream_up").filter(({ labels }) => labels.relay === relay)
    .map(({ labels, value }) => ({
      upstream: labels.upstream,
      address: labels.address,
      up: value !== 0,
      connections: between.now("pagewire_relay_upstream_connections", labels),
      connects: between.rate("pagewire_relay_upstream_connects_total", labels),
      failures: between.rate("pagewire_relay_upstream_connect_failures_total", labels),
    }));
}

function workers(between) {
  return between.of("pagewire_relay_worker_connections_open")
    .map(({ labels: { worker }, value }) => {
      const bytes = (direction) => (
        between.rate("pagewire_relay_worker_bytes_total", { worker, direction }) * GBIT);
      return {
        worker,
        up: bytes("up"),
        down: bytes("down"),
        requests: between.rate("pagewire_relay_worker_connections_total", { worker }),
        connections: value,
      };
    });
}

export function summarizeRelay(between) {
  const bytes = (direction) => between.rate("pagewire_relay_bytes_total", { direction }) * GBIT;
  return {
    up: bytes("up"),
    down: bytes("down"),
    tunnels: between.now("pagewire_relay_tunnels_open"),
    pipesInUse: between.now("pagewire_relay_pipes_in_use"),
    pipesIdle: between.now("pagewire_relay_pipes_idle"),
    spliceUsable: between.now("pagewire_relay_splice_usable") !== 0,
    retries: between.rate("pagewire_relay_retries_total"),
    switches: rates(between, "pagewire_relay_path_switches_total", "reason"),
    ends: rates(between, "pagewire_relay_ends_total", "end"),
    workers: workers(between),
    routes: between.of("pagewire_relay_queued").map(({ labels: { relay }, value }) => ({
      name: relay,
      queued: value,
      lookupFailures: between.rate("pagewire_relay_lookup_failures_total", { relay }),
      mirror: mirrorOf(between, relay),
      upstreams: upstreamsOf(between, relay),
    })),
  };
}
