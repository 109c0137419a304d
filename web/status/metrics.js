// The metrics as text (Prometheus, format 0.0.4), and what happened between two readings of them.

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const ESCAPES = { n: "\n" };

/** A map from "name{labels}" to {name, labels, value}. Throws when the text is something else. */
export function parse(text) {
  const samples = new Map();
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const found = SAMPLE.exec(line);
    if (!found) throw new Error("/metrics is not what it was expected to be");
    const labels = {};
    for (const [, name, value] of (found[2] ?? "").matchAll(LABEL)) {
      labels[name] = value.replace(/\\(.)/g, (_, c) => ESCAPES[c] ?? c);
    }
    samples.set(line.slice(0, line.lastIndexOf(" ")), {
      name: found[1], labels, value: Number(found[3].replace("+Inf", "Infinity")),
    });
  }
  return samples;
}

/** Whether `after` is of another run of the server: something that only grows is smaller. */
export function restarted(before, after) {
  for (const [key, { name, value }] of before) {
    if (!name.endsWith("_total") || name.startsWith("pagewire_host_")) continue;
    const now = after.get(key)?.value;
    if (now === undefined ? value > 0 : now < value) return true;
  }
  return false;
}

/** Two readings, `seconds` apart. */
export class Between {
  constructor(before, after, seconds) {
    Object.assign(this, { before, after, seconds });
    this.byName = new Map();
    for (const [key, sample] of after) {
      const growth = Math.max(sample.value - (before.get(key)?.value ?? 0), 0);
      if (!this.byName.has(sample.name)) this.byName.set(sample.name, []);
      this.byName.get(sample.name).push({ ...sample, growth });
    }
  }

  of(name) { return this.byName.get(name) ?? []; }

  has(name) { return this.byName.has(name); }

  /** The sum of what is now; undefined when it is not exported. */
  now(name, labels = {}) { return this.sum(name, labels, "value"); }

  growth(name, labels = {}) { return this.sum(name, labels, "growth") ?? 0; }

  rate(name, labels = {}) { return this.growth(name, labels) / this.seconds; }

  sum(name, labels, what) {
    const wanted = Object.entries(labels);
    let total;
    for (const sample of this.of(name)) {
      if (wanted.every(([label, value]) => sample.labels[label] === value)) {
        total = (total ?? 0) + sample[what];
      }
    }
    return total;
  }

  /** Of a histogram: [{lower, upper, growth}], each by itself and not cumulative. */
  buckets(name) {
    let [lower, below] = [0, 0];
    return this.of(`${name}_bucket`).map(({ labels, growth }) => {
      const upper = labels.le === "+Inf" ? Infinity : Number(labels.le);
      const bucket = { lower, upper, growth: Math.max(growth - below, 0) };
      [lower, below] = [upper, growth];
      return bucket;
    });
  }

  /** Of a histogram, linear within a bucket; undefined when nothing was counted. */
  quantile(name, share) {
    const buckets = this.buckets(name);
    const wanted = share * buckets.reduce((sum, { growth }) => sum + growth, 0);
    let below = 0;
    for (const { lower, upper, growth } of buckets) {
      if (growth > 0 && below + growth >= wanted) {
        return upper === Infinity ? lower : lower + (upper - lower) * (wanted - below) / growth;
      }
      below += growth;
    }
    return undefined;
  }
}
