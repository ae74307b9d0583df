"use strict";
// @ts-check
/* global WORDS, CHARTS, STEPPING, MANY */
/** The page: its sections from the data, and the step that all charts and tables share. */
const MAIN = (() => {
  const ROWS = 50; // of a table, shown at once

  /** Return an element with attributes and, in it, elements or texts; texts are never read as HTML. */
  function make(tag, attributes = {}, ...inside) {
    const found = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) found.setAttribute(name, value);
    found.append(...inside.filter((one) => one !== null));
    return found;
  }

  /** Return a table of the data: its header, rows of texts, and a column by its name. */
  function parsed(table) {
    if (!table || !table.rows) return null;
    const rows = table.rows.split("\n").map((line) => line.split(","));
    return { header: table.header, rows, total: table.total, kept: table.kept, layers: table.layers,
      column: (name) => { const k = table.header.indexOf(name); return k < 0 ? null : rows.map((row) => row[k]); } };
  }

  /** Return a step that can be set and listened to; who sets the step it has is not told again. */
  function sharedCursor() {
    const listeners = [];
    const cursor = { step: null, set(step) { if (step === cursor.step) return; cursor.step = step; listeners.forEach((each) => each(step)); },
      listen(each) { listeners.push(each); } };
    return cursor;
  }

  function nearest(steps, step) {
    const k = Math.max(0, CHARTS.lastAt(steps, step));
    return k + 1 < steps.length && steps[k + 1] - step < step - steps[k] ? k + 1 : k;
  }

  /** Return the mean of each value and those before it, so many in all; a gap counts for nothing. */
  function moving(values, window) {
    const found = [];
    let sum = 0, count = 0;
    const numbers = values.map((text) => (text === "" || !Number.isFinite(Number(text)) ? null : Number(text)));
    numbers.forEach((value, k) => {
      if (value !== null) { sum += value; count += 1; }
      const gone = k >= window ? numbers[k - window] : null;
      if (gone !== null) { sum -= gone; count -= 1; }
      found.push(count ? sum / count : null);
    });
    return found;
  }

  function pairs(title, rows, words) {
    if (!rows.length) return null;
    const body = make("tbody", {}, ...rows.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, value))));
    return make("div", {}, make("h3", {}, title), make("table", { class: "pairs", "aria-label": title }, body));
  }

  function fill(text, values) {
    return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  }

  function count(number) {
    return Number(number).toLocaleString("en");
  }

  /** The slider of the shared step, at the top of the window. */
  function bar(root, steps, cursor, words, keys) {
    const slider = make("input", { type: "range", min: "0", max: String(steps.length - 1), step: "1", "aria-label": words.step });
    const told = make("output", {});
    slider.addEventListener("input", () => cursor.set(steps[Number(slider.value)]));
    const show = (step) => {
      slider.value = String(nearest(steps, step));
      slider.setAttribute("aria-valuetext", `${words.step} ${step}`);
      told.textContent = `${words.step} ${count(step)} ${words.of} ${count(steps[steps.length - 1])}`;
    };
    cursor.listen(show);
    root.append(make("div", { class: "bar" }, make("div", { class: "slider" }, told, slider)));
    if (!keys) return;
    document.addEventListener("keydown", (event) => {
      if (event.target !== document.body || event.ctrlKey || event.metaKey || event.altKey) return;
      const k = nearest(steps, cursor.step), moves = { ArrowLeft: k - 1, ArrowRight: k + 1, Home: 0, End: steps.length - 1 };
      if (!(event.key in moves)) return;
      event.preventDefault();
      cursor.set(steps[Math.max(0, Math.min(steps.length - 1, moves[event.key]))]);
    });
  }

  /** The charts of a run, all over the steps, with one cursor. */
  function curves(root, run, steps, epochs, gradients, cursor, words) {
    const grid = make("div", { class: "charts" }), x = steps.rows.map((row) => Number(row[0]));
    root.append(grid);
    const charts = [];
    const add = (title, series, log = false) => {
      const chart = CHARTS.lineChart(grid, { title, x, series, log, onCursor: (step) => cursor.set(step), words });
      charts.push(chart);
      return chart;
    };
    const loss = steps.column("loss"), ends = epochs ? epochs.rows.map((row) => Number(row[0])) : [];
    const series = [{ label: words.trainingLoss, values: loss }, { label: words.average, values: moving(loss, 1), hidden: true }];
    const mean = epochs && epochs.column("training_loss"), validation = epochs && epochs.column("validation_loss");
    if (mean && epochs.total < steps.total) series.push({ label: words.trainingMean, values: mean, x: ends });
    if (validation) series.push({ label: words.validationLoss, values: validation, x: ends });
    const most = Math.max(2, Math.min(200, x.length)), first = Math.max(1, Math.min(20, Math.round(x.length / 20)));
    series[1].values = moving(loss, first);
    series[1].hidden = first < 2;
    const chart = add(words.loss, series);
    const window = make("input", { type: "range", min: "1", max: String(most), value: String(first) }), told = make("output", {}, String(first));
    window.addEventListener("input", () => { told.textContent = window.value; chart.setValues(1, moving(loss, Number(window.value))); });
    chart.element.append(make("label", { class: "slider" }, words.window, window, told, words.stepsUnit));
    if (steps.kept < steps.total) chart.element.append(make("p", { class: "note" }, words.averageKept));
    const norms = gradients ? gradients.header.slice(1).map((name, k) => ({ label: name, values: gradients.rows.map((row) => row[k + 1]), x: gradients.rows.map((row) => Number(row[0])) })) : [];
    const whole = steps.column("gradient_norm");
    if (whole) norms.unshift({ label: words.gradient, values: whole });
    if (norms.length) {
      const found = add(words.gradients, norms, whole ? whole.every((text) => text === "" || Number(text) > 0) : false);
      const shown = gradients ? gradients.header.length - 1 : 0;
      if (gradients && shown < gradients.layers) found.element.append(make("p", { class: "note" }, fill(words.layersLeft, { shown, layers: count(gradients.layers) })));
    }
    const rate = steps.column("lr");
    if (rate) add(words.rate, [{ label: words.rate, values: rate }]);
    const own = epochs ? epochs.header.filter((name) => !["step", "epoch", "training_loss", "validation_loss", "lr"].includes(name)) : [];
    if (own.length) add(words.metrics, own.map((name) => ({ label: name, values: epochs.column(name), x: ends })));
    cursor.listen((step) => charts.forEach((each) => each.setStep(step)));
    root.append(make("p", { class: "note" }, words.hint));
    if (steps.kept < steps.total) root.append(make("p", { class: "note" }, fill(words.thinned, { total: count(steps.total), kept: count(steps.kept) })));
  }

  /** The table of the steps, some rows at once, with the row of the shared step marked. */
  function stepTable(root, steps, cursor, words) {
    const x = steps.rows.map((row) => Number(row[0])), body = make("tbody"), told = make("span", {});
    const back = make("button", { type: "button" }, words.previous), on = make("button", { type: "button" }, words.next);
    let first = -1;
    function show(start) {
      first = Math.max(0, Math.min(start, x.length - 1));
      first -= first % ROWS;
      const end = Math.min(first + ROWS, x.length), now = nearest(x, cursor.step);
      body.replaceChildren(...steps.rows.slice(first, end).map((row, k) => make("tr", first + k === now ? { "aria-current": "true" } : {},
        make("th", { scope: "row" }, row[0]), ...row.slice(1).map((cell) => make("td", {}, cell)))));
      told.textContent = `${words.rows} ${count(first + 1)}–${count(end)} ${words.of} ${count(x.length)}`;
      back.disabled = first === 0;
      on.disabled = end === x.length;
    }
    back.addEventListener("click", () => show(first - ROWS));
    on.addEventListener("click", () => show(first + ROWS));
    cursor.listen((step) => show(nearest(x, step)));
    const head = make("thead", {}, make("tr", {}, ...steps.header.map((name) => make("th", { scope: "col" }, name))));
    root.append(make("div", { class: "slider pager" }, back, on, told),
      make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": words.table }, make("table", { "aria-label": words.table }, head, body)));
  }

  function specTable(root, rows, words) {
    const lines = rows.map(([key, value, overridden, before]) => {
      const cell = make("td", {}, value);
      if (overridden) cell.append(` ← ${words.overridden}${before === null ? "" : ` (${words.before}: ${before})`}`);
      return make("tr", overridden ? { class: "overridden" } : {}, make("th", { scope: "row" }, key), cell);
    });
    root.append(make("table", { class: "pairs", "aria-label": words.spec }, make("tbody", {}, ...lines)));
  }

  /** All sections of one run. */
  function runPage(page, add, run, stepping, words, alone) {
    const steps = parsed(run.steps), epochs = parsed(run.epochs), gradients = parsed(run.gradients), cursor = sharedCursor();
    const summary = add(alone ? words.summary : `${words.summary}: ${run.name} ${run.id}`);
    if (run.problems.length) summary.append(make("h3", {}, words.problems), ...run.problems.map((each) => make("p", { class: "problem" }, each)));
    summary.append(make("div", { class: "columns" }, pairs(words.record, run.record, words), pairs(words.results, run.results, words)));
    if (steps && steps.rows.length) {
      const x = steps.rows.map((row) => Number(row[0]));
      if (alone) bar(page, x, cursor, words, !(stepping && stepping.steps && stepping.steps.length));
      curves(add(words.curves), run, steps, epochs, gradients, cursor, words);
      if (stepping) stepThrough(add(words.stepThrough), stepping, cursor, words);
      stepTable(add(words.table), steps, cursor, words);
      cursor.set(stepping && stepping.steps.length ? x[0] : x[x.length - 1]);
    } else {
      add(words.curves).append(make("p", {}, words.none));
    }
    specTable(add(words.spec), run.spec, words);
    const rest = make("div", { class: "columns" }, pairs(words.files, run.files, words), pairs(words.machine, run.machine, words));
    add(`${words.files}, ${words.machine}`).append(rest);
  }

  function stepThrough(root, stepping, cursor, words) {
    const box = make("div", { class: "stepping" });
    root.append(box);
    STEPPING.stepping(box, stepping, cursor, words);
  }

  function start() {
    const data = JSON.parse(document.getElementById("data").textContent), words = WORDS[data.lang];
    const page = document.getElementById("page"), links = make("ul");
    let number = 0;
    page.append(make("nav", { "aria-label": words.sections }, links));
    const add = (title) => {
      number += 1;
      const heading = make("h2", { id: `s${number}` }, title), section = make("section", { "aria-labelledby": heading.id }, heading);
      links.append(make("li", {}, make("a", { href: `#${heading.id}` }, title)));
      page.append(section);
      return section;
    };
    if (data.several) MANY.many(add(words.several), data.several, words);
    if (data.many) MANY.many(add(words.many), data.many, words);
    const alone = data.kind === "run";
    if (!alone && !data.several && data.runs.length) add(words.best);
    for (const run of data.runs) runPage(page, add, run, data.stepping || null, words, alone || data.runs.length === 1);
    document.documentElement.dataset.ready = "true";
  }

  start();
  return { moving, nearest };
})();
