"use strict";
// @ts-check
/* global ELEMENTS */
/**
 * The loss over two weights: lightness, lines of equal loss, and the way to the step that is shown.
 * @typedef {{names: string[], x: number[], y: number[], loss: Array<Array<number|null>>}} Grid
 */
const SURFACE = (() => {
  const { make, draw, fill, brief, roundNumbers } = ELEMENTS;
  const SIZE = 430, LEFT = 60, TOP = 10, WHOLE = 500; // of the drawing's 500 by 500; the canvas has its place in CSS

  /**
   * Return where a value stands between the ends of an axis, from 0 to 1.
   * @param {number} value
   * @param {number[]} axis
   */
  function share(value, axis) {
    return (value - axis[0]) / (axis[axis.length - 1] - axis[0]);
  }

  /**
   * Return where sorted numbers pass a value, as a share of them all.
   * @param {number[]} sorted
   * @param {number} value
   */
  function rankOf(sorted, value) {
    let low = 0, high = sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle] < value) low = middle + 1; else high = middle;
    }
    return low / sorted.length;
  }

  /**
   * Draw a line of equal rank through the cells of a grid, as a line from side to side of each.
   * @param {CanvasRenderingContext2D} context
   * @param {number[][]} ranks
   * @param {number} level
   */
  function contour(context, ranks, level) {
    const n = ranks.length - 1, m = ranks[0].length - 1;
    for (let i = 0; i < n; i += 1) {
      for (let j = 0; j < m; j += 1) {
        const corners = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]], crossed = [];
        for (let c = 0; c < 4; c += 1) {
          const [a, b] = [corners[c], corners[(c + 1) % 4]], u = ranks[a[0]][a[1]], v = ranks[b[0]][b[1]];
          if ((u < level) === (v < level)) continue;
          const part = (level - u) / (v - u);
          crossed.push([(a[0] + (b[0] - a[0]) * part) * SIZE / n, SIZE - (a[1] + (b[1] - a[1]) * part) * SIZE / m]);
        }
        for (let c = 0; c + 1 < crossed.length; c += 2) {
          context.moveTo(crossed[c][0], crossed[c][1]);
          context.lineTo(crossed[c + 1][0], crossed[c + 1][1]);
        }
      }
    }
  }

  /**
   * Paint the loss by its rank among all places, in lightness alone, with lines of equal loss.
   * @param {HTMLCanvasElement} canvas
   * @param {Grid} grid
   */
  function paint(canvas, { loss }) {
    const n = loss.length, m = loss[0].length, context = canvas.getContext("2d");
    const every = loss.flat().filter((value) => value !== null).sort((a, b) => a - b);
    if (!context || !every.length) return;
    const ranks = loss.map((row) => row.map((value) => (value === null ? 1 : rankOf(every, value))));
    const width = SIZE / (n - 1), height = SIZE / (m - 1), cells = make("canvas", { width: n, height: m });
    const inks = cells.getContext("2d");
    for (let i = 0; i < n; i += 1) {
      for (let j = 0; j < m; j += 1) {
        inks.fillStyle = `hsl(210 30% ${Math.round(38 + 58 * ranks[i][j])}%)`;
        inks.fillRect(i, m - 1 - j, 1, 1);
      }
    }
    context.drawImage(cells, -width / 2, -height / 2, SIZE + width, SIZE + height); // smoothed between the cells
    context.strokeStyle = "rgb(30 40 60 / 0.55)";
    context.lineWidth = 1;
    context.beginPath();
    for (let level = 0.1; level < 0.95; level += 0.1) contour(context, ranks, level);
    context.stroke();
  }

  /**
   * Return the axes of the drawing: round numbers with their marks, and both names.
   * @param {Grid} grid
   */
  function axes({ names, x, y }) {
    const found = draw("g", { class: "step-axes" }), end = TOP + SIZE;
    found.append(draw("rect", { x: LEFT, y: TOP, width: SIZE, height: SIZE, class: "step-frame" }));
    for (const value of roundNumbers(x[0], x[x.length - 1], 7)) {
      const at = LEFT + SIZE * share(value, x);
      found.append(draw("line", { x1: at, x2: at, y1: end, y2: end + 5, class: "step-frame" }));
      found.append(draw("text", { x: at, y: end + 20 }, brief(value)));
    }
    for (const value of roundNumbers(y[0], y[y.length - 1], 7)) {
      const at = end - SIZE * share(value, y);
      found.append(draw("line", { x1: LEFT - 5, x2: LEFT, y1: at, y2: at, class: "step-frame" }));
      found.append(draw("text", { x: LEFT - 8, y: at + 5, class: "step-end" }, brief(value)));
    }
    found.append(draw("text", { x: LEFT + SIZE / 2, y: WHOLE - 12, class: "step-name" }, names[0]));
    const middle = TOP + SIZE / 2;
    const turned = { x: 14, y: middle, class: "step-name", transform: `rotate(-90 14 ${middle})` };
    found.append(draw("text", turned, names[1]));
    return found;
  }

  /**
   * Return a surface's figure, and what shows the k-th step on it.
   * @param {Grid} grid
   * @param {Array<Array<string|null>>} path the two weights at each step, the record's texts
   * @param {Words["stepping"]} words
   */
  function surface(grid, path, words) {
    const { x, y, names } = grid, title = fill(words.surface, { x: names[0], y: names[1] });
    const canvas = make("canvas", { width: SIZE, height: SIZE, class: "step-canvas", "aria-hidden": "true" });
    const over = draw("svg", { viewBox: `0 0 ${WHOLE} ${WHOLE}`, class: "step-over", role: "img" });
    const ways = ["step-halo-way", "step-way"].map((name) => draw("polyline", { class: name, fill: "none" }));
    const halo = draw("circle", { r: 10, class: "step-halo" }), point = draw("circle", { r: 5.5, class: "step-point" });
    const inside = (/** @type {string|null} */ text, /** @type {number[]} */ axis) => {
      const found = share(text === null ? NaN : Number(text), axis);
      return Math.max(0, Math.min(1, Number.isFinite(found) ? found : 0));
    };
    const places = path.map(([a, b]) => [LEFT + SIZE * inside(a, x), TOP + SIZE * (1 - inside(b, y))]);
    const start = draw("rect", { x: places[0][0] - 5, y: places[0][1] - 5, width: 10, height: 10, class: "step-halo" });
    over.append(axes(grid), ...ways, start, halo, point);
    paint(canvas, grid);
    const told = make("output", { "aria-live": "off" });
    const element = make("figure", { class: "step-surface" }, make("h3", {}, title),
      make("div", { class: "step-square" }, canvas, over),
      make("figcaption", {}, told, make("p", { class: "step-legend" }, words.surfaceHint)));

    /** @param {number} k */
    function show(k) {
      for (const circle of [halo, point]) {
        circle.setAttribute("cx", String(places[k][0]));
        circle.setAttribute("cy", String(places[k][1]));
      }
      const way = places.slice(0, k + 1).map((place) => place.join(",")).join(" ");
      ways.forEach((each) => each.setAttribute("points", way));
      told.textContent = names.map((name, j) => `${name} = ${path[k][j]}`).join(", ");
      over.setAttribute("aria-label", `${title}: ${told.textContent}`);
    }

    return { element, show };
  }

  return { surface };
})();
