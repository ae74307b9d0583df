"use strict";
// @ts-check
/* global ELEMENTS, CHARTS, PICTURES, translated, withStatus */
/**
 * Many runs: curves with bands, tables that sort, rows switched on and off.
 * @typedef {[string, number|null]} Cell
 * @typedef {Series & {runs: number, kept: number, total: number}} ManySeries
 * @typedef {{charts: Array<{name: string, over: string, series: ManySeries[]}>, first: string, total: number,
 *   kept: number}} CurvesData
 * @typedef {{kind: string, names: string[], curves: CurvesData, spec: string[][], results: string[][],
 *   environment: string[][], first: string[][], problems: string[]}} SeveralData what side_by_side returned
 */
const MANY = (() => {
  const { make, fill, count, scrollBox, pager, tellProblems } = ELEMENTS, { choice } = PICTURES;

  /**
   * Rows that are switched on or off; who listens is told the row that changed.
   * @param {number} number
   * @returns {RowSwitches}
   */
  function switches(number) {
    const on = new Array(number).fill(true);
    /** @type {Array<function(number|null): void>} */
    const listeners = [];
    return { on: (k) => on[k], listen: (each) => listeners.push(each),
      set(k, value) { if (on[k] === value) return; on[k] = value; listeners.forEach((each) => each(k)); },
      all(value) { on.fill(value); listeners.forEach((each) => each(null)); } };
  }

  // --- tables that sort ----------------------------------------------------------------------------------------------

  /**
   * Return the order of two cells: numbers first, then texts, empty ones last.
   * @param {Cell} a
   * @param {Cell} b
   */
  function compared(a, b) {
    if (a[1] !== null && b[1] !== null) return a[1] - b[1];
    if ((a[1] === null) !== (b[1] === null)) return a[1] === null ? 1 : -1;
    if ((a[0] === "") !== (b[0] === "")) return a[0] === "" ? 1 : -1;
    return a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0;
  }

  /**
   * Draw a table whose columns sort by a click or a key, some rows at once.
   * @param {HTMLElement} root
   * @param {{title: string, header: string[], rows: Cell[][], rowSwitches?: RowSwitches|null}} options
   * @param {Words} words
   */
  function sortable(root, { title, header, rows, rowSwitches = null }, words) {
    let order = rows.map((_, k) => k), by = -1, down = false;
    const body = make("tbody"), status = header.indexOf("status");
    const pages = pager(rows.length, words, (first, end) =>
      body.replaceChildren(...order.slice(first, end).map(line)));
    const heads = header.map((name, j) => {
      const sign = make("span", { "aria-hidden": "true" });
      const button = make("button", { type: "button", class: "sort", title: words.sort }, name, sign);
      button.addEventListener("click", () => {
        down = by === j ? !down : false;
        by = j;
        sort();
      });
      const kind = rows.length && rows[0][j][1] === null ? "text" : "number";
      return make("th", { scope: "col", class: kind, "aria-sort": "none" }, button);
    });
    function sort() {
      const sign = down ? -1 : 1;
      const isEmpty = (/** @type {number} */ k) => rows[k][by][1] === null && rows[k][by][0] === "";
      order = rows.map((_, k) => k).sort((a, b) => {
        if (isEmpty(a) !== isEmpty(b)) return isEmpty(a) ? 1 : -1;
        return sign * compared(rows[a][by], rows[b][by]) || a - b;
      });
      heads.forEach((head, j) => {
        head.setAttribute("aria-sort", j !== by ? "none" : down ? "descending" : "ascending");
        head.querySelector("span").textContent = j !== by ? "" : down ? " ▼" : " ▲";
      });
      pages.to(0);
    }
    /** @param {number} k */
    function line(k) {
      const row = make("tr", {}, ...rows[k].map(([text, number], j) =>
        make(j ? "td" : "th", { class: number === null ? "text" : "number", ...(j ? {} : { scope: "row" }) },
          j === status ? withStatus(text, words.values) : text)));
      if (!rowSwitches) return row;
      const box = make("input", { type: "checkbox", "aria-label": `${words.shown}: ${rows[k][0][0]}` });
      box.checked = rowSwitches.on(k);
      row.classList.toggle("off", !box.checked);
      box.addEventListener("change", () => rowSwitches.set(k, box.checked));
      row.prepend(make("td", {}, box));
      return row;
    }
    const top = make("tr", {}, ...heads);
    if (rowSwitches) {
      top.prepend(make("th", { scope: "col" }, words.shown));
      rowSwitches.listen(() => { // the rows are made anew, and the one with the focus keeps it
        const k = [...body.querySelectorAll("input")].findIndex((box) => box === document.activeElement);
        pages.again();
        if (k >= 0) body.querySelectorAll("input")[k].focus();
      });
    }
    if (pages.isNeeded) root.append(pages.element);
    const table = make("table", { class: "sorted", "aria-label": title }, make("thead", {}, top), body);
    root.append(scrollBox(title, "wide", table));
    pages.to(0);
  }

  // --- curves ----------------------------------------------------------------------------------------------------

  /**
   * One chart of the curve that is chosen, its legend and the rows of the table switched together.
   * @param {HTMLElement} root
   * @param {CurvesData|null} found
   * @param {Words} words
   * @param {RowSwitches|null} rowSwitches
   * @param {Map<string, number>} places of the rows by their labels
   */
  function curves(root, found, words, rowSwitches = null, places = new Map()) {
    if (!found || !found.charts.length) { root.append(make("p", { class: "note" }, words.noCurves)); return; }
    const names = found.charts.map(({ name, over }) =>
      fill(over === "steps" ? words.overSteps : words.overEpochs, { name }));
    const first = Math.max(0, found.charts.findIndex((chart) => chart.over === found.first));
    const select = choice(words.curve, names, names[first]), box = make("div"), notes = make("div");
    if (names.length > 1) root.append(select.element);
    root.append(box, notes);
    /** @type {HTMLButtonElement[]} */
    let buttons = [];
    const isPressed = (/** @type {HTMLButtonElement} */ button) => button.getAttribute("aria-pressed") === "true";
    function show() {
      const title = select.value(), chart = found.charts[names.indexOf(title)];
      const most = Math.max(...chart.series.map((one) => one.runs));
      const over = chart.over === "steps" ? words.step : words.epoch;
      box.replaceChildren(); // a chart before it is no longer drawn
      const series = chart.series.map((one) =>
        ({ ...one, hidden: rowSwitches !== null && !rowSwitches.on(places.get(one.label)) }));
      const drawn = CHARTS.lineChart(box, { title, x: series[0].x, series, words, over });
      buttons = /** @type {HTMLButtonElement[]} */ ([...drawn.element.querySelectorAll(".chart-legend button")]);
      buttons.forEach((button, k) => button.addEventListener("click", () => {
        if (rowSwitches) rowSwitches.set(places.get(series[k].label), isPressed(button));
      }));
      notes.replaceChildren();
      const note = (/** @type {string} */ text, kind = "note") => notes.append(make("p", { class: kind }, text));
      if (most > 1) note(fill(words.band, { runs: count(most) }));
      if (most > 1) drawn.element.append(make("p", { class: "note cut-note" }, words.bandCut));
      const thin = chart.series.find((one) => one.kept < one.total);
      if (thin) note(fill(words.thinnedCurve, { total: count(thin.total), kept: count(thin.kept) }));
      if (found.kept < found.total) note(fill(words.fewCurves, { total: count(found.total), kept: count(found.kept) }));
    }
    select.listen(show);
    if (rowSwitches) {
      rowSwitches.listen(() => found.charts[names.indexOf(select.value())].series.forEach((one, k) => {
        if (buttons[k] && isPressed(buttons[k]) !== rowSwitches.on(places.get(one.label))) buttons[k].click();
      }));
    }
    show();
  }

  /**
   * A sweep or a comparison.
   * @param {HTMLElement} root
   * @param {ManyData} data
   * @param {Words} words
   */
  function ofOneRecord(root, data, words) {
    const { rows, runs } = data, rowSwitches = switches(rows.rows.length);
    const places = new Map(rows.rows.map((row, k) => [row[0], k]));
    const column = (/** @type {string} */ name) => {
      const j = runs.header.indexOf(name);
      return runs.rows.map((row) => row[j]);
    };
    const table = {
      runs, column,
      members: (/** @type {RowSwitches} */ on) => runs.rows.map((_, k) => k).filter((k) => on.on(runs.of[k])),
    };
    root.append(make("h3", {}, words.curves));
    curves(root, data.curves, words, rowSwitches, places);
    const all = make("button", { type: "button" }, words.allOn);
    const none = make("button", { type: "button" }, words.allOff);
    all.addEventListener("click", () => rowSwitches.all(true));
    none.addEventListener("click", () => rowSwitches.all(false));
    root.append(make("h3", {}, words.rowsTable), make("div", { class: "slider rows" }, all, none));
    const header = [data.kind === "compare" ? "label" : words.point, ...rows.header];
    const lines = rows.rows.map(([name, ...cells]) => [/** @type {Cell} */ ([name, null]), ...cells]);
    sortable(root, { title: words.rowsTable, header, rows: lines, rowSwitches }, words);
    const note = (/** @type {string} */ text) => root.append(make("p", { class: "note" }, text));
    if (data.seeds > 1) note(data.fold ? words.halfFolds : words.half);
    if (rows.kept < rows.total) note(fill(words.fewRows, { total: count(rows.total), kept: count(rows.kept) }));
    if (data.tuning) PICTURES.tuning(root, data, rowSwitches, words);
    PICTURES.parallel(root, data, table, rowSwitches, words);
    PICTURES.scatter(root, data, table, rowSwitches, words);
    if (data.seeds <= 1) return;
    root.append(make("h3", {}, words.runsTable));
    const cell = (/** @type {string} */ text) =>
      /** @type {Cell} */ ([text, text !== "" && Number.isFinite(Number(text)) ? Number(text) : null]);
    sortable(root, { title: words.runsTable, header: runs.header, rows: runs.rows.map((row) => row.map(cell)) }, words);
    if (runs.kept < runs.total) note(fill(words.fewRows, { total: count(runs.total), kept: count(runs.kept) }));
  }

  /**
   * Several records: their curves in one chart, and tables of what differs.
   * @param {HTMLElement} root
   * @param {SeveralData} data
   * @param {Words} words
   */
  function ofSeveral(root, data, words) {
    root.append(make("h3", {}, words.curves));
    curves(root, data.curves, words);
    /** @type {Array<[string, string[][]]>} */
    const parts = [[words.spec, data.spec], [words.results, data.results], [words.machine, data.environment]];
    for (const [part, rows] of parts) {
      const title = fill(words.differs, { part });
      root.append(make("h3", {}, title));
      if (!rows.length) { root.append(make("p", { class: "note" }, words.same)); continue; }
      const head = make("tr", {}, ...[words.key, ...data.names].map((name) => make("th", { scope: "col" }, name)));
      const lines = rows.map(([key, ...values]) => make("tr", {}, make("th", { scope: "row" }, key),
        ...values.map((value) => make("td", {}, value))));
      const table = make("table", { class: "sorted diff", "aria-label": title },
        make("thead", {}, head), make("tbody", {}, ...lines));
      root.append(scrollBox(title, "wide", table));
    }
    for (const [name, where, number, one, other] of data.first) {
      const told = { a: data.names[0], b: name, where: translated(where, words.names), number, one, other };
      root.append(make("p", {}, fill(words.firstDiffers, told)));
    }
  }

  /**
   * @param {HTMLElement} root where the section is drawn
   * @param {any} data what many_data or side_by_side returned
   * @param {Words} words the labels of the page's language
   */
  function many(root, data, words) {
    tellProblems(root, data.problems, words);
    if (data.kind === "several") ofSeveral(root, data, words);
    else if (data.rows) ofOneRecord(root, data, words);
  }

  return { many, curves };
})();
