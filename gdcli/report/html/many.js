"use strict";
// @ts-check
/* global CHARTS, PICTURES */
/** Many runs: curves with bands, tables that sort, rows switched on and off. */
const MANY = (() => {
  const ROWS = 50; // of a table, shown at once
  const { make, fill, count, choice } = PICTURES;

  /** Rows that are switched on or off; who listens is told the row that changed. */
  function switches(number) {
    const on = new Array(number).fill(true), listeners = [];
    return { on: (k) => on[k], listen: (each) => listeners.push(each),
      set(k, value) { if (on[k] === value) return; on[k] = value; listeners.forEach((each) => each(k)); },
      all(value) { on.fill(value); listeners.forEach((each) => each(null)); } };
  }

  // --- tables that sort ----------------------------------------------------------------------------------------------

  /** Return the order of two cells, [text, number or null] each: numbers first, then texts, empty ones last. */
  function compared(a, b) {
    if (a[1] !== null && b[1] !== null) return a[1] - b[1];
    if ((a[1] === null) !== (b[1] === null)) return a[1] === null ? 1 : -1;
    if ((a[0] === "") !== (b[0] === "")) return a[0] === "" ? 1 : -1;
    return a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0;
  }

  /**
   * Draw a table whose columns sort by a click or a key, some rows at once.
   * @param {HTMLElement} root
   * @param {{title: string, header: string[], rows: Array<Array<[string, number|null]>>, rowSwitches?: object}} options
   * @param {Object<string, string>} words
   */
  function sortable(root, { title, header, rows, rowSwitches = null }, words) {
    let order = rows.map((_, k) => k), by = -1, down = false, first = 0;
    const body = make("tbody"), told = make("span", { role: "status" });
    const back = make("button", { type: "button" }, words.previous), on = make("button", { type: "button" }, words.next);
    const heads = header.map((name, j) => {
      const button = make("button", { type: "button", class: "sort", title: words.sort }, name, make("span", { "aria-hidden": "true" }));
      button.addEventListener("click", () => {
        down = by === j ? !down : false;
        by = j;
        sort();
      });
      return make("th", { scope: "col", class: rows.length && rows[0][j][1] === null ? "text" : "number", "aria-sort": "none" }, button);
    });
    function sort() {
      const sign = down ? -1 : 1, isEmpty = (k) => rows[k][by][1] === null && rows[k][by][0] === "";
      order = rows.map((_, k) => k).sort((a, b) => (isEmpty(a) !== isEmpty(b) ? (isEmpty(a) ? 1 : -1) : sign * compared(rows[a][by], rows[b][by]) || a - b));
      heads.forEach((head, j) => head.setAttribute("aria-sort", j !== by ? "none" : down ? "descending" : "ascending"));
      heads.forEach((head, j) => { head.querySelector("span").textContent = j !== by ? "" : down ? " ▼" : " ▲"; });
      show(0);
    }
    function show(start) {
      first = Math.max(0, Math.min(start, order.length - 1));
      first -= first % ROWS;
      const end = Math.min(first + ROWS, order.length);
      body.replaceChildren(...order.slice(first, end).map(line));
      told.textContent = `${words.rows} ${count(order.length ? first + 1 : 0)}–${count(end)} ${words.of} ${count(order.length)}`;
      back.disabled = first === 0;
      on.disabled = end === order.length;
    }
    function line(k) {
      const row = make("tr", {}, ...rows[k].map(([text, number], j) => make(j ? "td" : "th", { class: number === null ? "text" : "number", ...(j ? {} : { scope: "row" }) }, text)));
      if (!rowSwitches) return row;
      const box = make("input", { type: "checkbox", "aria-label": `${words.shown}: ${rows[k][0][0]}` });
      box.checked = rowSwitches.on(k);
      row.classList.toggle("off", !box.checked);
      box.addEventListener("change", () => rowSwitches.set(k, box.checked));
      row.prepend(make("td", {}, box));
      return row;
    }
    back.addEventListener("click", () => show(first - ROWS));
    on.addEventListener("click", () => show(first + ROWS));
    const top = make("tr", {}, ...heads);
    if (rowSwitches) {
      top.prepend(make("th", { scope: "col" }, words.shown));
      rowSwitches.listen(() => { // the rows are made anew, and the one with the focus keeps it
        const k = [...body.querySelectorAll("input")].indexOf(/** @type {HTMLInputElement} */ (document.activeElement));
        show(first);
        if (k >= 0) body.querySelectorAll("input")[k].focus();
      });
    }
    if (rows.length > ROWS) root.append(make("div", { class: "slider pager" }, back, on, told));
    root.append(make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": title }, make("table", { class: "sorted", "aria-label": title }, make("thead", {}, top), body)));
    show(0);
  }

  // --- curves ----------------------------------------------------------------------------------------------------------

  /** One chart of the curve that is chosen, its legend and the rows of the table switched together. */
  function curves(root, found, words, rowSwitches = null, places = new Map()) {
    if (!found || !found.charts.length) { root.append(make("p", { class: "note" }, words.noCurves)); return; }
    const names = found.charts.map((chart) => `${chart.name}, ${chart.over === "steps" ? words.overSteps : words.overEpochs}`);
    const first = Math.max(0, found.charts.findIndex((chart) => chart.over === found.first)), select = choice(words.curve, names, names[first]);
    const box = make("div"), notes = make("div");
    if (names.length > 1) root.append(select.element);
    root.append(box, notes);
    let buttons = [];
    function show() {
      const chart = found.charts[names.indexOf(select.value())], most = Math.max(...chart.series.map((one) => one.runs));
      box.replaceChildren(); // a chart before it is no longer drawn
      const series = chart.series.map((one) => ({ ...one, hidden: rowSwitches !== null && !rowSwitches.on(places.get(one.label)) }));
      const drawn = CHARTS.lineChart(box, { title: names[names.indexOf(select.value())], x: series[0].x, series, words });
      buttons = [...drawn.element.querySelectorAll(".chart-legend button")];
      buttons.forEach((button, k) => button.addEventListener("click", () => {
        if (rowSwitches) rowSwitches.set(places.get(series[k].label), button.getAttribute("aria-pressed") === "true");
      }));
      notes.replaceChildren();
      const note = (text) => notes.append(make("p", { class: "note" }, text));
      if (most > 1) note(fill(words.band, { runs: count(most) }));
      const thin = chart.series.find((one) => one.kept < one.total);
      if (thin) note(fill(words.thinnedCurve, { total: count(thin.total), kept: count(thin.kept) }));
      if (found.kept < found.total) note(fill(words.fewCurves, { total: count(found.total), kept: count(found.kept) }));
    }
    select.listen(show);
    if (rowSwitches) rowSwitches.listen(() => found.charts[names.indexOf(select.value())].series.forEach((one, k) => {
      if (buttons[k] && (buttons[k].getAttribute("aria-pressed") === "true") !== rowSwitches.on(places.get(one.label))) buttons[k].click();
    }));
    show();
  }

  /** The link to the best run's page further down, which is made after this section. */
  function best(root, words) {
    const line = make("p");
    root.append(line);
    setTimeout(() => {
      const found = [...document.querySelectorAll("h2")].find((each) => each.textContent === words.best);
      if (found) line.append(make("a", { href: `#${found.id}` }, words.best));
    });
  }

  function problems(root, data, words) {
    if (data.problems.length) root.append(make("h3", {}, words.problems), ...data.problems.map((each) => make("p", { class: "problem" }, each)));
  }

  /** A sweep or a comparison. */
  function ofOneRecord(root, data, words) {
    const { rows, runs } = data, rowSwitches = switches(rows.rows.length), places = new Map(rows.rows.map((row, k) => [row[0], k]));
    const table = { runs, column: (name) => { const j = runs.header.indexOf(name); return runs.rows.map((row) => row[j]); },
      members: (on) => runs.rows.map((_, k) => k).filter((k) => on.on(runs.of[k])) };
    best(root, words);
    root.append(make("h3", {}, words.curves));
    curves(root, data.curves, words, rowSwitches, places);
    const all = make("button", { type: "button" }, words.allOn), none = make("button", { type: "button" }, words.allOff);
    all.addEventListener("click", () => rowSwitches.all(true));
    none.addEventListener("click", () => rowSwitches.all(false));
    root.append(make("h3", {}, words.rowsTable), make("div", { class: "slider" }, all, none));
    sortable(root, { title: words.rowsTable, header: [data.kind === "compare" ? "label" : words.point, ...rows.header], rows: rows.rows.map(([name, ...cells]) => [[name, null], ...cells]), rowSwitches }, words);
    const note = (text) => root.append(make("p", { class: "note" }, text));
    if (data.seeds > 1) note(data.fold ? words.halfFolds : words.half);
    if (rows.kept < rows.total) note(fill(words.fewRows, { total: count(rows.total), kept: count(rows.kept) }));
    if (data.tuning) PICTURES.tuning(root, data, words);
    PICTURES.parallel(root, data, table, rowSwitches, words);
    PICTURES.scatter(root, data, table, rowSwitches, words);
    if (data.seeds > 1) {
      root.append(make("h3", {}, words.runsTable));
      const asNumber = (text) => (text !== "" && Number.isFinite(Number(text)) ? Number(text) : null);
      sortable(root, { title: words.runsTable, header: runs.header, rows: runs.rows.map((row) => row.map((text) => [text, asNumber(text)])) }, words);
      if (runs.kept < runs.total) note(fill(words.fewRows, { total: count(runs.total), kept: count(runs.kept) }));
    }
  }

  /** Several records: their curves in one chart, and tables of what differs. */
  function ofSeveral(root, data, words) {
    root.append(make("h3", {}, words.curves));
    curves(root, data.curves, words);
    for (const [title, rows] of [[words.spec, data.spec], [words.results, data.results], [words.machine, data.environment]]) {
      root.append(make("h3", {}, `${title}: ${words.differ}`));
      if (!rows.length) { root.append(make("p", { class: "note" }, words.same)); continue; }
      const head = make("tr", {}, make("th", { scope: "col" }, words.key), ...data.names.map((name) => make("th", { scope: "col" }, name)));
      const lines = rows.map(([key, ...values]) => make("tr", {}, make("th", { scope: "row" }, key), ...values.map((value) => make("td", {}, value))));
      root.append(make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": `${title}: ${words.differ}` }, make("table", { class: "sorted", "aria-label": `${title}: ${words.differ}` }, make("thead", {}, head), make("tbody", {}, ...lines))));
    }
    for (const [name, where, number, one, other] of data.first) root.append(make("p", {}, fill(words.firstDiffers, { a: data.names[0], b: name, where, number, one, other })));
  }

  /**
   * @param {HTMLElement} root where the section is drawn
   * @param {object} data what many_data or side_by_side returned
   * @param {Object<string, string>} words the labels of the page's language
   */
  function many(root, data, words) {
    problems(root, data, words);
    if (data.kind === "several") ofSeveral(root, data, words);
    else if (data.rows) ofOneRecord(root, data, words);
  }

  return { many, compared };
})();
