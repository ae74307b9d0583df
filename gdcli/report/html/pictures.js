"use strict";
// @ts-check
/* global ELEMENTS, CHARTS */
/**
 * Pictures of many runs: parallel coordinates, any setting against any result, the learning rates that were tried.
 * @typedef {{name: string, places: Array<number|null>, marks: Array<[number, string]>}} Axis places from 0 to 1
 * @typedef {{on: function(number): boolean, listen: function(function(number|null): void): void,
 *   set: function(number, boolean): void, all: function(boolean): void}} RowSwitches
 * @typedef {{runs: RunsTable, column: function(string): string[], members: function(RowSwitches): number[]}} RunColumns
 * @typedef {{header: string[], rows: string[][], of: number[], total: number, kept: number}} RunsTable
 * @typedef {{label: string, lr: number[], score: Array<number|null>, chosen: number|null}} Tuned
 * @typedef {{kind: string, axes: string[], metrics: string[], highest: string[], by: string, tuning: Tuned[]|null,
 *   seeds: number, fold: boolean, runs: RunsTable, problems: string[], curves: CurvesData,
 *   rows: {header: string[], rows: any[], total: number, kept: number}}} ManyData what many_data returned; of the
 *   metrics in highest more is better
 */
const PICTURES = (() => {
  const { make, draw, fill, count, brief, roundNumbers, scrollBox, scale } = ELEMENTS;
  const CLASSES = 5; // of lines, from the worst to the best
  const HEIGHT = 320, GAP = 110; // pixels of a picture, and between two of its axes at least
  const FEW = 60; // runs, whose lines need not be faint

  /**
   * @param {string} text
   * @param {number} most characters
   */
  function clipped(text, most) {
    return text.length > most ? `${text.slice(0, most - 1)}…` : text;
  }

  /**
   * Return an axis of words, which stand as far apart as each other.
   * @param {string} name
   * @param {string[]} texts
   * @returns {Axis}
   */
  function axisOfWords(name, texts) {
    const names = [...new Set(texts.filter((text) => text !== ""))].slice(0, 200);
    const place = new Map(names.map((text, k) => [text, names.length > 1 ? k / (names.length - 1) : 0.5]));
    const every = Math.ceil(names.length / 10);
    return { name, places: texts.map((text) => place.get(text) ?? null),
      marks: names.filter((_, k) => k % every === 0).map((text) => [place.get(text), text]) };
  }

  /**
   * Return powers of ten, with 2 and 5 times of them where there are few.
   * @param {number} low
   * @param {number} high
   */
  function logMarks(low, high) {
    const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high)), found = [];
    const steps = last - first <= 2 ? [1, 2, 5] : [1], every = Math.max(1, Math.ceil((last - first) / 6));
    for (let power = first; power <= last; power += every) {
      for (const step of steps) found.push(Number(`${step}e${power}`));
    }
    return found.filter((value) => value >= low * 0.999 && value <= high * 1.001);
  }

  /**
   * Return where the values of a column stand, and its marks: numbers, logarithms of them, or words.
   * @param {string} name
   * @param {string[]} texts
   * @param {Words} words
   * @returns {Axis}
   */
  function axisOf(name, texts, words) {
    const numbers = texts.map((text) => (text === "" ? null : Number(text)));
    const known = numbers.filter((value) => value !== null && Number.isFinite(value));
    if (!known.length || numbers.some((value) => Number.isNaN(value))) return axisOfWords(name, texts);
    let low = Infinity, high = -Infinity;
    for (const value of known) { low = Math.min(low, value); high = Math.max(high, value); }
    const distinct = [...new Set(known)].sort((a, b) => a - b), isLog = low > 0 && high / low >= 20;
    const scaled = (/** @type {number} */ value) => (isLog ? Math.log10(value) : value);
    const span = scaled(high) - scaled(low);
    const at = (/** @type {number|null} */ value) =>
      (value === null || !Number.isFinite(value) ? null : span ? (scaled(value) - scaled(low)) / span : 0.5);
    const round = isLog ? logMarks(low, high) : roundNumbers(low, high, 6);
    const values = distinct.length <= 6 ? distinct : round.length > 1 ? round : [low, high];
    /** @type {Array<[number, string]>} */
    const marks = [];
    for (const value of values) {
      if (!marks.length || at(value) - marks[marks.length - 1][0] > 0.055) marks.push([at(value), brief(value)]);
    }
    return { name: isLog ? fill(words.logAxis, { name }) : name, places: numbers.map(at), marks };
  }

  /**
   * Return the class of each run, 0 the worst, by the places of what they are drawn by; -1 for one without a value.
   * @param {Array<number|null>} places
   * @param {boolean} highest the best is the highest
   */
  function classes(places, highest) {
    const found = places.map((_, k) => k).filter((k) => places[k] !== null);
    found.sort((a, b) => (highest ? places[a] - places[b] : places[b] - places[a]));
    const of = new Array(places.length).fill(-1);
    found.forEach((k, rank) => { of[k] = Math.floor((rank * CLASSES) / found.length); });
    return of;
  }

  /**
   * A picture that is drawn again for another width, with what the pointer is at told below.
   * @param {HTMLElement} root
   * @param {string} title
   * @param {function(number, function(string): void): SVGSVGElement} paint
   */
  function picture(root, title, paint) {
    const box = scrollBox(title, "wide picture");
    const told = make("p", { class: "note told", role: "status" });
    root.append(box, told);
    let last = 0;
    const again = () => {
      const width = CHARTS.widthOf(box);
      if (width <= 0) return;
      last = width;
      box.replaceChildren(paint(width, (text) => { told.textContent = text; }));
    };
    new ResizeObserver(() => { if (box.clientWidth !== last) again(); }).observe(box);
    addEventListener("beforeprint", again, { signal: CHARTS.lifetime() });
    addEventListener("afterprint", again, { signal: CHARTS.lifetime() });
    again();
    return again;
  }

  /**
   * Return a picture's paths, one for each class of runs: the best over the others, and wider.
   * @param {number[]} members
   * @param {number[]} of the class of each run
   * @param {function(number): string} path
   * @param {boolean} points
   */
  function paths(members, of, path, points) {
    /** @type {Map<number, string[]>} */
    const parts = new Map();
    for (const k of members) {
      if (!parts.has(of[k])) parts.set(of[k], []);
      parts.get(of[k]).push(path(k));
    }
    const few = members.length <= FEW ? " few" : "";
    return [...parts.keys()].sort((a, b) => a - b).map((kind) => draw("path", {
      d: parts.get(kind).join(""), class: `${points ? "point" : "line"} class${Math.max(0, kind)}${few}`,
      "data-runs": parts.get(kind).length,
    }));
  }

  /**
   * @param {number} x
   * @param {number} y
   * @param {string} text
   * @param {string} anchor
   * @param {"mark"|"name"} kind
   */
  function label(x, y, text, anchor = "middle", kind = "mark") {
    const shown = draw("text", { x, y, "text-anchor": anchor, class: kind }, clipped(text, kind === "name" ? 22 : 12));
    if (shown.textContent !== text) shown.append(draw("title", {}, text));
    return shown;
  }

  /**
   * Return the pixels that the marks beside an axis take.
   * @param {Axis} axis
   */
  function roomFor(axis) {
    return 24 + 8 * scale() * Math.max(5, ...axis.marks.map(([, text]) => Math.min(12, text.length)));
  }

  /**
   * @param {RunsTable} runs
   * @param {number} k
   * @param {string[]} names
   */
  function nameOf(runs, k, names) {
    return names.map((name) => `${name} ${runs.rows[k][runs.header.indexOf(name)]}`).join(" · ");
  }

  /**
   * Return the member at the least distance; null where there is none.
   * @param {number[]} members
   * @param {function(number): number} distance
   */
  function nearest(members, distance) {
    let found = null, least = Infinity;
    for (const k of members) { const far = distance(k); if (far < least) { least = far; found = k; } }
    return found;
  }

  /**
   * A select with its label.
   * @param {string} title
   * @param {string[]} names
   * @param {string} chosen
   */
  function choice(title, names, chosen) {
    const select = make("select", {}, ...names.map((name, k) => make("option", { value: k }, clipped(name, 60))));
    select.value = String(Math.max(0, names.indexOf(chosen)));
    return { element: make("label", { class: "slider" }, title, select), value: () => names[Number(select.value)],
      listen: (/** @type {function(): void} */ each) => select.addEventListener("change", each) };
  }

  /**
   * Tell where the pointer is in a picture, in its pixels.
   * @param {SVGSVGElement} svg
   * @param {function(number, number): void} act
   */
  function pointed(svg, act) {
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      act(event.clientX - box.left, event.clientY - box.top);
    });
  }

  /**
   * Parallel coordinates: an axis for each setting, and the last for what is chosen.
   * @param {HTMLElement} root
   * @param {ManyData} data
   * @param {RunColumns} table
   * @param {RowSwitches} rowSwitches
   * @param {Words} words
   */
  function parallel(root, data, table, rowSwitches, words) {
    const varying = data.axes.filter((name) => new Set(table.column(name)).size > 1);
    const select = choice(words.by, data.metrics, data.by);
    root.append(make("h3", {}, words.parallel), select.element);
    const again = picture(root, words.parallel, (full, tell) => {
      const metric = select.value(), shown = [...varying.filter((name) => name !== metric), metric];
      const axes = shown.map((name) => axisOf(name, table.column(name), words)), last = axes.length - 1;
      const width = Math.max(full, GAP * axes.length), left = roomFor(axes[0]), right = width - roomFor(axes[last]);
      const top = 44 * scale(), bottom = HEIGHT - 14;
      const y = (/** @type {number} */ place) => bottom - (bottom - top) * place;
      const x = (/** @type {number} */ j) => (last ? left + ((right - left) * j) / last : (left + right) / 2);
      const of = classes(axes[last].places, data.highest.includes(metric)), all = table.members(rowSwitches);
      const order = all.filter((k) => axes.every((axis) => axis.places[k] !== null));
      const names = axes.map((axis) => axis.name).join(", ");
      const title = fill(words.parallelOf, { runs: count(order.length), names });
      const svg = draw("svg", { width, height: HEIGHT, role: "img", "aria-label": title });
      const path = (/** @type {number} */ k) => axes.map((axis, j) =>
        `${j ? "L" : "M"}${x(j).toFixed(1)} ${y(axis.places[k]).toFixed(1)}`).join("") + (last ? "" : "h0.1");
      svg.append(...paths(order, of, path, false));
      axes.forEach((axis, j) => {
        const side = j === last ? 1 : -1;
        svg.append(draw("line", { x1: x(j), x2: x(j), y1: top, y2: bottom, class: "axis" }),
          label(x(j), (j % 2 ? 14 : 30) * scale(), axis.name, "middle", "name"));
        for (const [place, text] of axis.marks) {
          svg.append(label(x(j) + 6 * side, y(place) + 4, text, side > 0 ? "start" : "end"));
        }
      });
      const over = draw("path", { d: "", class: "over" });
      svg.append(over);
      pointed(svg, (px, py) => {
        const j = Math.max(0, Math.min(last - 1, Math.floor(((px - left) / (right - left)) * last)));
        const next = Math.min(j + 1, last);
        const share = next > j ? Math.max(0, Math.min(1, (px - x(j)) / (x(next) - x(j)))) : 0;
        const at = (/** @type {number} */ k) => y(axes[j].places[k] * (1 - share) + axes[next].places[k] * share);
        const k = nearest(order, (run) => Math.abs(at(run) - py));
        if (k === null) return;
        over.setAttribute("d", path(k));
        tell(nameOf(table.runs, k, ["run", ...data.axes, metric]));
      });
      const missing = all.length - order.length;
      tell(missing ? fill(words.withoutValue, { runs: count(missing) }) : words.parallelHint);
      return svg;
    });
    select.listen(again);
    rowSwitches.listen(again);
  }

  /**
   * Return an empty picture of two axes, and where it has a place of each.
   * @param {number} width
   * @param {Axis} h across
   * @param {Axis} v up
   * @param {string} title
   */
  function plane(width, h, v, title) {
    const size = scale(), left = 70 * size, right = width - 40 * size, top = 32 * size, bottom = HEIGHT - 44 * size;
    const x = (/** @type {number} */ place) => left + (right - left) * place;
    const y = (/** @type {number} */ place) => bottom - (bottom - top) * place;
    const svg = draw("svg", { width, height: HEIGHT, role: "img", "aria-label": title });
    svg.append(draw("path", { d: `M${left - 8} ${top - 8}V${bottom + 8}H${right + 8}`, class: "axis" }));
    let end = -Infinity;
    for (const [place, text] of h.marks) {
      const half = 4 * size * Math.min(12, text.length);
      if (x(place) - half < end) continue; // no room beside the one before
      end = x(place) + half + 4;
      svg.append(draw("path", { d: `M${x(place)} ${bottom + 8}v5`, class: "axis" }));
      svg.append(label(x(place), bottom + 14 + 12 * size, text));
    }
    for (const [place, text] of v.marks) {
      svg.append(draw("path", { d: `M${left - 8} ${y(place)}h-5`, class: "axis" }));
      svg.append(label(left - 16, y(place) + 4 * size, text, "end"));
    }
    svg.append(label((left + right) / 2, HEIGHT - 4, h.name, "middle", "name"));
    svg.append(label(4, 13 * size, v.name, "start", "name"));
    return { svg, x, y };
  }

  /**
   * Any setting or result against any result.
   * @param {HTMLElement} root
   * @param {ManyData} data
   * @param {RunColumns} table
   * @param {RowSwitches} rowSwitches
   * @param {Words} words
   */
  function scatter(root, data, table, rowSwitches, words) {
    const names = [...new Set([...data.axes, ...data.metrics])];
    const first = data.axes.find((name) => new Set(table.column(name)).size > 1);
    const across = choice(words.across, names, first), up = choice(words.up, data.metrics, data.by);
    root.append(make("h3", {}, words.scatter), make("div", { class: "slider" }, across.element, up.element));
    const again = picture(root, words.scatter, (width, tell) => {
      const [a, b] = [across.value(), up.value()];
      const h = axisOf(a, table.column(a), words), v = axisOf(b, table.column(b), words);
      const members = table.members(rowSwitches);
      const drawn = members.filter((k) => h.places[k] !== null && v.places[k] !== null);
      const title = fill(words.scatterOf, { runs: count(drawn.length), x: h.name, y: v.name });
      const { svg, x, y } = plane(width, h, v, title);
      const path = (/** @type {number} */ k) => `M${x(h.places[k]).toFixed(1)} ${y(v.places[k]).toFixed(1)}h0.01`;
      svg.append(...paths(drawn, classes(v.places, data.highest.includes(b)), path, true));
      const over = draw("circle", { r: 7, class: "over", cx: -20, cy: -20 });
      svg.append(over);
      pointed(svg, (px, py) => {
        const k = nearest(drawn, (run) => (x(h.places[run]) - px) ** 2 + (y(v.places[run]) - py) ** 2);
        if (k === null) return;
        over.setAttribute("cx", String(x(h.places[k])));
        over.setAttribute("cy", String(y(v.places[k])));
        tell(nameOf(table.runs, k, ["run", ...new Set([...data.axes, a, b])]));
      });
      const missing = members.length - drawn.length;
      tell(missing ? fill(words.withoutValue, { runs: count(missing) }) : words.scatterHint);
      return svg;
    });
    [across, up].forEach((each) => each.listen(again));
    rowSwitches.listen(again);
  }

  /**
   * The score of each learning rate that was tried: a line for each row, the chosen rate as a ring.
   * @param {HTMLElement} root
   * @param {ManyData} data
   * @param {RowSwitches} rowSwitches
   * @param {Words} words
   */
  function tuning(root, data, rowSwitches, words) {
    const title = fill(words.tuning, { name: data.by }), rows = data.tuning;
    root.append(make("h3", {}, title));
    /** @type {Map<string, number>} */
    const places = new Map(data.rows.rows.map((row, k) => [row[0], k]));
    const isOn = (/** @type {string} */ label) => !places.has(label) || rowSwitches.on(places.get(label));
    const again = picture(root, title, (width, tell) => {
      const scores = rows.flatMap((one) => one.score.map((value) => (value === null ? "" : String(value))));
      const h = axisOf("lr", rows.flatMap((one) => one.lr.map(String)), words), v = axisOf(data.by, scores, words);
      const { svg, x, y } = plane(width, h, v, rows.map((one) => `${one.label}: lr ${one.chosen}`).join(", "));
      let start = 0, gone = 0;
      for (const [k, one] of rows.entries()) {
        const known = one.lr.map((_, j) => j).filter((j) => v.places[start + j] !== null), look = CHARTS.look(k);
        const stroke = `var(${look.colour})`, [cx, cy] = [(/** @type {number} */ j) => x(h.places[start + j]),
          (/** @type {number} */ j) => y(v.places[start + j])];
        gone += one.lr.length - known.length;
        if (!isOn(one.label)) { start += one.lr.length; continue; }
        const d = known.map((j, n) => `${n ? "L" : "M"}${cx(j).toFixed(1)} ${cy(j).toFixed(1)}`).join("");
        svg.append(draw("path", { d, class: "tried", stroke, "stroke-dasharray": look.dash.join(" ") || "none" }));
        for (const j of known) {
          const isChosen = one.lr[j] === one.chosen, dot = { cx: cx(j), cy: cy(j), stroke };
          svg.append(draw("circle", { ...dot, r: isChosen ? 7 + 4 * (k % 4) : 3, class: isChosen ? "chosen" : "try" }));
        }
        start += one.lr.length;
      }
      tell(gone ? fill(words.tuningGone, { points: count(gone) }) : words.tuningHint);
      return svg;
    });
    rowSwitches.listen(again);
    root.append(make("ul", { class: "chart-legend" }, ...rows.map((one, k) =>
      make("li", {}, CHARTS.swatch(k), ` ${one.label}: lr ${one.chosen === null ? "–" : one.chosen}`))));
  }

  return { choice, parallel, scatter, tuning };
})();
