"use strict";
// @ts-check
/* global CHARTS */
/** Pictures of many runs: parallel coordinates, any setting against any result, the learning rates that were tried. */
const PICTURES = (() => {
  const NS = "http://www.w3.org/2000/svg";
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

  /** Return the pixels that the marks beside an axis take. */
  function roomFor(axis) {
    return 24 + 8 * Math.max(5, ...axis.marks.map(([, text]) => Math.min(12, text.length)));
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
      const width = Math.max(full, GAP * axes.length), left = roomFor(axes[0]), right = width - roomFor(axes[axes.length - 1]), top = 44, bottom = HEIGHT - 14;
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

  /** Return an empty picture of two axes, and where it has a place of each. */
  function plane(width, h, v, title) {
    const left = 70, right = width - 24, top = 28, bottom = HEIGHT - 44, x = (place) => left + (right - left) * place, y = (place) => bottom - (bottom - top) * place;
    const svg = draw("svg", { width, height: HEIGHT, role: "img", "aria-label": title });
    svg.append(draw("path", { d: `M${left - 8} ${top - 8}V${bottom + 8}H${right + 8}`, class: "axis" }));
    h.marks.forEach(([place, text]) => svg.append(label(x(place), bottom + 22, text)));
    v.marks.forEach(([place, text]) => svg.append(label(left - 12, y(place) + 4, text, "end")));
    svg.append(label((left + right) / 2, HEIGHT - 4, h.name, "middle", "name"), label(4, 14, v.name, "start", "name"));
    return { svg, x, y };
  }

  /** Any setting or result against any result. */
  function scatter(root, data, table, rowSwitches, words) {
    const names = [...new Set([...data.axes, ...data.metrics])], first = data.axes.find((name) => new Set(table.column(name)).size > 1);
    const across = choice(words.across, names, first), up = choice(words.up, data.metrics, data.by.name);
    root.append(make("h3", {}, words.scatter), make("div", { class: "slider" }, across.element, up.element));
    const again = picture(root, words.scatter, (width, tell) => {
      const [a, b] = [across.value(), up.value()], h = axisOf(a, table.column(a)), v = axisOf(b, table.column(b));
      const members = table.members(rowSwitches), drawn = members.filter((k) => h.places[k] !== null && v.places[k] !== null);
      const { svg, x, y } = plane(width, h, v, fill(words.scatterOf, { runs: count(drawn.length), x: h.name, y: v.name }));
      svg.append(...paths(drawn, classes(v.places, isHighest(data, b)), (k) => `M${x(h.places[k]).toFixed(1)} ${y(v.places[k]).toFixed(1)}h0.01`, true));
      const over = draw("circle", { r: 7, class: "over", cx: -20, cy: -20 });
      svg.append(over);
      svg.addEventListener("pointermove", (event) => {
        const box = svg.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
        const k = nearest(drawn, (run) => (x(h.places[run]) - px) ** 2 + (y(v.places[run]) - py) ** 2);
        if (k === null) return;
        for (const [name, value] of [["cx", x(h.places[k])], ["cy", y(v.places[k])]]) over.setAttribute(name, String(value));
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
      const { svg, x, y } = plane(width, h, v, data.tuning.map((one) => `${one.label}: lr ${one.chosen}`).join(", "));
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

  return { make, fill, count, choice, parallel, scatter, tuning, axisOf };
})();
