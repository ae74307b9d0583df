"use strict";
// @ts-check
/* global uPlot */
/** Line charts by uPlot: a legend of buttons with dash patterns, a cursor that can be set, logarithms on request. */
const CHARTS = (() => {
  const DASHES = [[], [9, 4], [2, 3], [12, 4, 2, 4], [5, 2], [16, 5], [2, 6], [9, 3, 2, 3, 2, 3]];
  const COLOURS = 8;
  const HEIGHT = 270; // pixels
  /** @type {Array<{resize: function(number=): void}>} */
  const charts = [];

  /** Return a colour of the page by its name, as it is now: dark, light or printed. */
  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  /** Return the name of the k-th curve's colour, and its dashes: no two of the first 64 curves have both the same. */
  function look(k) {
    return { colour: `--c${k % COLOURS}`, dash: DASHES[(k + Math.floor(k / COLOURS)) % DASHES.length] };
  }

  /** Return a value as a number; null for an empty or infinite one, which is a gap. */
  function numeric(value) {
    if (value === null || value === undefined || value === "") return null;
    const found = Number(value);
    return Number.isFinite(found) ? found : null;
  }

  /** Return where in sorted numbers the last one stands that is not above a value; -1 where none is. */
  function lastAt(sorted, value) {
    let low = 0, high = sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle] <= value) low = middle + 1; else high = middle;
    }
    return low - 1;
  }

  function swatch(k) {
    const NS = "http://www.w3.org/2000/svg", svg = document.createElementNS(NS, "svg"), line = document.createElementNS(NS, "line");
    const attributes = { x1: "0", y1: "5", x2: "34", y2: "5", "stroke-width": "3", stroke: `var(${look(k).colour})` };
    for (const [name, value] of Object.entries(attributes)) line.setAttribute(name, value);
    if (look(k).dash.length) line.setAttribute("stroke-dasharray", look(k).dash.join(" "));
    for (const [name, value] of Object.entries({ width: "34", height: "10", "aria-hidden": "true" })) svg.setAttribute(name, value);
    svg.append(line);
    return svg;
  }

  /**
   * Draw curves over one x.
   * @param {HTMLElement} root where the chart is put
   * @param {object} options
   * @param {string} options.title
   * @param {Array<number>} options.x sorted; a curve may have its own
   * @param {Array<{label: string, values: Array<number|string|null>, x?: Array<number>, low?: Array<number>,
   *   high?: Array<number>, hidden?: boolean}>} options.series texts of numbers are shown as they are; a band from low
   *   to high is drawn around its curve
   * @param {boolean=} options.log begin with a logarithmic axis
   * @param {(function(number): void)=} options.onCursor gets the x below the pointer
   * @param {Object<string, string>=} options.words the labels of the page's language
   */
  function lineChart(root, { title, x, series, log = false, onCursor, words = WORDS.en }) {
    const xs = [...new Set(series.reduce((all, one) => all.concat(one.x || []), x.slice()))].sort((a, b) => a - b);
    const place = new Map(xs.map((value, k) => [value, k]));
    const rows = series.map((one) => ({ own: one.x || x, texts: one.values }));
    let isLog = log, plot = null, at = null, quiet = false;
    const shown = series.map((one) => !one.hidden);

    const figure = document.createElement("figure"), head = document.createElement("div"), heading = document.createElement("h3");
    const box = document.createElement("div"), legend = document.createElement("ul"), logs = document.createElement("button");
    figure.className = "chart"; head.className = "chart-head"; box.className = "chart-plot"; legend.className = "chart-legend";
    heading.textContent = title;
    logs.type = "button"; logs.textContent = words.log; logs.setAttribute("aria-label", `${title}: ${words.log}`);
    logs.addEventListener("click", () => { isLog = !isLog; build(); });
    head.append(heading, logs);
    box.setAttribute("role", "img");
    box.setAttribute("aria-label", `${title}. ${words.chart.replace("{names}", () => series.map((one) => one.label).join(", "))}`);
    figure.append(head, box, legend);
    root.append(figure);

    const tells = series.map((one, k) => {
      const item = document.createElement("li"), button = document.createElement("button");
      const name = document.createElement("span"), value = document.createElement("span");
      button.type = "button"; button.title = words.toggle;
      name.textContent = one.label; value.className = "chart-value";
      button.append(swatch(k), name, value);
      button.setAttribute("aria-pressed", String(shown[k]));
      button.addEventListener("click", () => {
        shown[k] = !shown[k];
        button.setAttribute("aria-pressed", String(shown[k]));
        build();
      });
      item.append(button); legend.append(item);
      return value;
    });

    /** Return a column over all x; with logarithms, what is not above 0 is a gap. */
    function column(values, own) {
      const found = new Array(xs.length).fill(null);
      for (let k = 0; k < own.length; k++) {
        const value = numeric(values[k]);
        found[place.get(own[k])] = isLog && value !== null && value <= 0 ? null : value;
      }
      return found;
    }

    function columns() {
      const found = [xs];
      rows.forEach(({ own, texts }) => found.push(column(texts, own)));
      series.forEach((one, k) => { if (one.low && one.high) found.push(column(one.high, rows[k].own), column(one.low, rows[k].own)); });
      return found;
    }

    function build() {
      logs.setAttribute("aria-pressed", String(isLog));
      if (plot) plot.destroy();
      const curves = series.map((one, k) => ({
        label: one.label, show: shown[k], scale: "y", stroke: () => colour(look(k).colour), width: 2, dash: look(k).dash,
        spanGaps: true, points: { show: rows[k].own.length < 2 },
      }));
      const bands = [], edges = [];
      series.forEach((one, k) => {
        if (!one.low || !one.high) return;
        const first = 1 + series.length + edges.length;
        edges.push(...["high", "low"].map(() => ({ show: shown[k], scale: "y", stroke: "transparent", width: 0, spanGaps: true, points: { show: false } })));
        bands.push({ series: [first, first + 1], fill: () => `${colour(look(k).colour)}33` });
      });
      const axis = { stroke: () => colour("--ink"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { stroke: () => colour("--line") }, font: "12px system-ui, sans-serif" };
      plot = new uPlot({
        width: Math.max(200, box.clientWidth || 600), height: HEIGHT, legend: { show: false }, bands,
        cursor: { y: false, drag: { x: true, y: false }, points: { size: 7 } },
        scales: { x: { time: false }, y: { distr: isLog ? 3 : 1 } },
        series: [{}, ...curves, ...edges],
        axes: [{ ...axis }, { ...axis, size: 72, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : brief(tick))) }],
        hooks: { setCursor: [moved], draw: [follow] },
      }, columns(), box);
    }

    /** Return an axis' number in few characters. */
    function brief(value) {
      const size = Math.abs(value);
      return size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential().replace("e+", "e") : String(Number(value.toPrecision(6)));
    }

    function moved(self) {
      if (quiet || self.cursor.idx === null || self.cursor.idx === undefined || self.cursor.left < 0) return;
      tell(xs[self.cursor.idx]);
      if (onCursor) onCursor(xs[self.cursor.idx]);
    }

    function tell(value) {
      at = value;
      rows.forEach(({ own, texts }, k) => {
        const found = lastAt(own, value);
        const text = found < 0 ? "" : texts[found];
        tells[k].textContent = text === null || text === undefined ? "" : String(text);
      });
    }

    /** Put the cursor to an x. */
    function setStep(value) {
      tell(value);
      if (plot.status) follow(plot);
    }

    /** Draw the cursor at its x, which is known once the axes are. */
    function follow(self) {
      if (at === null || self.over.matches(":hover")) return;
      quiet = true;
      self.setCursor({ left: self.valToPos(at, "x"), top: 0 }, false);
      quiet = false;
    }

    /** Give a curve other values at the same x. */
    function setValues(k, values) {
      rows[k].texts = values;
      plot.setData(columns(), false);
      plot.redraw();
      if (at !== null) tell(at);
    }

    function resize(width = box.clientWidth) {
      if (width > 0 && plot) plot.setSize({ width: Math.max(200, width), height: HEIGHT });
    }

    build();
    let last = box.clientWidth;
    new ResizeObserver(() => { if (box.clientWidth !== last) { last = box.clientWidth; resize(); } }).observe(box);
    const chart = { element: figure, setStep, setValues, resize, redraw: () => plot.redraw() };
    charts.push(chart);
    return chart;
  }

  const PRINTED = 680; // pixels that a sheet has room for
  addEventListener("beforeprint", () => { document.documentElement.classList.add("printing"); charts.forEach((chart) => chart.resize(PRINTED)); });
  addEventListener("afterprint", () => { document.documentElement.classList.remove("printing"); charts.forEach((chart) => chart.resize()); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach((chart) => chart.redraw()));

  return { lineChart, lastAt, look, colour };
})();
