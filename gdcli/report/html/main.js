"use strict";
// @ts-check
/* global WORDS, ELEMENTS, CHARTS, STEPPING, MANY, LIVE, translated, withStatus */
/**
 * The page: its sections from the data, and the step that all charts and tables share.
 * @typedef {{header: string[], rows: string, total: number, kept: number, layers?: number,
 *   spread?: boolean}} RecordTable
 * @typedef {{header: string[], rows: string[][], total: number, kept: number, layers: number, spread: boolean,
 *   column: function(string): string[]|null}} ParsedTable
 * @typedef {{step: number|null, set: function(number): void, listen: function(function(number): void): void}} Cursor
 * @typedef {{name: string, id: string, record: string[][], results: string[][], machine: string[][],
 *   files: string[][], spec: Array<[string, string, boolean, string|null]>, problems: string[],
 *   steps: RecordTable|null, epochs: RecordTable|null, gradients: RecordTable|null}} RunData what run_data returned
 */
(() => {
  const { make, fill, count, nearest, scrollBox, pager, tellProblems, isTaken } = ELEMENTS;
  /** @typedef {{turned: number|null, show: function(number): void}} Pages the first row of the page turned to */
  /** @type {Map<string, {cursor: Cursor, last: number, table: Pages}>} of each run, for when it is drawn anew */
  const drawn = new Map();

  /**
   * Return a table of the data: its header, rows of texts, and a column by its name.
   * @param {RecordTable|null} table
   * @returns {ParsedTable|null}
   */
  function parsed(table) {
    if (!table || !table.rows) return null;
    const rows = table.rows.split("\n").map((line) => line.split(","));
    return { header: table.header, rows, total: table.total, kept: table.kept,
      layers: table.layers || 0, spread: table.spread,
      column: (name) => { const k = table.header.indexOf(name); return k < 0 ? null : rows.map((row) => row[k]); } };
  }

  /**
   * Return a step that can be set and listened to; who sets the step it has is not told again.
   * @returns {Cursor}
   */
  function sharedCursor() {
    /** @type {Array<function(number): void>} */
    const listeners = [];
    /** @type {Cursor} */
    const cursor = { step: null, listen: (each) => listeners.push(each), set: (step) => {
      if (step === cursor.step) return;
      cursor.step = step;
      listeners.forEach((each) => each(step));
    } };
    return cursor;
  }

  /**
   * Return the mean of each value and those before it, so many in all; a gap counts for nothing.
   * @param {string[]} values
   * @param {number} window
   */
  function moving(values, window) {
    const found = [];
    let sum = 0, known = 0;
    const numbers = values.map((text) => (text === "" || !Number.isFinite(Number(text)) ? null : Number(text)));
    for (const [k, value] of numbers.entries()) {
      if (value !== null) { sum += value; known += 1; }
      const gone = k >= window ? numbers[k - window] : null;
      if (gone !== null) { sum -= gone; known -= 1; }
      found.push(known ? sum / known : null);
    }
    return found;
  }

  /**
   * Return a titled table of names and values; null where there are none.
   * @param {string} title
   * @param {string[][]} rows
   * @param {Words} words
   */
  function pairs(title, rows, words) {
    if (!rows.length) return null;
    const body = make("tbody", {}, ...rows.map(([name, value]) => make("tr", {},
      make("th", { scope: "row" }, translated(name, words.names)),
      make("td", {}, name === "status" ? withStatus(value, words.values) : value))));
    return make("div", {}, make("h3", {}, title), make("table", { class: "pairs", "aria-label": title }, body));
  }

  /**
   * The slider of the shared step, at the top of the window.
   * @param {HTMLElement} root
   * @param {number[]} steps
   * @param {Cursor} cursor
   * @param {Words} words
   */
  function bar(root, steps, cursor, words) {
    const last = steps.length - 1, told = make("output", { "aria-live": "off" });
    const slider = make("input", { type: "range", min: 0, max: last, step: 1, "aria-label": words.step });
    slider.addEventListener("input", () => cursor.set(steps[Number(slider.value)]));
    cursor.listen((step) => {
      slider.value = String(nearest(steps, step));
      slider.setAttribute("aria-valuetext", `${words.step} ${step}`);
      told.textContent = `${words.step} ${count(step)} ${words.of} ${count(steps[last])}`;
    });
    root.append(make("div", { class: "bar" }, make("div", { class: "slider" }, told, slider)));
    document.addEventListener("keydown", (event) => {
      if (isTaken(event)) return;
      const k = nearest(steps, cursor.step), moves = { ArrowLeft: k - 1, ArrowRight: k + 1, Home: 0, End: last };
      if (!(event.key in moves)) return;
      event.preventDefault();
      cursor.set(steps[Math.max(0, Math.min(last, moves[/** @type {keyof typeof moves} */ (event.key)]))]);
    }, { signal: CHARTS.lifetime() });
  }

  /**
   * Return the series of the loss: at each step, its moving average, and those of the epochs.
   * @param {ParsedTable} steps
   * @param {ParsedTable|null} epochs
   * @param {number[]} ends the last step of each epoch
   * @param {number} window
   * @param {Words} words
   */
  function losses(steps, epochs, ends, window, words) {
    const loss = steps.column("loss");
    /** @type {Array<Series>} */
    const series = [{ label: words.trainingLoss, values: loss },
      { label: words.average, values: moving(loss, window), hidden: window < 2 }];
    const mean = epochs && epochs.column("training_loss"), validation = epochs && epochs.column("validation_loss");
    if (mean && epochs.total < steps.total) series.push({ label: words.trainingMean, values: mean, x: ends });
    if (validation) series.push({ label: words.validationLoss, values: validation, x: ends });
    return series;
  }

  /**
   * The charts of a run, all over the steps, with one cursor.
   * @param {HTMLElement} root
   * @param {ParsedTable} steps
   * @param {ParsedTable|null} epochs
   * @param {ParsedTable|null} gradients
   * @param {Cursor} cursor
   * @param {Words} words
   */
  function curves(root, steps, epochs, gradients, cursor, words) {
    const grid = make("div", { class: "charts" }), x = steps.rows.map((row) => Number(row[0]));
    root.append(grid);
    /** @type {Array<ReturnType<typeof CHARTS.lineChart>>} */
    const charts = [];
    const add = (/** @type {string} */ title, /** @type {Series[]} */ series, log = false) => {
      const chart = CHARTS.lineChart(grid, { title, x, series, log, words, onCursor: (step) => cursor.set(step),
        onZoom: (view) => charts.forEach((each) => { if (each !== chart) each.zoom(view); }) });
      charts.push(chart);
      return chart;
    };
    const ends = epochs ? epochs.rows.map((row) => Number(row[0])) : [];
    const most = Math.max(2, Math.min(200, x.length)), first = Math.max(1, Math.min(20, Math.round(x.length / 20)));
    const chart = add(words.loss, losses(steps, epochs, ends, first, words));
    const window = make("input", { type: "range", min: 1, max: most, value: first });
    const size = make("output", { "aria-live": "off" }, String(first));
    window.addEventListener("input", () => {
      size.textContent = window.value;
      chart.setValues(1, moving(steps.column("loss"), Number(window.value)));
    });
    const unit = make("span", { class: "unit" }, size, ` ${words.stepsUnit}`);
    chart.element.append(make("label", { class: "slider window" }, words.window, window, unit));
    if (steps.kept < steps.total) chart.element.append(make("p", { class: "note" }, words.averageKept));
    const places = gradients ? gradients.rows.map((row) => Number(row[0])) : [];
    const norms = !gradients ? [] : gradients.header.slice(1).map((name, k) =>
      ({ label: name, values: gradients.rows.map((row) => row[k + 1]), x: places }));
    const all = steps.column("gradient_norm");
    if (all && all.some((text) => text !== "")) norms.unshift({ label: words.gradient, values: all, x });
    if (norms.length) {
      const { element } = add(words.gradients, norms, true), layers = gradients ? gradients.layers : 0;
      const shown = gradients ? gradients.header.length - 1 : 0;
      if (layers > shown) {
        element.append(make("p", { class: "note" }, fill(words.layersLeft, { shown, layers: count(layers) })));
      }
    }
    const rate = steps.column("lr");
    if (rate) add(words.rate, [{ label: words.rate, values: rate }]);
    const others = ["step", "epoch", "training_loss", "validation_loss", "lr"];
    const own = epochs ? epochs.header.filter((name) => !others.includes(name)) : [];
    if (own.length) add(words.metrics, own.map((name) => ({ label: name, values: epochs.column(name), x: ends })));
    cursor.listen((step) => charts.forEach((each) => each.setStep(step)));
    root.append(make("p", { class: "note hint" }, words.hint));
    if (steps.kept === steps.total) return;
    const kept = count(steps.kept);
    const told = fill(steps.spread ? words.spread : words.thinned, { total: count(steps.total), kept });
    root.append(make("p", { class: "note" }, told));
  }

  /**
   * The table of the steps, some rows at once, with the row of the shared step marked.
   * @param {HTMLElement} root
   * @param {ParsedTable} steps
   * @param {Cursor} cursor
   * @param {Words} words
   */
  function stepTable(root, steps, cursor, words) {
    const x = steps.rows.map((row) => Number(row[0])), body = make("tbody");
    const head = make("thead", {}, make("tr", {}, ...steps.header.map((name) => make("th", { scope: "col" }, name))));
    const box = scrollBox(words.table, "wide tall", make("table", { "aria-label": words.table }, head, body));
    const show = (/** @type {number} */ first, /** @type {number} */ end) => {
      const now = nearest(x, cursor.step);
      body.replaceChildren(...steps.rows.slice(first, end).map((row, k) =>
        make("tr", first + k === now ? { "aria-current": "true" } : {},
          make("th", { scope: "row" }, row[0]), ...row.slice(1).map((cell) => make("td", {}, cell)))));
      const current = body.children[now - first];
      if (current instanceof HTMLElement) box.scrollTop = current.offsetTop - box.clientHeight / 2;
    };
    const turner = pager(x.length, words, show, (first) => { box.scrollTop = 0; pages.turned = first; });
    /** @type {Pages} */
    const pages = { turned: null, show: turner.to };
    cursor.listen((step) => { pages.turned = null; turner.to(nearest(x, step)); });
    root.append(turner.element, box);
    return pages;
  }

  /**
   * @param {HTMLElement} root
   * @param {RunData["spec"]} rows
   * @param {Words} words
   */
  function specTable(root, rows, words) {
    const lines = rows.map(([key, value, overridden, before]) => {
      const cell = make("td", {}, value);
      if (overridden) cell.append(` ← ${words.overridden}${before === null ? "" : ` (${words.before}: ${before})`}`);
      return make("tr", overridden ? { class: "overridden" } : {}, make("th", { scope: "row" }, key), cell);
    });
    root.append(make("table", { class: "pairs", "aria-label": words.spec }, make("tbody", {}, ...lines)));
  }

  /**
   * All sections of one run.
   * @param {HTMLElement} page
   * @param {function(string, boolean=): HTMLElement} add
   * @param {RunData} run
   * @param {Stepped|null} stepping
   * @param {Words} words
   * @param {boolean} alone the only run on the page
   */
  function runPage(page, add, run, stepping, words, alone) {
    const steps = parsed(run.steps), epochs = parsed(run.epochs), gradients = parsed(run.gradients);
    const cursor = sharedCursor();
    const more = (/** @type {string} */ title) => add(title, alone); // of several runs one link each is enough
    const summary = add(alone ? words.summary : fill(words.summaryOf, { name: `${run.name} ${run.id}` }));
    tellProblems(summary, run.problems, words);
    summary.append(make("div", { class: "columns" },
      pairs(words.record, run.record, words), pairs(words.results, run.results, words)));
    if (steps && steps.rows.length) {
      const x = steps.rows.map((row) => Number(row[0])), isStepped = stepping !== null && stepping.steps.length > 0;
      const top = isStepped ? make("div", { class: "bar" }) : undefined;
      if (top) page.append(top); else if (alone) bar(page, x, cursor, words);
      curves(more(words.curves), steps, epochs, gradients, cursor, words);
      if (stepping) STEPPING.stepping(more(words.stepThrough), stepping, cursor, words, top);
      const table = stepTable(more(words.table), steps, cursor, words), before = drawn.get(run.id);
      const last = x[x.length - 1], wasMoved = before !== undefined && before.cursor.step !== before.last;
      cursor.set(wasMoved ? before.cursor.step : isStepped ? x[0] : last);
      if (before && before.table.turned !== null) {
        table.show(before.table.turned);
        table.turned = before.table.turned;
      }
      drawn.set(run.id, { cursor, last, table });
    } else {
      more(words.curves).append(make("p", {}, words.none));
    }
    specTable(more(words.spec), run.spec, words);
    more(words.filesMachine).append(make("div", { class: "columns" },
      pairs(words.files, run.files, words), pairs(words.machine, run.machine, words)));
  }

  /**
   * All sections of the page, in place of those that are there.
   * @param {HTMLElement} page
   * @param {any} data
   * @param {Words} words
   */
  function draw(page, data, words) {
    const links = make("ul");
    let number = 0;
    page.querySelectorAll(":scope > nav, :scope > section, :scope > .bar").forEach((each) => each.remove());
    page.append(make("nav", { "aria-label": words.sections }, links));
    const add = (/** @type {string} */ title, linked = true) => {
      number += 1;
      const heading = make("h2", { id: `s${number}` }, title);
      const section = make("section", { "aria-labelledby": heading.id }, heading);
      if (linked) links.append(make("li", {}, make("a", { href: `#${heading.id}` }, title)));
      page.append(section);
      return section;
    };
    if (data.training) MANY.curves(add(words.training), data.training, words);
    if (data.several) MANY.many(add(words.several), data.several, words);
    const many = data.many ? add(words.many) : null, alone = data.kind === "run";
    if (many) MANY.many(many, data.many, words);
    if (!alone && !data.several && data.runs.length) {
      const best = add(words.best).querySelector("h2");
      if (many) many.querySelector("h2").after(make("p", {}, make("a", { href: `#${best.id}` }, words.best)));
    }
    const isOne = alone || data.runs.length === 1;
    for (const run of data.runs) runPage(page, add, run, data.stepping || null, words, isOne);
    if (!number) add(words.curves).append(make("p", {}, data.live ? words.noneYet : words.none));
  }

  /**
   * Return data that lie deflated in the page.
   * @param {string} packed in base64
   * @returns {Promise<Stepped>}
   */
  async function inflated(packed) {
    const bytes = Uint8Array.from(atob(packed), (each) => each.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).json();
  }

  async function start() {
    const data = JSON.parse(document.getElementById("data").textContent);
    const words = /** @type {Words} */ (WORDS[/** @type {"en"|"zh"} */ (data.lang)]);
    const page = document.getElementById("page");
    if (data.stepping) {
      const isOld = typeof DecompressionStream === "undefined";
      data.stepping = isOld ? { steps: [], notes: [words.oldBrowser] } : await inflated(data.stepping);
    }
    draw(page, data, words);
    if (data.live) LIVE.follow(page, (found) => draw(page, found, words), words);
    document.documentElement.dataset.ready = "true";
  }

  start();
})();
