"use strict";
// @ts-check
/* global uPlot, WORDS, ELEMENTS */
/**
 * Line charts by uPlot: a legend of buttons with dash patterns, a cursor that can be set, logarithms on request.
 * @typedef {{label: string, values: Array<number|string|null>, x?: number[], low?: Array<number|null>,
 *   high?: Array<number|null>, hidden?: boolean}} Series texts of numbers are shown as they are; a curve may have its
 *   own x; a band from low to high is drawn around its curve
 */
const CHARTS = (() => {
  const { make, draw, fill, count, brief, lastAt, scale } = ELEMENTS;
  const DASHES = [[], [9, 4], [2, 3], [12, 4, 2, 4], [5, 2], [16, 5], [2, 6], [9, 3, 2, 3, 2, 3]];
  const COLOURS = 8;
  const HEIGHT = 270, PRINTED = 680; // pixels of a chart, and in width those that a sheet has room for
  const WIDEST = 3; // spans of the curves that their bands may take
  const WHOLE = [1, 2, 5].flatMap((each) => Array.from({ length: 10 }, (_, k) => each * 10 ** k)).sort((a, b) => a - b);
  /** @typedef {[number|null, number|null]} View null for an end that is the data's */
  /** @type {Array<{title: string, element: HTMLElement, resize: function(): void, redraw: function(): void,
   *   view: function(): View|null, zoom: function(View): void, destroy: function(): void}>} */
  const charts = [];
  let drawing = new AbortController(); // of all that is drawn now

  /**
   * Return a colour of the page by its name, as it is now: dark, light or printed.
   * @param {string} name
   */
  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  /**
   * Return the pixels of width that a box has for a drawing: on paper those of a sheet.
   * @param {HTMLElement} box
   */
  function widthOf(box) {
    return document.documentElement.classList.contains("printing") ? PRINTED : box.clientWidth;
  }

  /**
   * Return the name of the k-th curve's colour, and its dashes: no two of the first 64 curves have both the same.
   * @param {number} k
   */
  function look(k) {
    return { colour: `--c${k % COLOURS}`, dash: DASHES[(k + Math.floor(k / COLOURS)) % DASHES.length] };
  }

  /**
   * Return a value as a number; null for an empty or infinite one, which is a gap.
   * @param {number|string|null|undefined} value
   */
  function numeric(value) {
    if (value === null || value === undefined || value === "") return null;
    const found = Number(value);
    return Number.isFinite(found) ? found : null;
  }

  /**
   * Return a piece of the k-th curve's line.
   * @param {number} k
   */
  function swatch(k) {
    const { colour: name, dash } = look(k);
    const line = draw("line", { x1: 0, y1: 5, x2: 34, y2: 5, "stroke-width": 3, stroke: `var(${name})` });
    line.setAttribute("stroke-dasharray", dash.join(" ") || "none");
    return draw("svg", { width: 34, height: 10, "aria-hidden": "true" }, line);
  }

  /**
   * Return the least and the largest of columns; null where there is no number.
   * @param {Array<Array<number|null>>} columns
   * @returns {[number, number]|null}
   */
  function ends(columns) {
    let low = Infinity, high = -Infinity;
    for (const column of columns) {
      for (const value of column) {
        if (value !== null) { low = Math.min(low, value); high = Math.max(high, value); }
      }
    }
    return low <= high ? [low, high] : null;
  }

  /**
   * Draw curves over one x.
   * @param {HTMLElement} root where the chart is put
   * @param {object} options
   * @param {string} options.title
   * @param {number[]} options.x sorted
   * @param {Series[]} options.series
   * @param {boolean=} options.log begin with a logarithmic axis
   * @param {string=} options.over what x counts: the steps where it is left out
   * @param {(function(number): void)=} options.onCursor gets the x below the pointer
   * @param {(function(View): void)=} options.onZoom gets what a person zooms to
   * @param {Words=} options.words the labels of the page's language
   */
  function lineChart(root, { title, x, series, log = false, onCursor, onZoom, words = WORDS.en, over = words.step }) {
    const xs = [...new Set(series.reduce((all, one) => all.concat(one.x || []), x.slice()))].sort((a, b) => a - b);
    const place = new Map(xs.map((value, k) => [value, k]));
    const rows = series.map((one) => ({ own: one.x || x, texts: one.values }));
    const shown = series.map((one) => !one.hidden);
    let isLog = log, quiet = false;
    /** @type {any} */
    let plot = null;
    /** @type {number|null} */
    let at = null;

    const legend = make("ul", { class: "chart-legend" });
    const logs = make("button", { type: "button", "aria-label": `${title}: ${words.log}` }, words.log);
    const names = series.map((one) => one.label).join(", ");
    const told = `${title}. ${fill(words.chart, { names })}`;
    const box = make("div", { class: "chart-plot", role: "img", "aria-label": told });
    const figure = make("figure", { class: "chart" },
      make("div", { class: "chart-head" }, make("h3", {}, title), logs), box, legend);
    logs.addEventListener("click", () => { isLog = !isLog; build(); });
    root.append(figure);

    const tells = series.map((one, k) => {
      const value = make("span", { class: "chart-value" });
      const button = make("button", { type: "button", title: words.toggle, "aria-pressed": String(shown[k]) },
        swatch(k), make("span", {}, one.label), value);
      button.addEventListener("click", () => {
        shown[k] = !shown[k];
        button.setAttribute("aria-pressed", String(shown[k]));
        build();
      });
      legend.append(make("li", {}, button));
      return value;
    });

    /**
     * Return a column over all x; with logarithms, what is not above 0 is a gap.
     * @param {Array<number|string|null>} values
     * @param {number[]} own
     * @returns {Array<number|null>}
     */
    function column(values, own) {
      const found = new Array(xs.length).fill(null);
      for (let k = 0; k < own.length; k += 1) {
        const value = numeric(values[k]);
        found[place.get(own[k])] = isLog && value !== null && value <= 0 ? null : value;
      }
      return found;
    }

    function columns() {
      /** @type {any[][]} */
      const found = [xs];
      rows.forEach(({ own, texts }) => found.push(column(texts, own)));
      series.forEach((one, k) => {
        if (one.low && one.high) found.push(column(one.high, rows[k].own), column(one.low, rows[k].own));
      });
      return found;
    }

    /**
     * Say whether the bands of the curves that are shown are so wide that the curves would be flat beside them.
     * @param {any[][]} found
     */
    function isCut(found) {
      const size = (/** @type {number} */ value) => (isLog ? Math.log(value) : value);
      const curves = ends(found.slice(1, 1 + series.length).filter((_, k) => shown[k]));
      const banded = series.map((_, k) => k).filter((k) => series[k].low && series[k].high);
      const bands = ends(found.slice(1 + series.length).filter((_, j) => shown[banded[j >> 1]]));
      if (!curves || !bands || curves[0] === curves[1]) return false;
      return size(bands[1]) - size(bands[0]) > WIDEST * (size(curves[1]) - size(curves[0]));
    }

    /** Return the axes: whole numbers across, and up with logarithms a line for each power of ten alone. */
    function axes() {
      const size = scale(), font = `${12 * size}px system-ui, sans-serif`;
      const axis = {
        stroke: () => colour("--ink"), ticks: { stroke: () => colour("--line") }, font, labelFont: font,
        labelSize: 20 * size, size: 36 * size,
      };
      const isPower = (/** @type {number} */ value) => Math.abs(Math.log10(value) % 1) < 1e-9;
      const powers = (/** @type {any} */ _, /** @type {number[]} */ splits) =>
        (isLog && splits.filter(isPower).length > 1 ? splits.map((each) => (isPower(each) ? each : null)) : splits);
      const grid = { stroke: () => colour("--line"), width: 1 };
      const values = (/** @type {any} */ _, /** @type {Array<number|null>} */ ticks) =>
        ticks.map((tick) => (tick === null ? "" : brief(tick, 6)));
      const across = { ...axis, grid, label: over, incrs: WHOLE, space: 50 * size, values };
      const ticks = { ...axis.ticks, filter: powers };
      return [across, { ...axis, grid: { ...grid, filter: powers }, ticks, size: 66 * size, values }];
    }

    function build() {
      logs.setAttribute("aria-pressed", String(isLog));
      const before = plot && view();
      if (plot) plot.destroy();
      const found = columns(), auto = !isCut(found);
      figure.classList.toggle("cut", !auto);
      const curves = series.map((one, k) => ({
        label: one.label, show: shown[k], scale: "y", stroke: () => colour(look(k).colour), width: 2,
        dash: look(k).dash, spanGaps: true, points: { show: rows[k].own.length < 2 },
      }));
      const bands = [], edges = [];
      for (const [k, one] of series.entries()) {
        if (!one.low || !one.high) continue;
        const first = 1 + series.length + edges.length;
        const edge = {
          show: shown[k], scale: "y", stroke: "transparent", width: 0, spanGaps: true, auto, points: { show: false },
        };
        edges.push(edge, { ...edge });
        bands.push({ series: [first, first + 1], fill: () => `${colour(look(k).colour)}33` });
      }
      plot = new uPlot({
        width: Math.max(200, box.clientWidth || 600), height: HEIGHT * scale(), legend: { show: false }, bands,
        cursor: { y: false, drag: { x: true, y: false }, points: { size: 7 } },
        scales: { x: { time: false }, y: { distr: isLog ? 3 : 1 } },
        series: [{}, ...curves, ...edges], axes: axes(),
        hooks: { setCursor: [moved], setScale: [zoomed], draw: [follow] },
      }, found, box);
      if (before) zoom(before);
    }

    /**
     * @param {any} self the plot, which has a status once it is drawn
     * @param {string} key
     */
    function zoomed(self, key) {
      if (key === "x" && self.status && !quiet && onZoom) onZoom(view() || [null, null]);
    }

    /** @param {any} self the plot */
    function moved(self) {
      if (quiet || self.cursor.idx === null || self.cursor.idx === undefined || self.cursor.left < 0) return;
      tell(xs[self.cursor.idx]);
      if (onCursor) onCursor(xs[self.cursor.idx]);
    }

    /**
     * Tell each curve's value at an x; one without a point there tells the last before, and where that is.
     * @param {number} value
     */
    function tell(value) {
      at = value;
      rows.forEach(({ own, texts }, k) => {
        const found = lastAt(own, value), text = found < 0 ? null : texts[found];
        const where = found < 0 || own[found] === value ? "" : ` (${over} ${count(own[found])})`;
        tells[k].textContent = text === null || text === undefined || text === "" ? "" : `${text}${where}`;
      });
    }

    /**
     * Put the cursor to an x.
     * @param {number} value
     */
    function setStep(value) {
      tell(value);
      if (plot.status) follow(plot);
    }

    /**
     * Draw the cursor at its x, which is known once the axes are.
     * @param {any} self the plot
     */
    function follow(self) {
      if (at === null || self.over.matches(":hover")) return;
      const before = quiet;
      quiet = true;
      self.setCursor({ left: self.valToPos(at, "x"), top: 0 }, false);
      quiet = before;
    }

    /**
     * Give a curve other values at the same x.
     * @param {number} k
     * @param {Array<number|string|null>} values
     */
    function setValues(k, values) {
      rows[k].texts = values;
      plot.setData(columns(), false);
      plot.redraw();
      if (at !== null) tell(at);
    }

    function resize() {
      const width = widthOf(box);
      if (width > 0 && plot) plot.setSize({ width: Math.max(200, width), height: HEIGHT * scale() });
    }

    build();
    let last = box.clientWidth;
    const watcher = new ResizeObserver(() => { if (box.clientWidth !== last) { last = box.clientWidth; resize(); } });
    watcher.observe(box);

    /**
     * Return the least and the largest x of the view; null for all of it.
     * @returns {View|null}
     */
    function view() {
      const { min, max } = plot.scales.x, low = min > xs[0] ? min : null, high = max < xs[xs.length - 1] ? max : null;
      return low === null && high === null ? null : [low, high];
    }

    /**
     * Zoom to a view; a cursor that is outside stays at its step, though uPlot, a task later, puts it to the edge.
     * @param {View} to
     */
    function zoom([low, high]) {
      quiet = true;
      plot.setScale("x", { min: low === null ? xs[0] : low, max: high === null ? xs[xs.length - 1] : high });
      queueMicrotask(() => { quiet = false; });
    }

    const destroy = () => { watcher.disconnect(); plot.destroy(); };
    const redraw = () => plot.redraw();
    const chart = { title, element: figure, setStep, setValues, resize, redraw, view, zoom, destroy };
    charts.push(chart);
    return chart;
  }

  /** Return each chart that is on the page, by its title and how many of the same stand before it. */
  function named() {
    /** @type {Map<string, typeof charts[number]>} */
    const found = new Map();
    for (const chart of charts.filter((each) => each.element.isConnected)) {
      let k = 0;
      while (found.has(`${chart.title}|${k}`)) k += 1;
      found.set(`${chart.title}|${k}`, chart);
    }
    return found;
  }

  /** End all charts, for the page to be drawn anew, and return what each was zoomed to. */
  function clear() {
    /** @type {Map<string, View>} */
    const views = new Map();
    for (const [name, chart] of named()) if (chart.view() !== null) views.set(name, chart.view());
    charts.forEach((chart) => chart.destroy());
    charts.length = 0;
    drawing.abort();
    drawing = new AbortController();
    return views;
  }

  /**
   * Zoom charts to what `clear` returned.
   * @param {Map<string, View>} views
   */
  function zoom(views) {
    for (const [name, chart] of named()) if (views.has(name)) chart.zoom(views.get(name));
  }

  addEventListener("beforeprint", () => {
    document.documentElement.classList.add("printing");
    charts.forEach((chart) => chart.resize());
  });
  addEventListener("afterprint", () => {
    document.documentElement.classList.remove("printing");
    charts.forEach((chart) => chart.resize());
  });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", () => charts.forEach((chart) => chart.redraw()));

  return { lineChart, look, swatch, widthOf, clear, zoom, lifetime: () => drawing.signal };
})();
