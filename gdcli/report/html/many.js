"use strict";
// @ts-check
/* global CHARTS */
/** Many runs: curves with bands, tables that sort, rows switched on and off, pictures of settings and results. */
const MANY = (() => {
  const NS = "http://www.w3.org/2000/svg";
  const ROWS = 50; // of a table, shown at once
  const CLASSES = 5; // of lines, from the worst to the best
  const HEIGHT = 320, GAP = 110; // pixels of a picture, and between two of its axes at least

  function make(tag, attributes = {}, ...inside) {
    const found = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) found.setAttribute(name, value);
    found.append(...inside.filter((one) => one !== null));
    return found;
  }

  function draw(tag, attributes = {}, ...inside) {
    const found = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) found.setAttribute(name, String(value));
    found.append(...inside);
    return found;
  }

  function fill(text, values) {
    return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  }

  function count(number) {
    return Number(number).toLocaleString("en");
  }

  /** Return a number in few characters. */
  function brief(value) {
    const size = Math.abs(value);
    return size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(2).replace(/\.?0*e\+?/, "e") : String(Number(value.toPrecision(4)));
  }

  function clipped(text, most = 16) {
    return text.length > most ? `${text.slice(0, most - 1)}…` : text;
  }

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
      return make("th", { scope: "col", "aria-sort": "none" }, button);
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

  // --- pictures of settings and results --------------------------------------------------------------------------------

  /** Return where the values of a column stand between 0 and 1, and its marks: numbers, logarithms of them, or words. */
  function axisOf(name, texts) {
    const numbers = texts.map((text) => (text === "" ? null : Number(text)));
    const known = numbers.filter((value) => value !== null && Number.isFinite(value));
    if (!known.length || numbers.some((value) => value !== null && Number.isNaN(value))) {
      const names = [...new Set(texts.filter((text) => text !== ""))].slice(0, 200), place = new Map(names.map((text, k) => [text, k]));
      const at = (k) => (names.length > 1 ? k / (names.length - 1) : 0.5), every = Math.ceil(names.length / 10);
      return { name, places: texts.map((text) => (place.has(text) ? at(place.get(text)) : null)), marks: names.map((text, k) => [at(k), text]).filter((_, k) => k % every === 0) };
    }
    let low = Infinity, high = -Infinity;
    for (const value of known) { low = Math.min(low, value); high = Math.max(high, value); }
    const isLog = low > 0 && high / low > 50, scale = isLog ? Math.log10 : (value) => value;
    const span = scale(high) - scale(low);
    const at = (value) => (value === null || !Number.isFinite(value) ? null : span ? (scale(value) - scale(low)) / span : 0.5);
    const values = new Set();
    if (new Set(known).size <= 6) known.forEach((value) => values.add(value));
    else for (let k = 0; k <= 4; k++) values.add(isLog ? 10 ** (scale(low) + (span * k) / 4) : low + (span * k) / 4);
    const marks = [];
    for (const value of [...values].sort((a, b) => a - b)) if (!marks.length || at(value) - marks[marks.length - 1][0] > 0.055) marks.push([at(value), brief(value)]);
    return { name: isLog ? `${name} (log)` : name, places: numbers.map(at), marks };
  }

  /** Return the class of each run, 0 the worst, by the places of what they are drawn by; -1 for one without a value. */
  function classes(places, highest) {
    const found = places.map((_, k) => k).filter((k) => places[k] !== null);
    found.sort((a, b) => (highest ? places[a] - places[b] : places[b] - places[a]));
    const of = new Array(places.length).fill(-1);
    found.forEach((k, rank) => { of[k] = Math.floor((rank * CLASSES) / found.length); });
    return of;
  }

  /** A picture that is drawn again for another width, with what the pointer is at told below. */
  function picture(root, title, paint) {
    const box = make("div", { class: "wide picture", tabindex: "0", role: "group", "aria-label": title }), told = make("p", { class: "note told", role: "status" });
    root.append(box, told);
    let last = 0;
    const again = () => {
      const width = document.documentElement.classList.contains("printing") ? 680 : box.clientWidth;
      if (width > 0) { last = width; box.replaceChildren(paint(width, (text) => { told.textContent = text; })); }
    };
    new ResizeObserver(() => { if (box.clientWidth !== last) again(); }).observe(box);
    addEventListener("beforeprint", again);
    addEventListener("afterprint", again);
    again();
    return again;
  }

  /** Return a picture's paths, one for each class of runs: the best over the others, and wider. */
  function paths(members, of, path, points) {
    const parts = new Map();
    for (const k of members) { if (!parts.has(of[k])) parts.set(of[k], []); parts.get(of[k]).push(path(k)); }
    return [...parts.keys()].sort((a, b) => a - b).map((kind) => draw("path", {
      d: parts.get(kind).join(""), class: `${points ? "point" : "line"} class${Math.max(0, kind)}`, "data-runs": parts.get(kind).length,
    }));
  }

  function label(x, y, text, anchor = "middle", kind = "mark") {
    const shown = draw("text", { x, y, "text-anchor": anchor, class: kind });
    shown.textContent = clipped(text, kind === "name" ? 22 : 12);
    if (shown.textContent !== text) { const whole = draw("title"); whole.textContent = text; shown.append(whole); }
    return shown;
  }

  function nameOf(runs, k, names) {
    return names.map((name) => `${name} ${runs.rows[k][runs.header.indexOf(name)]}`).join(" · ");
  }

  /** Parallel coordinates: an axis for each setting, and the last for what is chosen. */
  function parallel(root, data, table, rowSwitches, words) {
    const varying = data.axes.filter((name) => new Set(table.column(name)).size > 1), select = choice(words.by, data.metrics, data.by.name);
    root.append(make("h3", {}, words.parallel), select.element);
    let order = [];
    const again = picture(root, words.parallel, (full, tell) => {
      const metric = select.value(), axes = [...varying.filter((name) => name !== metric), metric].map((name) => axisOf(name, table.column(name)));
      const width = Math.max(full, GAP * axes.length), left = 60, right = width - 70, top = 44, bottom = HEIGHT - 14;
      const x = (j) => (axes.length > 1 ? left + ((right - left) * j) / (axes.length - 1) : (left + right) / 2), y = (place) => bottom - (bottom - top) * place;
      const of = classes(axes[axes.length - 1].places, isHighest(data, metric));
      order = table.members(rowSwitches).filter((k) => axes.every((axis) => axis.places[k] !== null));
      const svg = draw("svg", { width, height: HEIGHT, role: "img", "aria-label": fill(words.parallelOf, { runs: count(order.length), names: axes.map((axis) => axis.name).join(", ") }) });
      const path = (k) => axes.map((axis, j) => `${j ? "L" : "M"}${x(j).toFixed(1)} ${y(axis.places[k]).toFixed(1)}`).join("") + (axes.length > 1 ? "" : "h0.1");
      svg.append(...paths(order, of, path, false));
      axes.forEach((axis, j) => {
        svg.append(draw("line", { x1: x(j), x2: x(j), y1: top, y2: bottom, class: "axis" }), label(x(j), j % 2 ? 14 : 30, axis.name, "middle", "name"));
        axis.marks.forEach(([place, text]) => svg.append(label(x(j) + (j === axes.length - 1 ? 6 : -6), y(place) + 4, text, j === axes.length - 1 ? "start" : "end")));
      });
      const over = draw("path", { d: "", class: "over" });
      svg.append(over);
      svg.addEventListener("pointermove", (event) => {
        const box = svg.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
        const j = Math.max(0, Math.min(axes.length - 2, Math.floor(((px - left) / (right - left)) * (axes.length - 1)))), next = Math.min(j + 1, axes.length - 1);
        const share = next > j ? Math.max(0, Math.min(1, (px - x(j)) / (x(next) - x(j)))) : 0;
        const k = nearest(order, (run) => Math.abs(y(axes[j].places[run] * (1 - share) + axes[next].places[run] * share) - py));
        if (k !== null) { over.setAttribute("d", path(k)); tell(nameOf(table.runs, k, ["run", ...data.axes, metric])); }
      });
      const missing = table.members(rowSwitches).length - order.length;
      tell(missing ? fill(words.withoutValue, { runs: count(missing) }) : words.parallelHint);
      return svg;
    });
    select.listen(again);
    rowSwitches.listen(again);
  }

  function isHighest(data, metric) {
    return metric === data.by.name ? data.by.highest : /accuracy|precision|recall|f1|auc|r2|top/.test(metric);
  }

  function nearest(members, distance) {
    let found = null, least = Infinity;
    for (const k of members) { const far = distance(k); if (far < least) { least = far; found = k; } }
    return found;
  }

  /** A select with its label. */
  function choice(title, names, chosen, shown = names) {
    const select = make("select", {}, ...names.map((name, k) => make("option", { value: String(k) }, shown[k])));
    select.value = String(Math.max(0, names.indexOf(chosen)));
    return { element: make("label", { class: "slider" }, title, select), value: () => names[Number(select.value)], listen: (each) => select.addEventListener("change", each) };
  }

  /** Any setting or result against any result. */
  function scatter(root, data, table, rowSwitches, words) {
    const names = [...new Set([...data.axes, ...data.metrics])], first = data.axes.find((name) => new Set(table.column(name)).size > 1);
    const across = choice(words.across, names, first), up = choice(words.up, data.metrics, data.by.name);
    root.append(make("h3", {}, words.scatter), make("div", { class: "slider" }, across.element, up.element));
    const again = picture(root, words.scatter, (width, tell) => {
      const [a, b] = [across.value(), up.value()], h = axisOf(a, table.column(a)), v = axisOf(b, table.column(b));
      const left = 70, right = width - 24, top = 28, bottom = HEIGHT - 44, x = (place) => left + (right - left) * place, y = (place) => bottom - (bottom - top) * place;
      const members = table.members(rowSwitches), drawn = members.filter((k) => h.places[k] !== null && v.places[k] !== null);
      const svg = draw("svg", { width, height: HEIGHT, role: "img", "aria-label": fill(words.scatterOf, { runs: count(drawn.length), x: h.name, y: v.name }) });
      svg.append(draw("path", { d: `M${left - 8} ${top - 8}V${bottom + 8}H${right + 8}`, class: "axis" }));
      h.marks.forEach(([place, text]) => svg.append(label(x(place), bottom + 22, text)));
      v.marks.forEach(([place, text]) => svg.append(label(left - 12, y(place) + 4, text, "end")));
      svg.append(label((left + right) / 2, HEIGHT - 4, h.name, "middle", "name"), label(4, 14, v.name, "start", "name"));
      svg.append(...paths(drawn, classes(v.places, isHighest(data, b)), (k) => `M${x(h.places[k]).toFixed(1)} ${y(v.places[k]).toFixed(1)}h0.01`, true));
      const over = draw("circle", { r: 7, class: "over", cx: -20, cy: -20 });
      svg.append(over);
      svg.addEventListener("pointermove", (event) => {
        const box = svg.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
        const k = nearest(drawn, (run) => (x(h.places[run]) - px) ** 2 + (y(v.places[run]) - py) ** 2);
        if (k === null) return;
        over.setAttribute("cx", String(x(h.places[k])));
        over.setAttribute("cy", String(y(v.places[k])));
        tell(nameOf(table.runs, k, ["run", ...new Set([...data.axes, a, b])]));
      });
      tell(drawn.length < members.length ? fill(words.withoutValue, { runs: count(members.length - drawn.length) }) : words.scatterHint);
      return svg;
    });
    [across, up].forEach((each) => each.listen(again));
    rowSwitches.listen(again);
  }

  /** The score of each learning rate that was tried: a line for each row, the chosen rate as a ring. */
  function tuning(root, data, words) {
    const title = fill(words.tuning, { name: data.by.name });
    root.append(make("h3", {}, title));
    const texts = (pick) => data.tuning.reduce((all, one) => all.concat(pick(one)), []);
    picture(root, title, (width, tell) => {
      const h = axisOf("lr", texts((one) => one.lr.map(String))), v = axisOf(data.by.name, texts((one) => one.score.map((value) => (value === null ? "" : String(value)))));
      const left = 70, right = width - 24, top = 28, bottom = HEIGHT - 44, x = (place) => left + (right - left) * place, y = (place) => bottom - (bottom - top) * place;
      const svg = draw("svg", { width, height: HEIGHT, role: "img", "aria-label": data.tuning.map((one) => `${one.label}: lr ${one.chosen}`).join(", ") });
      svg.append(draw("path", { d: `M${left - 8} ${top - 8}V${bottom + 8}H${right + 8}`, class: "axis" }));
      h.marks.forEach(([place, text]) => svg.append(label(x(place), bottom + 22, text)));
      v.marks.forEach(([place, text]) => svg.append(label(left - 12, y(place) + 4, text, "end")));
      svg.append(label((left + right) / 2, HEIGHT - 4, h.name, "middle", "name"), label(4, 14, v.name, "start", "name"));
      let start = 0, gone = 0;
      data.tuning.forEach((one, k) => {
        const known = one.lr.map((_, j) => start + j).filter((j) => v.places[j] !== null), look = CHARTS.look(k);
        gone += one.lr.length - known.length;
        svg.append(draw("path", { d: known.map((j, n) => `${n ? "L" : "M"}${x(h.places[j]).toFixed(1)} ${y(v.places[j]).toFixed(1)}`).join(""), class: "tried", stroke: `var(${look.colour})`, "stroke-dasharray": look.dash.join(" ") || "none" }));
        known.forEach((j) => svg.append(draw("circle", { cx: x(h.places[j]), cy: y(v.places[j]), r: one.lr[j - start] === one.chosen ? 7 : 3, class: one.lr[j - start] === one.chosen ? "chosen" : "try", stroke: `var(${look.colour})` })));
        start += one.lr.length;
      });
      tell(gone ? fill(words.tuningGone, { points: count(gone) }) : words.tuningHint);
      return svg;
    });
    root.append(make("ul", { class: "chart-legend" }, ...data.tuning.map((one, k) => {
      const look = CHARTS.look(k), line = draw("line", { x1: 0, y1: 5, x2: 34, y2: 5, "stroke-width": 3, stroke: `var(${look.colour})`, "stroke-dasharray": look.dash.join(" ") || "none" });
      return make("li", {}, draw("svg", { width: 34, height: 10, "aria-hidden": "true" }, line), ` ${one.label}: lr ${one.chosen === null ? "–" : one.chosen}`);
    })));
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
    if (data.tuning) tuning(root, data, words);
    parallel(root, data, table, rowSwitches, words);
    scatter(root, data, table, rowSwitches, words);
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

  return { many, compared, axisOf };
})();
