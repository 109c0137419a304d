// The curves, by uPlot. Each holds the last five minutes; a gap is null.
import uPlot from "uplot";

const KEPT = 300;

export function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export const pathColour = (index) => css(`--path-${index % 12}`);

/** A number for an axis: no more digits than it needs. */
function short(value) {
  return value >= 1000 ? `${value / 1000}k` : String(Number(value.toPrecision(3)));
}

function axis(extra) {
  return {
    stroke: css("--muted"), font: "12px system-ui, sans-serif",
    grid: { stroke: css("--line"), width: 1 }, ticks: { show: false }, ...extra,
  };
}

/** Wide enough for its longest label. */
function leftAxis(logarithmic) {
  return axis({
    ...(logarithmic ? { splits: decades } : {}),
    size: (chart, values) => 18 + 7 * Math.max(2, ...(values ?? []).map((text) => text.length)),
    values: (chart, splits) => splits.map((value) => (value === null ? "" : short(value))),
  });
}

function ago(chart, splits) {
  return splits.map((at) => {
    if (at === 0) return "now";
    return at % 60 === 0 ? `${-at / 60} min` : `${-at} s`;
  });
}

/** Of a logarithmic scale the decades alone. */
function decades(chart, index, low, high) {
  const found = [];
  for (let power = Math.round(Math.log10(low)); 10 ** power <= high * 1.001; power += 1) {
    found.push(10 ** power);
  }
  return found;
}

/** From 0 to a little above what is there; of a logarithmic scale whole decades. */
function yScale(logarithmic, extent) {
  if (!logarithmic) return { range: (chart, low, high) => [0, (high || 1) * 1.08] };
  return {
    distr: 3,
    range: () => {
      const [low, high] = extent();
      return [10 ** Math.floor(Math.log10(low)), 10 ** Math.ceil(Math.log10(high))];
    },
  };
}

export class Chart {
  /** `series`: [{label, colour: () => css, fill}], `logarithmic`: of the y axis. */
  constructor(element, series, { logarithmic = false } = {}) {
    Object.assign(this, { element, series, logarithmic });
    this.rows = [];
    this.build();
    new ResizeObserver(() => this.plot.setSize(this.size())).observe(element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.build());
  }

  size() {
    return { width: this.element.clientWidth, height: this.element.clientHeight };
  }

  /** Also when the colours change, which uPlot does not take afterwards. */
  build() {
    this.plot?.destroy();
    this.plot = new uPlot({
      ...this.size(),
      legend: { show: false },
      cursor: { show: false },
      hooks: { drawClear: [(plot) => this.drawUnder(plot)] },
      scales: {
        x: { time: false, range: (chart, low) => [Math.min(-60, low ?? 0), 0] },
        y: yScale(this.logarithmic, () => this.extent()),
      },
      axes: [axis({ size: 26, space: 70, incrs: [10, 30, 60, 120], values: ago }),
        leftAxis(this.logarithmic)],
      series: [{}, ...this.series.map(({ label, colour, fill }) => ({
        label, stroke: colour(), width: fill ? 1 : 2, points: { show: false },
        fill: fill ? colour() : undefined,
      }))],
    }, this.data(), this.element);
  }

  /** Against the seconds before the last one. */
  data() {
    const now = this.rows.at(-1)?.at ?? 0;
    const columns = [this.rows.map((row) => row.at - now)];
    this.series.forEach((_, i) => columns.push(this.rows.map((row) => row.values[i] ?? null)));
    return columns;
  }

  /** Of a logarithmic y axis: the least and the most that it has to show. */
  extent() {
    const values = this.rows.flatMap((row) => row.values.filter((value) => value > 0));
    return values.length > 0 ? [Math.min(...values), Math.max(...values)] : [0.1, 10];
  }

  /** What lies under the grid and the curves. */
  drawUnder() {}

  /** Another set of series; what the old ones held goes with them. */
  setSeries(series) {
    this.series = series;
    this.build();
  }

  push(at, values, more = {}) {
    this.rows.push({ at, values, ...more });
    if (this.rows.length > KEPT) this.rows.shift();
    this.plot.setData(this.data());
  }
}

/**
 * Curves over a heat map: for each reading a column of cells, one a bucket of a histogram; the
 * stronger its colour, the more was counted there. `cells` of push(): [{lower, upper, rate}].
 */
export class HeatChart extends Chart {
  constructor(element, series) {
    super(element, series, { logarithmic: true });
  }

  push(at, values, cells) {
    super.push(at, values, { cells: cells.filter(({ rate }) => rate > 0) });
  }

  extent() {
    const cells = this.rows.flatMap((row) => row.cells);
    if (cells.length === 0) return [0.1, 10];
    // The lowest bucket begins at 0, and the highest has no end.
    return [Math.min(...cells.map(({ lower, upper }) => lower || upper / 2)),
      Math.max(...cells.map(({ lower, upper }) => (upper === Infinity ? lower * 2 : upper)))];
  }

  drawUnder(plot) {
    const { ctx, bbox } = plot;
    const now = this.rows.at(-1)?.at ?? 0;
    const most = Math.max(...this.rows.flatMap((row) => row.cells.map(({ rate }) => rate)));
    const { min, max } = plot.scales.y;
    // Whole pixels, so that no seam shows between cells.
    const y = (value) => Math.round(plot.valToPos(Math.min(Math.max(value, min), max), "y", true));
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.fillStyle = css("--heat");
    for (const [i, { at, cells }] of this.rows.entries()) {
      const [left, right] = [this.rows[i - 1]?.at ?? at - 1, at]
        .map((edge) => Math.round(plot.valToPos(edge - now, "x", true)));
      for (const { lower, upper, rate } of cells) {
        // By the root, so that the few slow ones, which matter, are seen beside the many.
        ctx.globalAlpha = 0.08 + 0.92 * Math.sqrt(rate / most);
        ctx.fillRect(left, y(upper), right - left, y(lower) - y(upper));
      }
    }
    ctx.restore();
  }
}

/** Areas one on the other. The highest sum is drawn first, those beneath it over it. */
export class StackedChart {
  constructor(element) {
    this.chart = new Chart(element, []);
    this.names = [];
    this.history = [];
  }

  /** `parts`: [{name, index, value}]; a name that was there once stays. null: a gap. */
  push(at, parts) {
    this.history.push({ at, parts });
    if (this.history.length > KEPT) this.history.shift();
    const fresh = (parts ?? []).filter(({ name, value }) => value > 0
      && !this.names.some((known) => known.name === name));
    if (fresh.length > 0) {
      this.names = [...this.names, ...fresh].sort((a, b) => b.index - a.index);
      this.chart.setSeries(this.names.map(({ name, index }) => (
        { label: name, colour: () => pathColour(index), fill: true })));
      this.chart.rows = this.history.map((one) => this.row(one));
    } else {
      this.chart.rows.push(this.row({ at, parts }));
      if (this.chart.rows.length > KEPT) this.chart.rows.shift();
    }
    this.chart.plot.setData(this.chart.data());
  }

  row({ at, parts }) {
    if (parts === null) return { at, values: this.names.map(() => null) };
    let sum = 0;
    const values = new Map();
    for (const { name } of [...this.names].reverse()) {
      sum += parts.find((part) => part.name === name)?.value ?? 0;
      values.set(name, sum);
    }
    return { at, values: this.names.map(({ name }) => values.get(name)) };
  }
}
